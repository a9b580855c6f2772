"""Messages as plain data: what `watch --json` prints, one JSON object a line."""

from __future__ import annotations

import math
from typing import Any

from streamprn.camera import MetricPose
from streamprn.records import BLENDSHAPES, Eye, Gaze
from streamprn.wire import (
    DepthMessage,
    Face,
    FrameMessage,
    ImageMessage,
    MeshMessage,
    Message,
    StatsMessage,
    StatusMessage,
    TextureMessage,
    TopologyMessage,
)

__all__ = ["age_at_arrival", "as_json", "face_json", "finite", "gaze_json"]


def as_json(message: Message, *, local: bool, gaps: int = 0) -> dict[str, Any]:
    """A message as plain data for one JSON line: arrays by shape, landmarks and poses in full.

    Numbers that JSON cannot say (NaN, infinity) become null.
    """
    line: dict[str, Any] = {
        "stream": message.stream,
        "kind": message.kind.value,
        "seq": message.seq,
        "run": message.run,
        "age_ms": _milliseconds(age_at_arrival(message, local)),
        "gaps": gaps,
        "stamps_ns": {name: getattr(message.stamps, name) for name in message.stamps.__slots__},
    }
    if isinstance(message, FrameMessage):
        line["pts_ns"] = message.pts_ns
        line["frame_wh"] = list(message.frame_size_wh)
        line["spans_ms"] = {name: _milliseconds(ns) for name, ns in message.spans_ns.items()}
        line["faces"] = [face_json(face) for face in message.faces]
    line |= _details(message)
    cleaned: dict[str, Any] = finite(line)
    return cleaned


def age_at_arrival(message: Message, local: bool) -> int | None:
    """Nanoseconds from capture to arrival; None where the message tells no capture."""
    stamps = message.stamps
    if not stamps.captured:
        return None
    if local:
        return message.received_ns - stamps.captured
    return message.received_wall_ns - stamps.wall


def _details(message: Message) -> dict[str, Any]:
    details: dict[str, Any] = {}
    match message:
        case MeshMessage():
            details["vertices"] = {str(id_): len(xyz) for id_, xyz in message.vertices.items()}
        case DepthMessage(depth=depth):
            details["depth"] = None if depth is None else list(depth.shape)
        case TextureMessage():
            details["textures"] = {
                str(id_): list(rgb.shape) for id_, rgb in message.textures.items()
            }
        case ImageMessage(image=image):
            details["image"] = list(image.shape)
        case TopologyMessage():
            details["topology"] = message.name
            details["vertices"] = len(message.texel)
            details["triangles"] = len(message.triangles)
            details["licence"] = message.licence
        case StatusMessage():
            details["state"] = str(message.state)
            details["cause"] = message.cause
            details["attempt"] = message.attempt
            details["frame_age_ms"] = _milliseconds(message.frame_age_ns)
            details["frame_seq"] = message.frame_seq
        case StatsMessage():
            details["stats"] = dict(message.stats)
    return details


def face_json(face: Face) -> dict[str, Any]:
    """A face as plain data, where numbers may be NaN."""
    pose = face.pose
    return {
        "id": face.id,
        "score": _rounded(face.score, 4),
        "box_xyxy": [_rounded(value, 2) for value in face.box_xyxy.tolist()],
        "yaw": _rounded(pose.yaw, 3),
        "pitch": _rounded(pose.pitch, 3),
        "roll": _rounded(pose.roll, 3),
        "scale": pose.scale,
        "translation": pose.translation.tolist(),
        "quaternion_wxyz": pose.quaternion.tolist(),
        "landmarks_xyz": [[_rounded(value, 2) for value in xyz] for xyz in face.landmarks.tolist()],
        "blendshapes": _blendshapes_json(face),
        "metric_pose": _metric_json(face.metric_pose),
        "gaze": gaze_json(face.gaze),
    }


def _metric_json(pose: MetricPose | None) -> dict[str, Any] | None:
    if pose is None:
        return None
    return {
        "eyes_mm": [_rounded(value, 1) for value in pose.eyes_mm.tolist()],
        "yaw": _rounded(pose.yaw, 3),
        "pitch": _rounded(pose.pitch, 3),
        "roll": _rounded(pose.roll, 3),
        "translation_mm": pose.translation_mm.tolist(),
        "quaternion_wxyz": pose.quaternion.tolist(),
        "mm_per_unit": pose.mm_per_unit,
        "error_px": _rounded(pose.error_px, 3),
    }


def gaze_json(gaze: Gaze | None) -> dict[str, Any] | None:
    """Where the eyes look, as plain data; see `streamprn.records.Gaze`."""
    return None if gaze is None else {"right": _eye_json(gaze.right), "left": _eye_json(gaze.left)}


def _eye_json(eye: Eye) -> dict[str, Any]:
    return {
        "direction": [_rounded(value, 4) for value in eye.direction.tolist()],
        "yaw": _rounded(eye.yaw, 2),
        "pitch": _rounded(eye.pitch, 2),
        "openness": _rounded(eye.openness, 4),
    }


def _blendshapes_json(face: Face) -> dict[str, float] | None:
    if face.blendshapes is None:
        return None
    values = [_rounded(value, 4) for value in face.blendshapes.tolist()]
    return dict(zip(BLENDSHAPES, values, strict=True))


def _rounded(value: float, digits: int) -> float:
    return round(value, digits) if math.isfinite(value) else value


def _milliseconds(ns: int | None) -> float | None:
    return None if ns is None else round(ns / 1e6, 3)


def finite(value: Any) -> Any:
    """The same with None for numbers that JSON cannot say."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return value
