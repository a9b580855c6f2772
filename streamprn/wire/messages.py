"""What a subscriber gets: one frozen record for each kind of message."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamprn.camera import MetricPose
from streamprn.records import Gaze, Kind, Pose, Roi, SourceState, Stamps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]
    Int32 = NDArray[np.int32]
    UInt8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Face:
    """The small facts of one face; see `streamprn.records.Face`.

    Attributes:
        id: stable while the face is tracked, unique within the stream.
        score: 0..1, NaN where the engine gives none.
        box_xyxy: `(4,)` float32, frame pixels.
        roi: the region that the network saw.
        pose: see `streamprn.records.Pose`.
        landmarks: `(K, 3)` float32, frame pixels, z towards the camera; K is 68.
        visible: `(K,)` bool, or None where it was not computed.
        blendshapes: `(52,)` float32 of `streamprn.BLENDSHAPES`, 0..1; None where nobody asked for
            them or the engine has none.
        gaze: see `streamprn.records.Gaze`; None where nobody asked for it or the engine finds no
            irises.
        metric_pose: in the frame of the camera; None where the publisher knows no camera.
    """

    id: int
    score: float
    box_xyxy: Float32
    roi: Roi
    pose: Pose
    landmarks: Float32
    visible: NDArray[np.bool_] | None = None
    blendshapes: Float32 | None = None
    gaze: Gaze | None = None
    metric_pose: MetricPose | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What every message has.

    Attributes:
        stream: the stream's name.
        kind: what the message holds.
        seq: of the frame within its stream (a gap means drops); `status`, `stats` and `topology`
            count their own messages.
        stamps: nanoseconds, 0 where they do not apply.
        run: of the publisher, another one after each of its starts; "" where it is not told.
        received_ns: monotonic, when the subscriber took the message from its socket.
        received_wall_ns: the same moment by the wall clock.
    """

    stream: str
    kind: Kind
    seq: int
    stamps: Stamps
    run: str = ""
    received_ns: int
    received_wall_ns: int

    def age_ns(self) -> int:
        """Nanoseconds since capture, or since publishing where nothing was captured.

        By the monotonic clock: it means something on the publisher's host only.
        """
        return time.monotonic_ns() - (self.stamps.captured or self.stamps.published)

    def wall_age_ns(self) -> int:
        """Nanoseconds since `stamps.wall` by the wall clock, for a subscriber on another host."""
        return time.time_ns() - self.stamps.wall

    @property
    def transit_ns(self) -> int:
        """Nanoseconds from publishing to receiving; on the publisher's host only."""
        return self.received_ns - self.stamps.published


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMessage(Message):
    """What every message about one frame has.

    Attributes:
        pts_ns: the frame's place in its source, or None.
        frame_size_wh: width and height of the source frame, pixels.
        faces: the faces found, perhaps none.
        spans_ns: time spent in each stage, by name.
    """

    pts_ns: int | None
    frame_size_wh: tuple[int, int]
    faces: tuple[Face, ...]
    spans_ns: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceMessage(FrameMessage):
    """Landmarks and poses: the faces and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshMessage(FrameMessage):
    """All vertices: face id to `(N, 3)` float32, frame pixels, z towards the camera."""

    vertices: Mapping[int, Float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthMessage(FrameMessage):
    """`depth` is `(H, W)` float32, z of the nearest face, NaN where none; None without faces."""

    depth: Float32 | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextureMessage(FrameMessage):
    """UV textures: face id to `(T, T, 3)` uint8 RGB."""

    textures: Mapping[int, UInt8]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMessage(FrameMessage):
    """`image` is the source frame, `(H, W, 3)` uint8 RGB."""

    image: UInt8


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyMessage(Message):
    """The fixed meaning of the vertices; see `streamprn.engines.topology.Topology`.

    Attributes:
        name: of the engine.
        uv_size: side of the position map, texels.
        triangles: `(T, 3)` int32 vertex indices.
        uv: `(N, 2)` float32 in 0..1, u right, v up.
        texel: `(N,)` int32, flat index of each vertex in the position map.
        canonical: `(N, 3)` float32 rest shape, y up.
        landmarks: `(68,)` int32 vertex indices.
        pose_weights: `(N,)` float32.
        mirror: `(N,)` int32.
        parts: `(N,)` bool masks by name.
        licence: of the topology.
        provenance: where it comes from.
        blendshapes: names of the coefficients of `Face.blendshapes`.
    """

    name: str
    uv_size: int
    triangles: Int32
    uv: Float32
    texel: Int32
    canonical: Float32
    landmarks: Int32
    pose_weights: Float32
    mirror: Int32
    parts: Mapping[str, NDArray[np.bool_]]
    licence: str
    provenance: str
    blendshapes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusMessage(Message):
    """Where a source stands; sent when that changes, and again with every heartbeat.

    Attributes:
        state: plain text where a later version of the publisher has a state unknown to this one.
        cause: in words.
        attempt: number of the attempt to connect.
        interval_ns: the next message of this kind comes within so long; 0 where none is promised.
        frame_age_ns: since the last published frame was captured; None as long as there was none.
        frame_seq: its number.
        streams: of the publisher itself, the names of all.
    """

    state: SourceState | str
    cause: str
    attempt: int
    interval_ns: int = 0
    frame_age_ns: int | None = None
    frame_seq: int | None = None
    streams: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsMessage(Message):
    """Counters and rates of a stream, by name."""

    stats: Mapping[str, str | int | float | bool | None]
