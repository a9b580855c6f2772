"""iFacialMocap: one text a datagram, UDP port 49983 (https://www.ifacialmocap.com/for-developer).

`name-value|...|=head#x,y,z,px,py,pz|rightEye#x,y,z|leftEye#x,y,z|`: expressions from 0 to 100,
names that end in `_L` and `_R`, angles in degrees in ARKit's axes, positions in metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamprn.bridge import turns
from streamprn.bridge.output import UdpSender, coefficients

if TYPE_CHECKING:
    from streamprn.wire import Face, FaceMessage

__all__ = ["PORT", "IFacialMocap"]

PORT = 49983


class IFacialMocap:
    """What the app of this name sends. It has no word for a lost face: then nothing is sent.

    Args:
        host: of the program that reads.
        port: UDP.

    Raises:
        InputError: there is no such host.
    """

    newest = True

    def __init__(self, host: str, port: int) -> None:
        self._sender = UdpSender(host, port)
        self.target = f"iFacialMocap at {host}:{port}"

    @property
    def error(self) -> str:
        """See `Output`."""
        return self._sender.error

    def send(self, message: FaceMessage, faces: Sequence[Face]) -> None:
        """See `Output`."""
        del message
        if faces:
            self._sender.send(_text(faces[0]).encode("ascii"))

    def idle(self) -> None:
        """See `Output`; the head stays."""

    def close(self) -> None:
        """See `Output`."""
        self._sender.close()


def _text(face: Face) -> str:
    shapes = [f"{_name(name)}-{round(100 * v)}" for name, v in coefficients(face).items()]
    right, left = turns.eyes(face)
    # The distance of the camera is not known: the head turns where it is.
    bones = [
        f"=head#{_angles(turns.head(face))},0,0,0",
        f"rightEye#{_angles(right)}",
        f"leftEye#{_angles(left)}",
    ]
    return "|".join([*shapes, *bones]) + "|"


def _angles(turn: turns.Quaternion) -> str:
    return ",".join(f"{angle:.4f}" for angle in turns.arkit_euler(turn))


def _name(name: str) -> str:
    """`mouthSmileLeft` as `mouthSmile_L`; `jawLeft` and `mouthLeft` are directions, no sides."""
    if name in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
        return name
    for side in ("Left", "Right"):
        if name.endswith(side):
            return f"{name.removesuffix(side)}_{side[0]}"
    return name
