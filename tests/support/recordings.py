"""Recordings of made faces that move: every vertex of every frame is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from streamprn.kernels.pose import quaternion_from_rotation
from streamprn.records import FrameResult, Kind, Pose
from streamprn.wire.record import Recorder
from tests.support.wire import make_result, make_topology

VERTICES = 40
TOPOLOGY = make_topology(VERTICES)
KINDS = (Kind.FACE, Kind.MESH, Kind.TEXTURE)


def rotation_xyz(rx: float, ry: float, rz: float) -> np.ndarray:
    """Rx @ Ry @ Rz of right-handed turns, radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos([rx, ry, rz]), np.sin([rx, ry, rz])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def moving(
    seq: int, faces: int = 1, stream: str = "cam1", first_id: int = 1, start_s: float = 1e3
) -> FrameResult:
    """Frame `seq` of a stream at 25 frames/s: heads that turn, with noise on every vertex."""
    result = make_result(stream, seq, faces, VERTICES)
    rng = np.random.default_rng(seq)
    moved = []
    for place, face in enumerate(result.faces):
        rotation = rotation_xyz(0.1 * seq, 0.3 - 0.2 * seq, 0.05 * seq + place)
        pose = Pose(
            rotation=rotation,
            scale=1.5 + 0.1 * seq,
            translation=np.array([10.0 + seq, 20.0 - seq, 3.0]),
            yaw=1.0,
            pitch=2.0,
            roll=3.0,
            quaternion=quaternion_from_rotation(rotation),
        )
        noise = rng.normal(0, 2, (VERTICES, 3)).astype(np.float32)
        moved.append(replace(face, id=first_id + place, pose=pose, vertices=face.vertices + noise))
    captured = round(1e9 * (start_s + seq / 25))
    frame = replace(result.frame, captured_ns=captured, wall_ns=captured + 10**18)
    return replace(result, frame=frame, faces=tuple(moved))


def record(
    folder: Path, results: Iterable[FrameResult], kinds: Sequence[Kind] = KINDS
) -> list[Path]:
    """Record frames below a folder; the files that were made."""
    recorder = Recorder(folder, TOPOLOGY, kinds)
    for result in results:
        recorder.take(result, 77)
    recorder.close()
    return sorted(folder.rglob("*.sprn"))
