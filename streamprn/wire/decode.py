"""Message parts to records, trusting nothing that came over the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
from msgspec import UnsetType

from streamprn.camera import MetricPose
from streamprn.errors import WireError
from streamprn.records import BLENDSHAPES, Eye, Gaze, Kind, Pose, Roi, SourceState, Stamps
from streamprn.wire.header import (
    VERSION,
    ArrayHeader,
    Envelope,
    EyeHeader,
    FaceHeader,
    GazeHeader,
    Header,
    MetricHeader,
)
from streamprn.wire.messages import (
    DepthMessage,
    Face,
    FaceMessage,
    ImageMessage,
    MeshMessage,
    Message,
    StatsMessage,
    StatusMessage,
    TextureMessage,
    TopologyMessage,
)
from streamprn.wire.quantise import dequantise
from streamprn.wire.topics import parse_topic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    AnyArray = NDArray[Any]

Buffer = bytes | bytearray | memoryview
Arrays = Sequence[tuple[ArrayHeader, "AnyArray"]]
Head = TypeVar("Head", Header, Envelope)

#: The types that an array may have; anything else is refused before NumPy sees it.
DTYPES = frozenset(
    ("<f4", "<f8", "<f2", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "|b1")
)

_header_decoder = msgspec.msgpack.Decoder(Header)
_envelope_decoder = msgspec.msgpack.Decoder(Envelope)


def peek(header: Buffer) -> Envelope:
    """The `seq` and `run` of a header, without decoding the rest.

    Raises:
        WireError: it is no header of this version.
    """
    return _read(_envelope_decoder, header)


def decode(parts: Sequence[Buffer], received_ns: int = 0, received_wall_ns: int = 0) -> Message:
    """One message from its parts.

    Args:
        parts: topic, header, arrays. The record's arrays are read-only views of these.
        received_ns: monotonic, passed on into the record.
        received_wall_ns: wall clock, passed on into the record.

    Raises:
        WireError: the parts do not follow the format, or the kind is unknown.
    """
    if len(parts) < 2:
        raise WireError(f"message of {len(parts)} parts, expected a topic and a header at least")
    stream, name = parse_topic(bytes(parts[0]))
    header = _read(_header_decoder, parts[1])
    if header.stream != stream:
        raise WireError(f"header of stream {header.stream[:80]!r} under the topic of {stream!r}")
    build = _BUILDERS.get(name)
    if build is None:
        raise WireError(f"unknown kind {name!r}")
    common: dict[str, Any] = {
        "stream": stream,
        "kind": Kind(name),
        "seq": header.seq,
        "stamps": Stamps(*msgspec.structs.astuple(header.stamps)),
        "run": header.run,
        "received_ns": received_ns,
        "received_wall_ns": received_wall_ns,
    }
    with np.errstate(over="ignore", invalid="ignore"):
        return build(header, _arrays(header, parts[2:]), common)


def _read(decoder: msgspec.msgpack.Decoder[Head], data: Buffer) -> Head:
    try:
        header = decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"header cannot be read: {error}") from error
    if header.v != VERSION:
        raise WireError(
            f"wire format version {header.v}, this reader knows {VERSION}",
            hint="use the same StreamPRN version on both sides",
        )
    return header


def _arrays(header: Header, parts: Sequence[Buffer]) -> Arrays:
    if len(parts) != len(header.arrays):
        raise WireError(f"{len(header.arrays)} arrays announced, {len(parts)} sent")
    pairs = zip(header.arrays, parts, strict=True)
    return [(described, _array(described, part)) for described, part in pairs]


def _array(described: ArrayHeader, part: Buffer) -> AnyArray:
    if described.dtype not in DTYPES:
        raise WireError(f"array {described.name[:80]!r} has unknown type {described.dtype[:20]!r}")
    dtype = np.dtype(described.dtype)
    if prod(described.shape) * dtype.itemsize != len(part):
        raise WireError(
            f"array {described.name[:80]!r}: {len(part)} bytes do not fit "
            f"{described.dtype} {tuple(described.shape)}"
        )
    try:
        array = np.frombuffer(part, dtype).reshape(described.shape)
    except ValueError as error:  # NumPy's own bounds, of arrays that are empty besides
        raise WireError(f"array {described.name[:80]!r}: {error}") from error
    array.flags.writeable = False
    return array


def _check(name: str, array: AnyArray, dtype: type[np.generic], *shape: int | None) -> AnyArray:
    fits = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=False)
    )
    if array.dtype.newbyteorder("=") != np.dtype(dtype) or not fits:
        raise WireError(f"array {name!r} is {array.dtype} {array.shape}")
    return array


def _frame(header: Header, common: dict[str, Any]) -> dict[str, Any]:
    spans = {} if isinstance(header.spans, UnsetType) else header.spans
    return common | {
        "pts_ns": header.pts,
        "frame_size_wh": (header.frame_w, header.frame_h),
        "faces": tuple(_face(face) for face in header.faces),
        "spans_ns": spans,
    }


def _face(face: FaceHeader) -> Face:
    pose = face.pose
    return Face(
        id=face.id,
        score=face.score,
        box_xyxy=_read_only(np.array(face.box, np.float32)),
        roi=Roi(face.roi.cx, face.roi.cy, face.roi.side, face.roi.roll),
        pose=Pose(
            rotation=_read_only(np.array(pose.rotation, np.float64)),
            scale=pose.scale,
            translation=_read_only(np.array(pose.translation, np.float64)),
            yaw=pose.yaw,
            pitch=pose.pitch,
            roll=pose.roll,
            quaternion=_read_only(np.array(pose.quaternion, np.float64)),
        ),
        landmarks=_read_only(np.array(face.landmarks, np.float32).reshape(-1, 3)),
        visible=None if face.visible is None else _read_only(np.array(face.visible, bool)),
        blendshapes=_blendshapes(face.blendshapes),
        gaze=_gaze(face.gaze),
        metric_pose=_metric(face.metric),
    )


def _metric(metric: MetricHeader | UnsetType) -> MetricPose | None:
    if isinstance(metric, UnsetType):
        return None
    return MetricPose(
        rotation=_read_only(np.array(metric.rotation, np.float64)),
        translation_mm=_read_only(np.array(metric.translation, np.float64)),
        eyes_mm=_read_only(np.array(metric.eyes, np.float64)),
        mm_per_unit=metric.mm_per_unit,
        yaw=metric.yaw,
        pitch=metric.pitch,
        roll=metric.roll,
        quaternion=_read_only(np.array(metric.quaternion, np.float64)),
        error_px=metric.error,
    )


def _blendshapes(values: list[float] | UnsetType | None) -> NDArray[np.float32] | None:
    if values is None or isinstance(values, UnsetType):
        return None
    if len(values) < len(BLENDSHAPES):
        raise WireError(f"{len(values)} blendshapes, expected {len(BLENDSHAPES)}")
    # A later publisher may know of more, behind those that this reader has names for.
    return _read_only(np.array(values[: len(BLENDSHAPES)], np.float32))


def _gaze(gaze: GazeHeader | UnsetType | None) -> Gaze | None:
    if gaze is None or isinstance(gaze, UnsetType):
        return None
    return Gaze(_eye(gaze.right), _eye(gaze.left))


def _eye(eye: EyeHeader) -> Eye:
    direction = _read_only(np.array(eye.direction, np.float32))
    return Eye(direction, eye.yaw, eye.pitch, eye.openness)


def _read_only(array: AnyArray) -> AnyArray:
    array.flags.writeable = False
    return array


def _build_face(header: Header, arrays: Arrays, common: dict[str, Any]) -> Message:
    del arrays
    return FaceMessage(**_frame(header, common))


def _build_mesh(header: Header, arrays: Arrays, common: dict[str, Any]) -> Message:
    vertices = {
        face: _vertices(described, array)
        for described, array, face in _of_faces(arrays, "vertices")
    }
    return MeshMessage(**_frame(header, common), vertices=vertices)


def _of_faces(arrays: Arrays, name: str) -> list[tuple[ArrayHeader, AnyArray, int]]:
    return [
        (described, array, described.face)
        for described, array in arrays
        if described.name == name and described.face is not None
    ]


def _vertices(described: ArrayHeader, array: AnyArray) -> NDArray[np.float32]:
    if isinstance(described.scale, UnsetType) or isinstance(described.offset, UnsetType):
        return _check("vertices", array, np.float32, None, 3)
    quantised = _check("vertices", array, np.int16, None, 3)
    scale = np.array(described.scale, np.float32)
    offset = np.array(described.offset, np.float32)
    return _read_only(dequantise(quantised, scale, offset))


def _build_depth(header: Header, arrays: Arrays, common: dict[str, Any]) -> Message:
    array = _first(arrays, "depth")
    depth = None if array is None else _check("depth", array, np.float32, None, None)
    return DepthMessage(**_frame(header, common), depth=depth)


def _build_texture(header: Header, arrays: Arrays, common: dict[str, Any]) -> Message:
    textures = {
        face: _check("texture", array, np.uint8, None, None, 3)
        for _, array, face in _of_faces(arrays, "texture")
    }
    return TextureMessage(**_frame(header, common), textures=textures)


def _build_image(header: Header, arrays: Arrays, common: dict[str, Any]) -> Message:
    array = _check("image", _need(arrays, "image"), np.uint8, None, None, 3)
    return ImageMessage(**_frame(header, common), image=array)


_STATES: Mapping[str, SourceState | str] = {state.value: state for state in SourceState}


def _build_status(header: Header, arrays: Arrays, common: dict[str, Any]) -> Message:
    del arrays
    status = header.status
    if isinstance(status, UnsetType):
        raise WireError("status message without the key 'status'")
    state = _STATES.get(status.state, status.state)
    return StatusMessage(
        **common,
        state=state,
        cause=status.cause,
        attempt=status.attempt,
        interval_ns=status.interval,
        frame_age_ns=status.frame_age,
        frame_seq=status.frame_seq,
        streams=tuple(status.streams),
    )


def _build_stats(header: Header, arrays: Arrays, common: dict[str, Any]) -> Message:
    del arrays
    if isinstance(header.stats, UnsetType):
        raise WireError("stats message without the key 'stats'")
    return StatsMessage(**common, stats=header.stats)


def _build_topology(header: Header, arrays: Arrays, common: dict[str, Any]) -> Message:
    topology = header.topology
    if isinstance(topology, UnsetType):
        raise WireError("topology message without the key 'topology'")
    n = topology.vertices
    parts = {
        described.name.removeprefix("part:"): _check(described.name, array, np.uint8, n) != 0
        for described, array in arrays
        if described.name.startswith("part:")
    }
    return TopologyMessage(
        **common,
        name=topology.name,
        uv_size=topology.uv_size,
        triangles=_indices(arrays, "triangles", n, None, 3),
        uv=_check("uv", _need(arrays, "uv"), np.float32, n, 2),
        texel=_indices(arrays, "texel", topology.uv_size**2, n),
        canonical=_check("canonical", _need(arrays, "canonical"), np.float32, n, 3),
        landmarks=_indices(arrays, "landmarks", n, None),
        pose_weights=_check("pose_weights", _need(arrays, "pose_weights"), np.float32, n),
        mirror=_indices(arrays, "mirror", n, n),
        parts=parts,
        licence=topology.licence,
        provenance=topology.provenance,
        blendshapes=tuple(topology.blendshapes),
    )


def _indices(arrays: Arrays, name: str, limit: int, *shape: int | None) -> NDArray[np.int32]:
    """An array of indices below `limit` as int32, whatever integers it travelled as."""
    array = _need(arrays, name)
    if array.dtype.kind not in "ui":
        raise WireError(f"array {name!r} is {array.dtype}, expected integers")
    if array.size and not (int(array.min()) >= 0 and int(array.max()) < min(limit, 1 << 31)):
        raise WireError(f"array {name!r} points outside 0..{limit - 1}")
    return _read_only(_check(name, array.astype(np.int32), np.int32, *shape))


def _first(arrays: Arrays, name: str) -> AnyArray | None:
    return next((array for described, array in arrays if described.name == name), None)


def _need(arrays: Arrays, name: str) -> AnyArray:
    array = _first(arrays, name)
    if array is None:
        raise WireError(f"array {name!r} is missing")
    return array


_Builder = Callable[[Header, Arrays, dict[str, Any]], Message]
_BUILDERS: Mapping[str, _Builder] = {
    "face": _build_face,
    "mesh": _build_mesh,
    "depth": _build_depth,
    "texture": _build_texture,
    "image": _build_image,
    "topology": _build_topology,
    "status": _build_status,
    "stats": _build_stats,
}
