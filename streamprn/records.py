"""The records that pass between stages: small, frozen, arrays read-only by agreement.

Conventions (see ARCHITECTURE.md): images are RGB uint8 `(H, W, 3)`, y down, x right, pixel
centres at integer coordinates. Vertices are float32 `(N, 3)` in pixels of the source frame, z in
the same unit, growing towards the camera, with its minimum over the face at 0. Times are integers
in nanoseconds: `time.monotonic_ns()`, and `time.time_ns()` where the name says `wall`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from streamprn.expressions import BLENDSHAPES, Eye, Gaze
from streamprn.planes import DevicePlanes, FrameImage, YuvPlanes
from streamprn.redact import redact_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.camera import Camera, MetricPose

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]
    Int32 = NDArray[np.int32]
    UInt8 = NDArray[np.uint8]

__all__ = [
    "BLENDSHAPES",
    "FACE_DETAILS",
    "FRAME_KINDS",
    "PUBLISHER",
    "Detection",
    "DevicePlanes",
    "Eye",
    "Face",
    "Frame",
    "FrameImage",
    "FrameResult",
    "Gaze",
    "Kind",
    "MeshPoints",
    "Pose",
    "QuantisedVertices",
    "Roi",
    "SourceState",
    "SourceStatus",
    "Stamps",
    "YuvPlanes",
]


class Kind(StrEnum):
    """What a message holds; the last part of its topic `<stream>/<kind>`.

    `BLENDSHAPES` and `GAZE` have no messages of their own: to ask for one is to ask that the faces
    in the other messages of a stream have theirs.
    """

    FACE = "face"
    MESH = "mesh"
    DEPTH = "depth"
    TEXTURE = "texture"
    IMAGE = "image"
    TOPOLOGY = "topology"
    STATUS = "status"
    STATS = "stats"
    BLENDSHAPES = "blendshapes"
    GAZE = "gaze"


#: In place of a stream's name where the publisher speaks of itself; no stream may be called so.
PUBLISHER = "_publisher"

#: The kinds that one `FrameResult` gives, in the order of sending: the smallest first.
FRAME_KINDS = (Kind.FACE, Kind.MESH, Kind.TEXTURE, Kind.DEPTH, Kind.IMAGE)

#: The kinds without messages of their own.
FACE_DETAILS = frozenset((Kind.BLENDSHAPES, Kind.GAZE))


class SourceState(StrEnum):
    """Where a source stands, as published on `<stream>/status`."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    RECONNECTING = "reconnecting"
    PAUSED = "paused"
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One change of a source's state, with its cause in words, from which credentials are cut."""

    stream: str
    state: SourceState
    cause: str = ""
    attempt: int = 0
    wall_ns: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "cause", redact_text(self.cause))


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture of one stream.

    `seq` counts the frames that the source produced, so that a gap means a drop. `captured_ns` is
    the arrival of the packet, or for a paced file the moment that the frame was *due*, so that
    waiting for a late reader counts as latency (no coordinated omission). `camera` took the
    picture; None where nothing is known of it.
    """

    stream: str
    seq: int
    image: FrameImage
    pts_ns: int | None
    captured_ns: int
    decoded_ns: int
    wall_ns: int
    camera: Camera | None = None

    @property
    def moment_ns(self) -> int:
        """When the picture was taken, on the source's own time line where it has one."""
        return self.captured_ns if self.pts_ns is None else self.pts_ns


@dataclass(frozen=True, slots=True)
class Roi:
    """A square, rotated region of a frame: centre and side in pixels, roll in radians.

    `roll` is the angle, clockwise on the screen, from the frame's x axis to the crop's x axis.
    """

    cx: float
    cy: float
    side: float
    roll: float = 0.0

    @property
    def is_finite(self) -> bool:
        """Whether it is a region at all: numbers, and a side above 0."""
        return self.side > 0 and math.isfinite(self.cx + self.cy + self.side + self.roll)

    def turned(self, by: float) -> Roi:
        """The same square turned about its centre, radians, clockwise on the screen."""
        return replace(self, roll=math.remainder(self.roll + by, math.tau))

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


class QuantisedVertices(NamedTuple):
    """Vertices as 16-bit steps: a vertex is `scale * steps + offset`, axis by axis.

    Attributes:
        steps: `(N, 3)` int16.
        scale: `(3,)` float32, frame pixels of one step.
        offset: `(3,)` float32, frame pixels.
    """

    steps: NDArray[np.int16]
    scale: Float32
    offset: Float32


class MeshPoints(NamedTuple):
    """What a network of points said of one face, before it became vertices.

    Attributes:
        xyz_px: `(P, 3)` float32, x and y in frame pixels, z in the same unit towards the camera
            with any offset: the 468 points of MediaPipe's mesh, and 10 of the irises where the
            network gives them, see `streamprn.engines.surfaces.ControlSurface`.
        tongue: probability 0..1 that the tongue is put out; 0 where the network does not tell.
    """

    xyz_px: Float32
    tongue: float = 0.0


class Face(Protocol):
    """One dense 3D face of one frame, from the engine to the wire.

    What costs time is computed when it is first asked for, and kept. Where the vertices are, on
    the host or on a GPU, is the engine's affair. One thread at a time may ask.

    Raises:
        FaceLostError: from any property but `id`, `score` and `roi`: the GPU that holds the
            vertices has failed.
    """

    @property
    def id(self) -> int:
        """Stable while the face is followed, unique within its stream, from 1 on."""

    @property
    def score(self) -> float:
        """0..1, the probability that the mesh is right; the detector's where there is none."""

    @property
    def roi(self) -> Roi:
        """The region that the network saw."""

    @property
    def box_xyxy(self) -> Float32:
        """`(4,)` float32: x0, y0, x1, y1 of the vertices, frame pixels."""

    @property
    def landmarks(self) -> Float32:
        """`(68, 3)` float32, frame pixels, the iBUG/300-W order."""

    @property
    def pose(self) -> Pose:
        """See `Pose`."""

    @property
    def vertices(self) -> Float32:
        """`(N, 3)` float32, frame pixels, z towards the camera with minimum 0."""

    @property
    def visible(self) -> NDArray[np.bool_]:
        """`(68,)` bool: the landmark faces the camera and nothing of the face is before it."""

    @property
    def quantised_vertices(self) -> QuantisedVertices:
        """The vertices as 16-bit steps."""

    @property
    def texture(self) -> UInt8:
        """`(T, T, 3)` uint8 RGB: the frame at every texel of the UV layout."""

    @property
    def mesh_points(self) -> MeshPoints | None:
        """The points that the network gave; None where it gives a position map."""

    @property
    def blendshapes(self) -> Float32 | None:
        """`(52,)` float32: how much of each of `BLENDSHAPES` the face shows, 0..1.

        NaN where the points are not finite; None for an engine that gives no `mesh_points`.
        """

    @property
    def gaze(self) -> Gaze | None:
        """Where the eyes look; None for an engine that finds no irises."""

    def metric_pose(self, camera: Camera) -> MetricPose:
        """Where the head is in the frame of the camera that took the frame, in millimetres."""

    def depth_image(self, size_wh: tuple[int, int], others: Sequence[Any] = ()) -> Float32:
        """`(H, W)` float32: z of the nearest surface, NaN where there is no face.

        Args:
            size_wh: W and H of the image, frame pixels.
            others: further faces of the same frame and engine to draw.
        """


@dataclass(frozen=True, slots=True)
class Stamps:
    """When a frame passed each stage, monotonic nanoseconds, and the wall clock at capture."""

    captured: int
    decoded: int
    tracked: int
    inferred: int
    published: int
    wall: int


@dataclass(frozen=True)
class FrameResult:
    """Everything found in one frame.

    Attributes:
        frame: where it was found.
        faces: in the order of their birth.
        tracked_ns: when detection and tracking had chosen the regions to look at, monotonic.
        inferred_ns: when the network had seen them, monotonic.
        spans_ns: time spent in each stage by name (`decode`, `track`, `crop`, `network`,
            `geometry`, ...); not to be changed.
    """

    frame: Frame
    faces: tuple[Face, ...]
    tracked_ns: int
    inferred_ns: int
    spans_ns: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def depth(self) -> Float32:
        """`(H, W)` float32: z of the nearest surface of all faces, NaN where there is none."""
        image = self.frame.image
        if not self.faces:
            return np.full((image.height, image.width), np.nan, np.float32)
        first, *others = self.faces
        return first.depth_image((image.width, image.height), others)

    def with_span(self, name: str, duration_ns: int) -> FrameResult:
        """A copy that also tells the time of one more stage."""
        copy = replace(self, spans_ns={**self.spans_ns, name: duration_ns})
        if "depth" in self.__dict__:
            copy.__dict__["depth"] = self.depth
        return copy
