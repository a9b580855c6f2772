"""What one does with dense 3D faces offline: files of meshes, swaps, edits, evaluation.

Everything here works on pictures and video files, on any engine:

- `reconstruction.Reconstructor`: a picture to `Reconstruction`s (vertices, pose, visibility, ...);
- `outputs`: one small writer for every kind of file; `batch`: folders and videos of them;
- `swapping`: another face's texture in a picture or a clip; `editing` parts of it;
- `evaluation`: errors on the AFLW2000-3D layout.
"""
