"""The files of a reconstructed picture: one small writer for every kind.

A picture's files share a folder: `summary.json` (poses, landmarks, expressions, file names),
the files about the whole picture (`depth.*`, `overlay-*.jpg`), and a folder `faceN` for every face.
The summary is written last, so that its presence means that the picture is done.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from streamprn.apps import images, matfile, overlays
from streamprn.apps.files import write_whole
from streamprn.apps.lines import finite, gaze_json
from streamprn.apps.meshes import write_glb, write_obj, write_ply
from streamprn.apps.textures import FILLS, check_size
from streamprn.errors import InputError
from streamprn.kernels import raster, warp
from streamprn.records import BLENDSHAPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from streamprn.apps.reconstruction import Reconstruction
    from streamprn.engines.protocol import CropRule
    from streamprn.records import Float32, UInt8

SUMMARY = "summary.json"
# Where a picture's files are until all of them are complete.
_PART = ".part"
MESH_FORMATS = ("obj", "ply", "glb")
# What the 16-bit depth image keeps of a pixel of depth; fewer where a face is deeper than 4,095.
DEPTH_LEVELS_PER_PIXEL = 16.0
_CROP_SIZE = 256
_WRITER_THREADS = 2


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Which files to write, and how.

    Attributes:
        kinds: of `KINDS`.
        formats: of meshes, of `MESH_FORMATS`.
        front: meshes turned to the camera instead of as in the picture.
        fill: what hidden texels and vertices hold: see `Reconstruction.texture`.
        texture_size: texels a side.
    """

    kinds: tuple[str, ...]
    formats: tuple[str, ...] = MESH_FORMATS
    front: bool = False
    fill: str = "picture"
    texture_size: int = 512

    def check(self) -> OutputOptions:
        """Raise `InputError` naming the first value that is none of the known ones."""
        rules = (("output", self.kinds, tuple(KINDS)), ("mesh format", self.formats, MESH_FORMATS))
        for what, given, known in (*rules, ("texture fill", (self.fill,), FILLS)):
            for value in given:
                if value not in known:
                    raise InputError(f"{what} {value!r}: must be one of {', '.join(known)}")
        check_size(self.texture_size)
        return self


@dataclass(frozen=True, slots=True)
class PictureFiles:
    """What the writers share.

    Attributes:
        image: `(H, W, 3)` uint8.
        faces: of the picture.
        crop: the engine's rule.
        folder: of the picture's files.
        options: see `OutputOptions`.
        run: what else the outputs depend on, as plain data: engine, size limit, boxes ...
    """

    image: UInt8
    faces: Sequence[Reconstruction]
    crop: CropRule
    folder: Path
    options: OutputOptions
    run: Mapping[str, Any] = field(default_factory=dict)

    def face_folder(self, index: int) -> Path:
        """The folder of one face, made if it is not there."""
        folder = self.folder / f"face{index}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def write_outputs(files: PictureFiles, source: str) -> dict[str, Any]:
    """Write all that the options ask for, and the summary; returns the summary's content.

    No file appears under its name before all of the picture's are complete.

    Raises:
        InputError: a folder or file cannot be written.
    """
    part = files.folder / _PART
    try:
        part.mkdir(parents=True, exist_ok=True)
        _run_writers(replace(files, folder=part))
        _move(part, files.folder)
        summary = summarise(files, source)
        text = json.dumps(summary, indent=1) + "\n"
        write_whole(files.folder / SUMMARY, text.encode())
    except OSError as error:
        raise InputError(
            f"{files.folder}: cannot be written: {error.strerror or 'is the disk full?'}",
            hint="check the output folder and the free space",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        with contextlib.suppress(OSError):
            files.folder.rmdir()  # where nothing was written
    return summary


def _move(part: Path, folder: Path) -> None:
    """Give files that are complete their names, and remove the folder that they were written to."""
    for file in sorted(part.rglob("*")):
        target = folder / file.relative_to(part)
        if file.is_dir():
            target.mkdir(exist_ok=True)
        else:
            file.replace(target)
    shutil.rmtree(part)


def _run_writers(files: PictureFiles) -> None:
    for face in files.faces:
        # Most writers need these; computed here, no two threads compute them at once.
        _ = face.visible, face.colours
    writers = [KINDS[kind] for kind in files.options.kinds]
    # Formatting numbers and compressing pictures run outside of Python's lock.
    with ThreadPoolExecutor(_WRITER_THREADS) as pool:
        for running in [pool.submit(write, files) for write in writers]:
            running.result()


def is_done(folder: Path, source: str, options: OutputOptions, run: Mapping[str, Any]) -> bool:
    """Whether a run with the same options finished this picture before."""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    wanted = {"source": source, "options": asdict(options), "run": dict(run)}
    return bool(json.loads(json.dumps(wanted)) == {key: summary.get(key) for key in wanted})


def summarise(files: PictureFiles, source: str) -> dict[str, Any]:
    """The picture and its faces as plain data for JSON."""
    height, width = files.image.shape[:2]
    written = sorted(
        path.relative_to(files.folder).as_posix()
        for path in files.folder.rglob("*")
        if path.is_file() and not path.name.startswith(SUMMARY)
    )
    return {
        "source": source,
        "width": width,
        "height": height,
        "options": asdict(files.options),
        "run": dict(files.run),
        "depth_png_levels_per_pixel": _depth_levels(files.faces),
        "faces": [describe(face) for face in files.faces],
        "files": written,
    }


def describe(face: Reconstruction) -> dict[str, Any]:
    """One face as plain data for JSON; coordinates in frame pixels."""
    low, scale = _map_range(face)
    return {
        **({"id": face.id} if face.id else {}),
        "score": round(face.score, 4),
        "box_xyxy": _rounded(face.box_xyxy, 2),
        "pose": describe_pose(face),
        "landmarks": _rounded(face.landmarks, 3),
        "landmarks_visible": face.visible_landmarks.tolist(),
        "blendshapes": _blendshapes(face),
        "gaze": finite(gaze_json(face.face.gaze)),
        "metres_per_pixel": face.metres_per_pixel,
        "position_map_png": {"offset": _rounded(low, 4), "scale": scale},
    }


def describe_pose(face: Reconstruction) -> dict[str, Any]:
    """Pose and camera of a face as plain data; see `records.Pose`."""
    pose = face.pose
    return {
        "yaw": round(pose.yaw, 4),
        "pitch": round(pose.pitch, 4),
        "roll": round(pose.roll, 4),
        "scale": pose.scale,
        "translation": _rounded(pose.translation, 4),
        "rotation": pose.rotation.tolist(),
        "quaternion_wxyz": pose.quaternion.tolist(),
        "camera": face.camera.tolist(),
    }


def _blendshapes(face: Reconstruction) -> dict[str, float] | None:
    found = face.blendshapes
    return None if found is None else dict(zip(BLENDSHAPES, _rounded(found, 4), strict=True))


def _rounded(values: Any, digits: int) -> Any:
    return np.round(np.asarray(values, np.float64), digits).tolist()


def write_meshes(files: PictureFiles) -> None:
    """Meshes with vertex colours: `mesh.obj`, `mesh.ply`, `mesh.glb`."""
    writers = {"obj": write_obj, "ply": write_ply, "glb": write_glb}
    options = files.options
    for index, face in enumerate(files.faces):
        mesh = face.mesh(front=options.front, masked=options.fill == "zero")
        for suffix in options.formats:
            writers[suffix](mesh, files.face_folder(index) / f"mesh.{suffix}")


def write_textured(files: PictureFiles) -> None:
    """Meshes with a texture (`textured.obj` + `.mtl` + `.png`, `textured.glb`), or it alone."""
    options = files.options
    for index, face in enumerate(files.faces):
        mesh = face.mesh(front=options.front, texture_size=options.texture_size, fill=options.fill)
        folder = files.face_folder(index)
        if "obj" in options.formats:
            write_obj(mesh, folder / "textured.obj")
        else:
            images.write_image(
                folder / "textured.png", face.texture(options.texture_size, options.fill)
            )
        if "glb" in options.formats:
            write_glb(mesh, folder / "textured.glb")


def write_landmarks(files: PictureFiles) -> None:
    """`landmarks.txt` (x y z a line), `.npy` `(68, 3)` float32, `.json` with visibility."""
    for index, face in enumerate(files.faces):
        folder = files.face_folder(index)
        points = face.landmarks
        np.savetxt(folder / "landmarks.txt", points, fmt="%.3f")
        np.save(folder / "landmarks.npy", points)
        content = {
            "order": "iBUG/300-W 68",
            "unit": "pixel, y down, z to the camera",
            "points": _rounded(points, 3),
            "visible": face.visible_landmarks.tolist(),
        }
        (folder / "landmarks.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


def write_vertices(files: PictureFiles) -> None:
    """`vertices.npy` `(N, 3)` float32 and `visible.npy` `(N,)` bool."""
    for index, face in enumerate(files.faces):
        np.save(files.face_folder(index) / "vertices.npy", face.vertices)
        np.save(files.face_folder(index) / "visible.npy", face.visible)


def write_pose(files: PictureFiles) -> None:
    """`pose.json`, and `camera.txt`: the 3 x 4 matrix from canonical points to the picture."""
    for index, face in enumerate(files.faces):
        folder = files.face_folder(index)
        text = json.dumps(describe_pose(face), indent=1)
        (folder / "pose.json").write_text(text + "\n", encoding="utf-8")
        np.savetxt(folder / "camera.txt", face.camera, fmt="%.8g")


def write_depth(files: PictureFiles) -> None:
    """`depth.npy` float32, `depth.png` 16 bit (0: no face), `depth-view.png` to look at."""
    depth = depth_of(files.image.shape[:2], files.faces)
    np.save(files.folder / "depth.npy", depth)
    levels = _depth_levels(files.faces)
    known = np.isfinite(depth)
    stored = np.where(known, 1.0 + np.round(np.nan_to_num(depth) * levels), 0.0)
    images.write_image(files.folder / "depth.png", stored.astype(np.uint16))
    images.write_image(files.folder / "depth-view.png", overlays.depth_picture(depth))


def depth_of(size_hw: tuple[int, int], faces: Sequence[Reconstruction]) -> Float32:
    """`(H, W)` float32: z of the nearest face surface, NaN where there is none."""
    height, width = size_hw
    depth = np.full((height, width), np.nan, np.float32)
    for face in faces:
        raster.depth(
            face.vertices,
            face.topology.triangles,
            height,
            width,
            out=depth,
            merge=True,
            threads=raster.processors(),
        )
    return depth


def _depth_levels(faces: Sequence[Reconstruction]) -> float:
    deepest = max((float(face.vertices[:, 2].max()) for face in faces), default=0.0)
    return min(DEPTH_LEVELS_PER_PIXEL, 65_533.0 / max(deepest, 1e-3))


def write_map(files: PictureFiles) -> None:
    """`position-map.npy` `(256, 256, 3)` float32, frame pixels, and as a 16-bit RGB PNG.

    The PNG holds `(coordinate - offset) / scale` with the numbers of the summary; 0 is both the
    lowest coordinate and the outside of the mask.
    """
    for index, face in enumerate(files.faces):
        folder = files.face_folder(index)
        np.save(folder / "position-map.npy", face.position_map)
        low, scale = _map_range(face)
        levels = np.zeros((256 * 256, 3), np.uint16)
        levels[face.topology.texel] = np.round((face.vertices - low) / scale)
        images.write_image(folder / "position-map.png", levels.reshape(256, 256, 3))


def _map_range(face: Reconstruction) -> tuple[Float32, float]:
    low = face.vertices.min(axis=0)
    extent = float((face.vertices.max(axis=0) - low).max())
    return low, max(extent, 1e-3) / 65_535.0


def write_mat(files: PictureFiles) -> None:
    """`face.mat`: vertices, colors (0..1), triangles (from 0), landmarks, camera, pose angles."""
    for index, face in enumerate(files.faces):
        angles = np.array([face.pose.pitch, face.pose.yaw, face.pose.roll])
        matfile.write_mat(
            files.face_folder(index) / "face.mat",
            {
                "vertices": face.vertices.astype(np.float64),
                "colors": face.colours / 255.0,
                "triangles": face.topology.triangles,
                "landmarks": face.landmarks.astype(np.float64),
                "camera": face.camera,
                "pitch_yaw_roll": angles.reshape(1, 3),
            },
        )


def write_crops(files: PictureFiles) -> None:
    """`crop.png`: what the network saw, upright."""
    rule = files.crop
    for index, face in enumerate(files.faces):
        matrix = rule.frame_from_crop(face.roi)[None]
        crop = warp.warp_rgb(files.image, matrix, rule.size, scale=1.0)[0]
        picture = np.round(np.clip(crop, 0.0, 255.0)).astype(np.uint8)
        if rule.size < _CROP_SIZE:
            picture = np.asarray(
                cv2.resize(picture, (_CROP_SIZE, _CROP_SIZE), interpolation=cv2.INTER_CUBIC)
            )
        images.write_image(files.face_folder(index) / "crop.png", picture)


def write_overlays(files: PictureFiles) -> None:
    """`overlay-landmarks.jpg`, `-mesh.jpg`, `-pose.jpg`, `-visibility.jpg`."""
    for kind in overlays.OVERLAYS:
        picture = overlays.overlay(files.image, files.faces, kind)
        images.write_image(files.folder / f"overlay-{kind}.jpg", picture)


KINDS: dict[str, Callable[[PictureFiles], None]] = {
    "mesh": write_meshes,
    "texture": write_textured,
    "landmarks": write_landmarks,
    "vertices": write_vertices,
    "pose": write_pose,
    "depth": write_depth,
    "map": write_map,
    "mat": write_mat,
    "crop": write_crops,
    "overlay": write_overlays,
}
DEFAULT_KINDS = ("mesh", "landmarks", "pose", "overlay")
