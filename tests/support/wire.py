"""Results and topologies to publish, small or full size, and waiting with a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from streamprn.camera import Camera, MetricPose
from streamprn.engines.topology import PARTS, Topology
from streamprn.kernels.quantise import quantise
from streamprn.records import (
    Eye,
    Frame,
    FrameImage,
    FrameResult,
    Gaze,
    MeshPoints,
    Pose,
    QuantisedVertices,
    Roi,
)

WIDTH, HEIGHT = 32, 24


def make_pose(seed: int = 0) -> Pose:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    rotation = q * np.sign(np.diag(r))
    rotation *= np.sign(np.linalg.det(rotation))
    return Pose(
        rotation=rotation,
        scale=1.25,
        translation=np.array([10.0, 20.0, 30.0]),
        yaw=11.5,
        pitch=-7.25,
        roll=3.0,
        quaternion=np.array([0.5, 0.5, -0.5, 0.5]),
    )


@dataclass(frozen=True)
class GivenFace:
    """A `streamprn.records.Face` whose every value is given."""

    id: int
    score: float
    box_xyxy: np.ndarray
    roi: Roi
    vertices: np.ndarray
    landmarks: np.ndarray
    pose: Pose
    visible: np.ndarray
    texture: np.ndarray
    depth: np.ndarray
    blendshapes: np.ndarray | None
    mesh_points: MeshPoints | None = None
    gaze: Gaze | None = None

    @cached_property
    def quantised_vertices(self) -> QuantisedVertices:
        return QuantisedVertices(*quantise(self.vertices))

    def metric_pose(self, camera):
        pose = self.pose
        return MetricPose(
            rotation=pose.rotation,
            translation_mm=np.array([-10.5, 20.0, 600.0]),
            eyes_mm=np.array([-12.0, -4.5, 580.0]),
            mm_per_unit=camera.pupil_distance_mm / 4,
            yaw=12.5,
            pitch=-6.25,
            roll=3.5,
            quaternion=pose.quaternion,
            error_px=1.75,
        )

    def depth_image(self, size_wh, others=()):
        assert self.depth.shape == size_wh[::-1]
        return self.depth


def make_face(id_: int = 1, vertices: int = 50, seed: int = 0) -> GivenFace:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0, 99, (HEIGHT, WIDTH)).astype(np.float32)
    depth[0] = np.nan
    return GivenFace(
        id=id_,
        score=0.875,
        box_xyxy=np.array([1.5, 2.5, 20.5, 21.5], np.float32),
        roi=Roi(11.0, 12.0, 30.0, 0.25),
        vertices=rng.uniform(0, 300, (vertices, 3)).astype(np.float32),
        landmarks=rng.uniform(0, 300, (68, 3)).astype(np.float32),
        pose=make_pose(seed),
        visible=rng.random(68) > 0.5,
        texture=rng.integers(0, 256, (8, 8, 3), np.uint8),
        depth=depth,
        blendshapes=rng.random(52).astype(np.float32),
        gaze=Gaze(make_eye(rng), make_eye(rng)),
    )


def make_eye(rng: np.random.Generator) -> Eye:
    direction = rng.normal(size=3)
    return Eye((direction / np.linalg.norm(direction)).astype(np.float32), *rng.random(3).tolist())


def make_result(
    stream: str = "cam1",
    seq: int = 0,
    faces: int = 1,
    vertices: int = 50,
    camera: Camera | None = None,
) -> FrameResult:
    rng = np.random.default_rng(seq)
    now = time.monotonic_ns()
    rgb = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return FrameResult(
        frame=Frame(
            stream=stream,
            seq=seq,
            image=FrameImage.from_rgb(rgb),
            pts_ns=seq * 40_000_000,
            captured_ns=now - 4000,
            decoded_ns=now - 3000,
            wall_ns=time.time_ns(),
            camera=camera,
        ),
        faces=tuple(make_face(id_ + 1, vertices, seed=id_) for id_ in range(faces)),
        tracked_ns=now - 2000,
        inferred_ns=now - 1000,
        spans_ns={"decode": 1000, "network": 2000},
    )


def with_seq(result: FrameResult, seq: int) -> FrameResult:
    return replace(result, frame=replace(result.frame, seq=seq))


def make_topology(vertices: int = 200, name: str = "test") -> Topology:
    rng = np.random.default_rng(1)
    topology = Topology(
        name=name,
        texel=np.sort(rng.choice(256 * 256, vertices, replace=False)).astype(np.int32),
        triangles=rng.integers(0, vertices, (2 * vertices, 3)).astype(np.int32),
        canonical=rng.normal(size=(vertices, 3)).astype(np.float32),
        landmarks=rng.integers(0, vertices, 68).astype(np.int32),
        pose_weights=rng.random(vertices).astype(np.float32),
        mirror=np.arange(vertices, dtype=np.int32)[::-1].copy(),
        parts={part: rng.random(vertices) > 0.5 for part in PARTS},
        licence="Apache-2.0",
        provenance="random numbers",
    )
    topology.check()
    return topology


def eventually(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Wait until something is true, or fail."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)
