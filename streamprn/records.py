"""The records that pass between stages: small, frozen, arrays read-only by agreement.

Conventions (see ARCHITECTURE.md): images are RGB uint8 `(H, W, 3)`, y down, x right, pixel
centres at integer coordinates. Vertices are float32 `(N, 3)` in pixels of the source frame, z in
the same unit, growing towards the camera, with its minimum over the face at 0. Times are integers
in nanoseconds: `time.monotonic_ns()`, and `time.time_ns()` where the name says `wall`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]
    Int32 = NDArray[np.int32]
    UInt8 = NDArray[np.uint8]

__all__ = [
    "Detection",
    "FaceResult",
    "Frame",
    "FrameImage",
    "FrameResult",
    "Kind",
    "Pose",
    "RestoredFace",
    "Roi",
    "SourceState",
    "SourceStatus",
    "Stamps",
    "YuvPlanes",
]


class Kind(StrEnum):
    """What a message holds; the last part of its topic `<stream>/<kind>`."""

    FACE = "face"
    MESH = "mesh"
    DEPTH = "depth"
    TEXTURE = "texture"
    IMAGE = "image"
    TOPOLOGY = "topology"
    STATUS = "status"
    STATS = "stats"


class SourceState(StrEnum):
    """Where a source stands, as published on `<stream>/status`."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    RECONNECTING = "reconnecting"
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One change of a source's state, with its cause in words (no credentials)."""

    stream: str
    state: SourceState
    cause: str = ""
    attempt: int = 0
    wall_ns: int = 0


@dataclass(frozen=True, slots=True)
class YuvPlanes:
    """Planar 4:2:0 video: y `(H, W)`, u and v `(ceil(H/2), ceil(W/2))`, uint8, C order rows.

    Rows may be strided (padding at their end). `full_range` tells 0..255 from 16..235;
    `bt709` picks the colour matrix (else BT.601).
    """

    y: UInt8
    u: UInt8
    v: UInt8
    full_range: bool = False
    bt709: bool = False


class FrameImage:
    """A picture that converts to RGB only when somebody asks, and then once.

    Args:
        width: pixels.
        height: pixels.
        to_rgb: makes the `(H, W, 3)` uint8 RGB array; called at most once.
        planes: the decoder's own planes where they are 4:2:0, else None.
    """

    __slots__ = ("_lock", "_rgb", "_to_rgb", "height", "planes", "width")

    def __init__(
        self,
        width: int,
        height: int,
        to_rgb: Callable[[], UInt8],
        planes: YuvPlanes | None = None,
    ) -> None:
        self.width = width
        self.height = height
        self.planes = planes
        self._to_rgb: Callable[[], UInt8] | None = to_rgb
        self._rgb: UInt8 | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_rgb(cls, rgb: UInt8) -> FrameImage:
        """Wrap an RGB array `(H, W, 3)` uint8 that exists already."""
        image = cls(rgb.shape[1], rgb.shape[0], lambda: rgb)
        image._rgb = rgb
        return image

    @property
    def rgb(self) -> UInt8:
        """The picture as `(H, W, 3)` uint8 RGB, C order, read-only by agreement."""
        with self._lock:
            if self._rgb is None:
                assert self._to_rgb is not None
                self._rgb = self._to_rgb()
                self._to_rgb = None
            return self._rgb

    @property
    def has_rgb(self) -> bool:
        """Whether `rgb` costs nothing now."""
        return self._rgb is not None


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture of one stream.

    `seq` counts the frames that the source produced, so that a gap means a drop. `captured_ns` is
    the arrival of the packet, or for a paced file the moment that the frame was *due*, so that
    waiting for a late reader counts as latency (no coordinated omission).
    """

    stream: str
    seq: int
    image: FrameImage
    pts_ns: int | None
    captured_ns: int
    decoded_ns: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class Roi:
    """A square, rotated region of a frame: centre and side in pixels, roll in radians.

    `roll` is the angle, clockwise on the screen, from the frame's x axis to the crop's x axis.
    """

    cx: float
    cy: float
    side: float
    roll: float = 0.0

    def change_to(self, other: Roi) -> float:
        """How far `other` is, as a part of this side: the largest of shift, growth, half turn."""
        if not (self.side > 0 and math.isfinite(other.cx + other.cy + other.side + other.roll)):
            return math.inf
        shift = math.hypot(self.cx - other.cx, self.cy - other.cy) / self.side
        growth = abs(other.side - self.side) / self.side
        turn = 0.5 * abs(math.remainder(other.roll - self.roll, math.tau))
        return max(shift, growth, turn)

    def overlap(self, other: Roi) -> float:
        """Intersection over union with `other`, both taken as upright squares, 0..1."""
        half = 0.5 * (self.side + other.side)
        width = min(self.side, other.side, half - abs(self.cx - other.cx))
        height = min(self.side, other.side, half - abs(self.cy - other.cy))
        if width <= 0 or height <= 0:
            return 0.0
        return width * height / (self.side**2 + other.side**2 - width * height)


@dataclass(frozen=True, slots=True)
class Detection:
    """A detected face: box `(4,)` float32 x0, y0, x1, y1 and keypoints `(K, 2)`, frame pixels."""

    score: float
    box_xyxy: Float32
    keypoints: Float32


@dataclass(frozen=True, slots=True)
class Pose:
    """Head pose of a weak-perspective camera, from all vertices.

    With X the canonical shape and Y the observed one, both y up and z towards the camera
    (`Y = (x, -y, z)` of a frame vertex): `Y = scale * rotation @ X + translation`.

    Attributes:
        rotation: `(3, 3)` float64, proper (determinant +1).
        scale: frame pixels per canonical unit.
        translation: `(3,)` float64: x right, y **down** (frame pixels), z in frame pixels.
        yaw: degrees, AFLW2000-3D sign convention, as are pitch and roll.
        pitch: degrees.
        roll: degrees.
        quaternion: `(4,)` float64, w x y z, w >= 0.
    """

    rotation: Float64
    scale: float
    translation: Float64
    yaw: float
    pitch: float
    roll: float
    quaternion: Float64


@dataclass(frozen=True, slots=True)
class RestoredFace:
    """A followed face in the frame, before anything is computed from it.

    Attributes:
        id: see `FaceResult`, as are `score` and `roi`.
        score: 0..1.
        roi: the region that the network saw.
        vertices: `(N, 3)` float32, frame pixels, z towards the camera with minimum 0.
        box_xyxy: `(4,)` float32, their bounds.
    """

    id: int
    score: float
    roi: Roi
    vertices: Float32
    box_xyxy: Float32


@dataclass(frozen=True, slots=True)
class FaceResult:
    """One dense 3D face of one frame.

    Attributes:
        id: stable while the face is tracked, unique within the stream.
        score: 0..1, the engine's or the detector's confidence.
        box_xyxy: `(4,)` float32, the bounding box of the vertices, frame pixels.
        roi: the region that the network saw.
        vertices: `(N, 3)` float32, frame pixels, z towards the camera with minimum 0.
        landmarks: `(68, 3)` float32, the same space, the iBUG/300-W order.
        pose: see `Pose`.
        visible: `(68,)` bool, or None where nobody asked.
        texture: `(T, T, 3)` uint8 UV texture, or None where nobody asked.
    """

    id: int
    score: float
    box_xyxy: Float32
    roi: Roi
    vertices: Float32
    landmarks: Float32
    pose: Pose
    visible: NDArray[np.bool_] | None = None
    texture: UInt8 | None = None


@dataclass(frozen=True, slots=True)
class Stamps:
    """When a frame passed each stage, monotonic nanoseconds, and the wall clock at capture."""

    captured: int
    decoded: int
    tracked: int
    inferred: int
    published: int
    wall: int


@dataclass(frozen=True, slots=True)
class FrameResult:
    """Everything found in one frame.

    `depth` is `(H, W)` float32, the z of the nearest face surface over all faces, NaN where there
    is none; None where nobody asked. `spans_ns` holds the time spent in each stage by name
    (`decode`, `track`, `crop`, `network`, `geometry`, ...).
    """

    frame: Frame
    faces: tuple[FaceResult, ...]
    tracked_ns: int
    inferred_ns: int
    depth: Float32 | None = None
    spans_ns: Mapping[str, int] = field(default_factory=dict)
