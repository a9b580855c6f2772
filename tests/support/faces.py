"""Pictures of faces whose 3D shape and pose are known exactly: a dataset in a dataset's layout.

The topology's canonical shape, in the texture of the astronaut, is drawn under known rotations
over the blurred picture of the astronaut.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from streamprn.apps import images, matfile
from streamprn.engines.topology import Topology
from streamprn.kernels import pose, sampling
from streamprn.records import Pose
from tests.support.clips import astronaut


@dataclass(frozen=True)
class KnownFace:
    """A drawn face: the picture, its vertices `(N, 3)` and its pose."""

    image: np.ndarray
    vertices: np.ndarray
    pose: Pose


def known_pose(
    yaw: float,
    pitch: float = 0.0,
    roll: float = 0.0,
    *,
    scale: float,
    centre_xy: tuple[float, float],
) -> Pose:
    rotation = pose.rotation_from_euler(yaw, pitch, roll)
    return Pose(
        rotation=rotation,
        scale=scale,
        translation=np.array([*centre_xy, 0.0]),
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        quaternion=pose.quaternion_from_rotation(rotation),
    )


def draw(topology: Topology, texture: np.ndarray, where: Pose, size: int = 320) -> KnownFace:
    """Draw the canonical shape in a texture `(T, T, 3)` over a blurred background."""
    centred = topology.canonical - topology.canonical.mean(axis=0)
    vertices = pose.project(where, centred).astype(np.float32)
    vertices[:, 2] -= vertices[:, 2].min()
    background = cv2.resize(astronaut(), (size, size), interpolation=cv2.INTER_AREA)
    background = cv2.GaussianBlur(background, (0, 0), size / 8)
    # Drawn at twice the size and averaged: without it the outline has steps.
    rgb, covered = sampling.render(
        2 * vertices + np.float32(0.5),
        topology.triangles,
        2 * size,
        2 * size,
        uv=topology.uv,
        texture=texture,
    )
    alpha = cv2.resize(covered.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    colour = cv2.resize(rgb.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    picture = colour + (1.0 - alpha[:, :, None]) * background
    return KnownFace(np.round(picture).astype(np.uint8), vertices, where)


def write_truth(path: Path, topology: Topology, face: KnownFace, *, dense: bool = True) -> None:
    """Write the `.mat` file of a face, as AFLW2000-3D has it."""
    angles = np.radians([face.pose.pitch, face.pose.yaw, face.pose.roll])
    landmarks = face.vertices[topology.landmarks]
    low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
    content = {
        "pt3d_68": landmarks.T.astype(np.float32),
        "Pose_Para": np.concatenate([angles, np.zeros(3), [1e-3]]).reshape(1, 7),
        "roi": np.concatenate([low, high]).reshape(1, 4).astype(np.float64),
    }
    if dense:
        content["vertices"] = face.vertices.T.astype(np.float32)
    matfile.write_mat(path, content)


def write_dataset(
    folder: Path, topology: Topology, texture: np.ndarray, angles: list[tuple[float, float, float]]
) -> list[KnownFace]:
    """Write `imageNNNNN.jpg` and `.mat` for every (yaw, pitch, roll) in degrees."""
    folder.mkdir(parents=True, exist_ok=True)
    extent = float(np.ptp(topology.canonical[:, 1]))
    faces = []
    for index, (yaw, pitch, roll) in enumerate(angles):
        where = known_pose(yaw, pitch, roll, scale=170.0 / extent, centre_xy=(160.0, 160.0))
        face = draw(topology, texture, where)
        images.write_image(folder / f"image{index:05d}.jpg", face.image, quality=95)
        write_truth(folder / f"image{index:05d}.mat", topology, face)
        faces.append(face)
    return faces
