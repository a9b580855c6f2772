"""A peer that speaks ZeroMQ's protocol (ZMTP 3.0, NULL) by hand, and so can break its rules."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


def greet(peer: socket.socket, kind: bytes) -> None:
    """Say who we are, a socket of a kind, and hear who the other is."""
    peer.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
    got = b""
    while len(got) < 64:
        got += peer.recv(64 - len(got))
    body = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    peer.sendall(b"\x04" + bytes([len(body)]) + body)
    peer.recv(4096)


def part(data: bytes) -> bytes:
    """A part of a message that goes on."""
    if len(data) < 256:
        return b"\x01" + bytes([len(data)]) + data
    return b"\x03" + len(data).to_bytes(8, "big") + data


def send_for_ever(
    peer: socket.socket, size: int, stop: threading.Event, most: int, seconds: float
) -> int:
    """Send parts of one message until told to stop, disconnected, or at a bound.

    Args:
        peer: greeted.
        size: of a part, bytes.
        stop: ends it.
        most: bytes to send.
        seconds: to send for.

    Returns:
        Bytes sent.
    """
    peer.settimeout(1.0)
    block, sent, until = (
        part(b"x" * size) * max(1, 65_536 // (size + 2)),
        0,
        time.monotonic() + seconds,
    )
    with contextlib.suppress(OSError):
        while sent < most and not stop.is_set() and time.monotonic() < until:
            peer.sendall(block)
            sent += len(block)
    return sent
