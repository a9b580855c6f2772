"""Turns of the head and of the eyes, in the axes of the programs that read them.

Ours are those of `streamprn.records.Pose`: right-handed, x right in the picture (to the subject's
left), y up, z towards the camera, out of the face. ARKit's face anchors have the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamprn.records import Eye
    from streamprn.wire import Face

__all__ = ["Quaternion", "arkit_euler", "eyes", "head", "unity", "unreal_rotator"]

#: w, x, y, z of a unit quaternion in our axes.
Quaternion = tuple[float, float, float, float]

STILL: Quaternion = (1.0, 0.0, 0.0, 0.0)


def head(face: Face) -> Quaternion:
    """The turn of the head out of looking straight into the camera."""
    w, x, y, z = face.pose.quaternion.tolist()
    return (w, x, y, z)


def eyes(face: Face) -> tuple[Quaternion, Quaternion]:
    """The turns of the subject's right and left eye within the head, without roll.

    An engine that finds no irises leaves them still, as do closed eyes without a direction.
    """
    if face.gaze is None:
        return STILL, STILL
    return _eye(face, face.gaze.right), _eye(face, face.gaze.left)


def _eye(face: Face, eye: Eye) -> Quaternion:
    x, y, z = (face.pose.rotation.T @ eye.direction).tolist()
    if not math.isfinite(x + y + z):
        return STILL
    # Ry(yaw) Rx(pitch) has the third column (sin yaw cos pitch, -sin pitch, cos yaw cos pitch).
    yaw, pitch = math.atan2(x, z) / 2, -math.asin(max(-1.0, min(1.0, y))) / 2
    return (
        math.cos(yaw) * math.cos(pitch),
        math.cos(yaw) * math.sin(pitch),
        math.sin(yaw) * math.cos(pitch),
        -math.sin(yaw) * math.sin(pitch),
    )


def unity(turn: Quaternion) -> tuple[float, float, float, float]:
    """x, y, z, w in Unity's axes: left-handed, y up, z out of the face, x to the subject's right.

    Ours with x negated, which negates the y and z of a quaternion.
    """
    w, x, y, z = turn
    return (x, -y, -z, w)


def arkit_euler(turn: Quaternion) -> tuple[float, float, float]:
    """Degrees about ARKit's x, y and z: the turn is Ry(y) Rx(x) Rz(z), the order of Unity."""
    w, x, y, z = turn
    sine = max(-1.0, min(1.0, 2 * (w * x - y * z)))
    return (
        math.degrees(math.asin(sine)),
        math.degrees(math.atan2(2 * (x * z + w * y), 1 - 2 * (x * x + y * y))),
        math.degrees(math.atan2(2 * (x * y + w * z), 1 - 2 * (x * x + z * z))),
    )


def unreal_rotator(turn: Quaternion) -> tuple[float, float, float]:
    """Yaw, pitch and roll of Unreal's `FRotator`, as parts of 180 degrees.

    Unreal takes ARKit's quaternion as (-z, x, y, -w) (`FAppleARKitConversion::ToFTransform`), its
    rotator as `FQuat::Rotator` does, and divides by 180 (`ToBlendShapeMap`).
    """
    w, x, y, z = turn
    x, y, z, w = -z, x, y, -w
    yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    pitch = math.asin(max(-1.0, min(1.0, 2 * (z * x - w * y))))
    roll = math.atan2(-2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    return (yaw / math.pi, pitch / math.pi, roll / math.pi)
