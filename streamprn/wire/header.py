"""The header of a message: one MessagePack map, described here as msgspec structs.

Unknown keys are ignored in reading, so that a later version 1 may add some.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

VERSION = 1

Vector3 = tuple[float, float, float]
Count = Annotated[int, Meta(ge=0)]
#: A length of an array along one axis.
Length = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Scalar = str | int | float | bool | None


class ArrayHeader(Struct):
    """One array: the part of the message at the same place, little-endian, C order.

    `dtype` is NumPy's short name (`<f4`, `<i2`, `|u1`, ...). An integer array with `scale` and
    `offset` stands for `scale * value + offset`, one factor for each place of the last axis.
    """

    name: str
    face: int | None
    dtype: str
    shape: Annotated[list[Length], Meta(max_length=4)]
    scale: Vector3 | UnsetType = UNSET
    offset: Vector3 | UnsetType = UNSET


class StampsHeader(Struct):
    """Nanoseconds; 0 where it does not apply. All monotonic but `wall`."""

    captured: int = 0
    decoded: int = 0
    tracked: int = 0
    inferred: int = 0
    published: int = 0
    wall: int = 0


class PoseHeader(Struct):
    """`streamprn.records.Pose`."""

    rotation: tuple[Vector3, Vector3, Vector3]
    scale: float
    translation: Vector3
    yaw: float
    pitch: float
    roll: float
    quaternion: tuple[float, float, float, float]


class MetricHeader(Struct):
    """`streamprn.camera.MetricPose`."""

    rotation: tuple[Vector3, Vector3, Vector3]
    translation: Vector3
    eyes: Vector3
    mm_per_unit: float
    yaw: float
    pitch: float
    roll: float
    quaternion: tuple[float, float, float, float]
    error: float


class RoiHeader(Struct):
    """`streamprn.records.Roi`."""

    cx: float
    cy: float
    side: float
    roll: float


class EyeHeader(Struct):
    """`streamprn.records.Eye`."""

    direction: Vector3
    yaw: float
    pitch: float
    openness: float


class GazeHeader(Struct):
    """`streamprn.records.Gaze`."""

    right: EyeHeader
    left: EyeHeader


class FaceHeader(Struct):
    """The small facts of one face; box is x0, y0, x1, y1.

    Without `blendshapes` or `gaze` nobody asked for them; nil where the engine has none. Without
    `metric` nothing is known of the camera.
    """

    id: int
    score: float
    box: tuple[float, float, float, float]
    roi: RoiHeader
    pose: PoseHeader
    landmarks: list[Vector3]
    visible: list[bool] | None = None
    blendshapes: list[float] | UnsetType | None = UNSET
    gaze: GazeHeader | UnsetType | None = UNSET
    metric: MetricHeader | UnsetType = UNSET


class StatusHeader(Struct):
    """`streamprn.records.SourceStatus`, and what a heartbeat adds, in nanoseconds."""

    state: str
    cause: str = ""
    attempt: int = 0
    interval: Count = 0
    frame_age: int | None = None
    frame_seq: int | None = None
    streams: list[str] = msgspec.field(default_factory=list)


class TopologyHeader(Struct):
    """What a topology's arrays do not say."""

    name: str
    uv_size: int
    vertices: Count
    licence: str = ""
    provenance: str = ""
    blendshapes: list[str] = msgspec.field(default_factory=list)


class Header(Struct):
    """Part 1 of every message. The last four keys appear in the kinds that have them."""

    v: int
    stream: str
    seq: Count
    run: str = ""
    pts: int | None = None
    frame_w: Count = 0
    frame_h: Count = 0
    stamps: StampsHeader = msgspec.field(default_factory=StampsHeader)
    faces: list[FaceHeader] = msgspec.field(default_factory=list)
    arrays: list[ArrayHeader] = msgspec.field(default_factory=list)
    spans: dict[str, int] | UnsetType = UNSET
    status: StatusHeader | UnsetType = UNSET
    topology: TopologyHeader | UnsetType = UNSET
    stats: dict[str, Scalar] | UnsetType = UNSET


class Envelope(Struct):
    """The part of a header that decides whether a message is worth decoding."""

    v: int
    seq: Count
    run: str = ""
