"""MediaPipe Face Mesh (the official Python solution) on frames; run by the peers' own Python.

`python jitter_mediapipe.py FRAMES.npy POINTS.npy` reads `(T, H, W, 3)` uint8 RGB and writes its 468
points in pixels (pixel centres at integers), `(T, 468, 2)` float64. Needs only mediapipe.
"""

from __future__ import annotations

import sys

import mediapipe  # type: ignore[import-not-found,unused-ignore]
import numpy as np


def main(frames: str, points: str) -> None:
    pictures = np.load(frames)
    size = np.array([pictures.shape[2], pictures.shape[1]], np.float64)
    found = []
    with mediapipe.solutions.face_mesh.FaceMesh(max_num_faces=1) as mesh:
        for picture in pictures:
            (face,) = mesh.process(picture).multi_face_landmarks
            unit = np.array([(point.x, point.y) for point in face.landmark])
            found.append(unit * size - 0.5)
    np.save(points, np.stack(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
