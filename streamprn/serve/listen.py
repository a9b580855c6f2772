"""Where the control interface listens, and the token that it asks for."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from pathlib import Path

from streamprn.errors import InputError, PublishError
from streamprn.private import read_private

__all__ = ["Listener", "listen", "read_token"]

_HIGHEST_PORT = 65_535
_BACKLOG = 64
_TOKEN = re.compile(r"[\x21-\x7e]{16,512}")
_MAKE_ONE = "make one: (umask 077; openssl rand -hex 32 > FILE)"


class Listener:
    """A bound socket.

    Attributes:
        socket: to accept connections from.
        url: where clients connect, with the real port.
        local: whether only this machine can reach it.
    """

    def __init__(self, bound: socket.socket) -> None:
        self.socket = bound
        host, port = bound.getsockname()[:2]
        self.local = ipaddress.ip_address(host.partition("%")[0]).is_loopback
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{port}"

    def close(self) -> None:
        """Stop listening."""
        self.socket.close()


def listen(bind: str, token: str | None) -> Listener:
    """Bind an address.

    Args:
        bind: HOST:PORT or [IPV6]:PORT; `*` is every address of this machine.
        token: that requests must bring, or None.

    Raises:
        InputError: other machines reach it, and no token is asked for.
        PublishError: it is malformed, in use, or not of this machine.
    """
    host, _, port = bind.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port) <= _HIGHEST_PORT):
        raise PublishError(f"http.bind: {bind}: expected HOST:PORT", hint="e.g. 127.0.0.1:8088")
    host = "0.0.0.0" if host == "*" else host.strip("[]")
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise PublishError(
            f"http.bind: {bind}: {error.strerror or error}", hint="name an address of this machine"
        ) from error
    if token is None and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise InputError(
            f"http.bind: other machines reach {bind}, and it asks for no token",
            hint=f"bind to 127.0.0.1, or give --http-token FILE ({_MAKE_ONE})",
        )
    with contextlib.ExitStack() as stack:
        bound = stack.enter_context(socket.socket(family, kind))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
            bound.listen(_BACKLOG)
        except OSError as error:
            raise PublishError(
                f"http.bind: {bind}: {error.strerror or error}",
                hint="is another streamprn running? port 0 takes any free port",
            ) from error
        stack.pop_all()
    return Listener(bound)


def read_token(path: Path) -> str:
    """The token in a file that nobody but its owner can read.

    Raises:
        InputError: the file is missing, open to others, or holds no usable token.
    """
    token = read_private(path, "token", _MAKE_ONE).strip()
    if not _TOKEN.fullmatch(token):
        raise InputError(
            f"{path}: holds no token: expected 16 to 512 letters, digits and signs on one line",
            hint=_MAKE_ONE,
        )
    return token
