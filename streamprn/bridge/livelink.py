"""Live Link Face, the app for Unreal Engine: one datagram a frame, UDP port 11111.

Big-endian: version (uint8, 6), device and subject (int32 length and UTF-8 each), frame number
(int32), part of a frame (float32), frames a second (int32 numerator and denominator), the number
of values (uint8, 61) and these (float32): ARKit's 52 in the order of `EARFaceBlendShape`, then yaw,
pitch and roll of the head, the left and the right eye, as parts of 180 degrees.
`AppleARKitLiveLinkSource.cpp` of Unreal Engine writes and reads it.
"""

from __future__ import annotations

import struct
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamprn.bridge import turns
from streamprn.bridge.output import UdpSender, coefficients

if TYPE_CHECKING:
    from streamprn.wire import Face, FaceMessage

__all__ = ["ORDER", "PORT", "LiveLink"]

PORT = 11111

_VERSION = 6
_FPS = 60
_DAY_S = 86_400

#: The expressions in Unreal's order.
ORDER = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft",
    "eyeSquintLeft", "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight",
    "eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft",
    "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight",
    "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight", "mouthDimpleLeft",
    "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight",
    "tongueOut",
)  # fmt: skip


class LiveLink:
    """A device of Live Link Face. It has no word for a lost face: then nothing is sent.

    Args:
        host: of Unreal Engine.
        port: UDP.
        subject: the name of the device in Unreal; None takes the stream's.

    Raises:
        InputError: there is no such host.
    """

    newest = True

    def __init__(self, host: str, port: int, subject: str | None = None) -> None:
        self._sender = UdpSender(host, port)
        self._subject = subject
        self._device = str(uuid.uuid4()).upper()
        self.target = f"Live Link Face at {host}:{port}"

    @property
    def error(self) -> str:
        """See `Output`."""
        return self._sender.error

    def send(self, message: FaceMessage, faces: Sequence[Face]) -> None:
        """See `Output`."""
        if faces:
            subject = self._subject or message.stream
            moment_s = message.stamps.wall / 1e9
            self._sender.send(_packet(faces[0], self._device, subject, moment_s))

    def idle(self) -> None:
        """See `Output`; the head stays."""

    def close(self) -> None:
        """See `Output`."""
        self._sender.close()


def _packet(face: Face, device: str, subject: str, moment_s: float) -> bytes:
    """One datagram; `moment_s` is Unix time, from which Unreal takes the time of the day."""
    shapes = coefficients(face)
    right, left = turns.eyes(face)
    values = [shapes[name] for name in ORDER]
    for turn in (turns.head(face), left, right):
        values += turns.unreal_rotator(turn)
    local_s = (moment_s + time.localtime(moment_s).tm_gmtoff) % _DAY_S
    frame, part = divmod(local_s * _FPS, 1.0)
    return b"".join(
        (
            struct.pack(">B", _VERSION),
            _text(device),
            _text(subject),
            struct.pack(">ifii", int(frame), part, _FPS, 1),
            struct.pack(f">B{len(values)}f", len(values), *values),
        )
    )


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">i", len(data)) + data
