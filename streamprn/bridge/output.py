"""Where the faces of a bridge go."""

from __future__ import annotations

import math
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from streamprn.errors import InputError
from streamprn.records import BLENDSHAPES

if TYPE_CHECKING:
    from streamprn.wire import Face, FaceMessage

__all__ = ["Output", "UdpSender", "coefficients", "resolve", "split_address"]


class Output(Protocol):
    """What takes the frames of one stream, and passes them on in another program's language.

    Attributes:
        target: where to, for the user.
        newest: whether only the newest frame matters, as for an avatar.
    """

    target: str
    newest: bool

    @property
    def error(self) -> str:
        """Why the last thing could not be sent, "" where it could."""

    def send(self, message: FaceMessage, faces: Sequence[Face]) -> None:
        """Pass on one frame, of which these faces were asked for; perhaps none."""

    def idle(self) -> None:
        """No frame came for a while: called once a second, so that the other side can be told."""

    def close(self) -> None:
        """Say goodbye."""


class UdpSender:
    """Datagrams to one address; what cannot be sent is dropped, and `error` says why.

    Raises:
        InputError: the name of the host is not known.
    """

    def __init__(self, host: str, port: int) -> None:
        family, self._address = resolve(host, port)
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self.error = ""

    def send(self, *datagrams: bytes) -> None:
        """Send, or drop."""
        try:
            for datagram in datagrams:
                self._socket.sendto(datagram, self._address)
        except OSError as error:
            self.error = str(error.strerror or error)
        else:
            self.error = ""

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def resolve(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """The family and address of a host for `sendto`.

    Raises:
        InputError: its name is not known.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", "") or "it cannot be one"
        raise InputError(f"{host}: no such host ({why})", hint="--to HOST:PORT") from error
    return family, address


def split_address(text: str | None, port: int) -> tuple[str, int]:
    """Host and port of `HOST`, `HOST:PORT` or `[IPV6]:PORT`; without any this machine.

    Raises:
        InputError: it is none of these.
    """
    if text is None:
        return "127.0.0.1", port
    host, colon, given = text.rpartition(":")
    if not colon or (text.count(":") > 1 and not host.startswith("[")):
        host, given = text, str(port)
    host = host.strip("[]")
    if not host or not (given.isascii() and given.isdigit() and 0 < int(given[:9]) < 65_536):
        raise InputError(
            f"{text!r} is no address to send to", hint=f"write it like 127.0.0.1:{port}"
        )
    return host, int(given)


def coefficients(face: Face) -> dict[str, float]:
    """The 52 expressions of a face by ARKit's names, 0..1; 0 where the engine knows none."""
    found = face.blendshapes
    values = [0.0] * len(BLENDSHAPES) if found is None else found.tolist()
    return {
        name: min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0
        for name, value in zip(BLENDSHAPES, values, strict=True)
    }
