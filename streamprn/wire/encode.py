"""Records to message parts: `[topic, header, array 0, array 1, ...]`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec
import numpy as np
from msgspec import UNSET

from streamprn.records import BLENDSHAPES, Kind
from streamprn.wire.header import (
    VERSION,
    ArrayHeader,
    EyeHeader,
    FaceHeader,
    GazeHeader,
    Header,
    MetricHeader,
    PoseHeader,
    RoiHeader,
    Scalar,
    StampsHeader,
    StatusHeader,
    TopologyHeader,
)
from streamprn.wire.topics import topic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.camera import Camera, MetricPose
    from streamprn.records import Eye, Face, FrameResult, Gaze, Pose, SourceStatus

    AnyArray = NDArray[Any]

Parts = list[bytes | memoryview]
MeshFormat = Literal["float32", "int16"]
Named = tuple[ArrayHeader, "AnyArray"]

UV_SIZE = 256

_encoder = msgspec.msgpack.Encoder()


class TopologyArrays(Protocol):
    """What the wire needs of `streamprn.engines.topology.Topology`."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def licence(self) -> str: ...  # noqa: D102
    @property
    def provenance(self) -> str: ...  # noqa: D102
    @property
    def triangles(self) -> NDArray[np.int32]: ...  # noqa: D102
    @property
    def texel(self) -> NDArray[np.int32]: ...  # noqa: D102
    @property
    def uv(self) -> NDArray[np.float32]: ...  # noqa: D102
    @property
    def canonical(self) -> NDArray[np.float32]: ...  # noqa: D102
    @property
    def landmarks(self) -> NDArray[np.int32]: ...  # noqa: D102
    @property
    def pose_weights(self) -> NDArray[np.float32]: ...  # noqa: D102
    @property
    def mirror(self) -> NDArray[np.int32]: ...  # noqa: D102
    @property
    def parts(self) -> Mapping[str, NDArray[np.bool_]]: ...  # noqa: D102


def encode_faces(
    result: FrameResult, *, visible: bool, blendshapes: bool = False, gaze: bool = False
) -> list[FaceHeader]:
    """The faces of a frame as they stand in headers: made once for those that are sent together.

    Args:
        result: what was found.
        visible: whether to tell which landmarks can be seen, which takes time to find out.
        blendshapes: whether to tell these, which takes time as well.
        gaze: whether to tell it.
    """
    camera = result.frame.camera
    return [_face(face, visible, blendshapes, gaze, camera) for face in result.faces]


def encode_frame(
    kind: Kind,
    result: FrameResult,
    faces: list[FaceHeader],
    published_ns: int,
    *,
    mesh_format: MeshFormat = "float32",
    run: str = "",
) -> Parts:
    """One message about a frame; the arrays are views, valid while the result lives.

    Args:
        kind: one of `FRAME_KINDS`.
        result: what was found; what the kind needs of it is computed now, if it was not before.
        faces: of `encode_faces`.
        published_ns: monotonic, the stamp `published`.
        mesh_format: how vertices travel.
        run: of the publisher.
    """
    arrays = _frame_arrays(kind, result, mesh_format)
    frame = result.frame
    header = Header(
        v=VERSION,
        stream=frame.stream,
        seq=frame.seq,
        run=run,
        pts=frame.pts_ns,
        frame_w=frame.image.width,
        frame_h=frame.image.height,
        stamps=StampsHeader(
            captured=frame.captured_ns,
            decoded=frame.decoded_ns,
            tracked=result.tracked_ns,
            inferred=result.inferred_ns,
            published=published_ns,
            wall=frame.wall_ns,
        ),
        faces=faces,
        spans=dict(result.spans_ns),
    )
    return _parts(kind, header, arrays)


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a heartbeat tells besides the state; nanoseconds, None as long as there was no frame.

    `streams` is told of the publisher: the names of all.
    """

    interval_ns: int = 0
    frame_age_ns: int | None = None
    frame_seq: int | None = None
    streams: tuple[str, ...] = ()


def encode_status(
    status: SourceStatus,
    seq: int,
    published_ns: int,
    wall_ns: int,
    *,
    run: str = "",
    pulse: Pulse | None = None,
) -> Parts:
    """A `status` message; `wall_ns` counts where the status has no time of its own."""
    pulse = pulse or Pulse()
    header = Header(
        v=VERSION,
        stream=status.stream,
        seq=seq,
        run=run,
        stamps=StampsHeader(published=published_ns, wall=status.wall_ns or wall_ns),
        status=StatusHeader(
            status.state.value,
            status.cause,
            status.attempt,
            pulse.interval_ns,
            pulse.frame_age_ns,
            pulse.frame_seq,
            list(pulse.streams),
        ),
    )
    return _parts(Kind.STATUS, header, ())


def encode_stats(
    stream: str,
    stats: Mapping[str, Scalar],
    seq: int,
    published_ns: int,
    wall_ns: int,
    *,
    run: str = "",
) -> Parts:
    """A `stats` message: a flat map of names to numbers, texts, booleans or None."""
    header = Header(
        v=VERSION,
        stream=stream,
        seq=seq,
        run=run,
        stamps=StampsHeader(published=published_ns, wall=wall_ns),
        stats=dict(stats),
    )
    return _parts(Kind.STATS, header, ())


def encode_topology(
    stream: str,
    topology: TopologyArrays,
    seq: int,
    published_ns: int,
    wall_ns: int,
    *,
    run: str = "",
) -> Parts:
    """A `topology` message; indices take the smallest unsigned type that holds them."""
    count = int(topology.texel.shape[0])
    arrays = [
        _array("triangles", _indices(topology.triangles)),
        _array("uv", topology.uv),
        _array("texel", _indices(topology.texel)),
        _array("canonical", topology.canonical),
        _array("landmarks", _indices(topology.landmarks)),
        _array("pose_weights", topology.pose_weights),
        _array("mirror", _indices(topology.mirror)),
    ]
    arrays += [_array(f"part:{name}", mask.view(np.uint8)) for name, mask in topology.parts.items()]
    header = Header(
        v=VERSION,
        stream=stream,
        seq=seq,
        run=run,
        stamps=StampsHeader(published=published_ns, wall=wall_ns),
        topology=TopologyHeader(
            name=topology.name,
            uv_size=UV_SIZE,
            vertices=count,
            licence=topology.licence,
            provenance=topology.provenance,
            blendshapes=list(BLENDSHAPES),
        ),
    )
    return _parts(Kind.TOPOLOGY, header, arrays)


def _parts(kind: Kind, header: Header, arrays: Iterable[Named]) -> Parts:
    parts: Parts = [_topic(header.stream, kind), b""]
    for described, array in arrays:
        header.arrays.append(described)
        parts.append(array.reshape(-1).view(np.uint8).data)
    parts[1] = _encoder.encode(header)
    return parts


@lru_cache(maxsize=1024)
def _topic(stream: str, kind: Kind) -> bytes:
    return topic(stream, kind)


def _frame_arrays(kind: Kind, result: FrameResult, mesh_format: MeshFormat) -> list[Named]:
    if kind is Kind.FACE:
        return []
    if kind is Kind.MESH:
        return [_vertices(face, mesh_format) for face in result.faces]
    if kind is Kind.TEXTURE:
        return [_array("texture", face.texture, face=face.id) for face in result.faces]
    if kind is Kind.DEPTH:
        return [_array("depth", result.depth)]
    if kind is Kind.IMAGE:
        return [_array("image", result.frame.image.rgb)]
    raise ValueError(f"{kind} is not about a frame")


def _vertices(face: Face, mesh_format: MeshFormat) -> Named:
    if mesh_format == "float32":
        return _array("vertices", face.vertices, face=face.id)
    steps, scale, offset = face.quantised_vertices
    header, array = _array("vertices", steps, face=face.id)
    header.scale, header.offset = scale.tolist(), offset.tolist()
    return header, array


def _array(name: str, array: AnyArray, face: int | None = None) -> Named:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return ArrayHeader(name, face, little.dtype.str.replace("=", "<"), list(little.shape)), little


def _indices(array: NDArray[np.int32]) -> AnyArray:
    top = int(array.max()) if array.size else 0
    return array.astype(np.uint16 if top < 1 << 16 else np.uint32)


def _face(
    face: Face, visible: bool, blendshapes: bool, gaze: bool, camera: Camera | None
) -> FaceHeader:
    roi = face.roi
    return FaceHeader(
        id=int(face.id),
        score=float(face.score),
        box=face.box_xyxy.tolist(),
        roi=RoiHeader(float(roi.cx), float(roi.cy), float(roi.side), float(roi.roll)),
        pose=_pose(face.pose),
        landmarks=face.landmarks.tolist(),
        visible=face.visible.tolist() if visible else None,
        blendshapes=_blendshapes(face) if blendshapes else UNSET,
        gaze=_gaze(face.gaze) if gaze else UNSET,
        metric=UNSET if camera is None else _metric(face.metric_pose(camera)),
    )


def _blendshapes(face: Face) -> list[float] | None:
    found = face.blendshapes
    return None if found is None else found.tolist()


def _gaze(gaze: Gaze | None) -> GazeHeader | None:
    return None if gaze is None else GazeHeader(_eye(gaze.right), _eye(gaze.left))


def _eye(eye: Eye) -> EyeHeader:
    return EyeHeader(
        direction=eye.direction.tolist(),
        yaw=float(eye.yaw),
        pitch=float(eye.pitch),
        openness=float(eye.openness),
    )


def _metric(pose: MetricPose) -> MetricHeader:
    return MetricHeader(
        rotation=pose.rotation.tolist(),
        translation=pose.translation_mm.tolist(),
        eyes=pose.eyes_mm.tolist(),
        mm_per_unit=float(pose.mm_per_unit),
        yaw=float(pose.yaw),
        pitch=float(pose.pitch),
        roll=float(pose.roll),
        quaternion=pose.quaternion.tolist(),
        error=float(pose.error_px),
    )


def _pose(pose: Pose) -> PoseHeader:
    return PoseHeader(
        rotation=pose.rotation.tolist(),
        scale=float(pose.scale),
        translation=pose.translation.tolist(),
        yaw=float(pose.yaw),
        pitch=float(pose.pitch),
        roll=float(pose.roll),
        quaternion=pose.quaternion.tolist(),
    )
