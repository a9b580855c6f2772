"""Peers that send a publisher more than subscriptions.

libzmq keeps the parts of a message until the last one arrives, and has no bound for their number:
one peer that sends parts for ever would fill the publisher's memory, and no message of it is ever
seen. What each connection brought can be asked of the system.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
import struct
import time
from typing import TYPE_CHECKING, Final

from streamprn.memory import give_back, process_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EVERY_S", "InboundWatch"]

#: What a peer may send, and how much more in each second: 4,096 subscriptions at once, and 256.
BURST_BYTES: Final = 2 << 20
BYTES_PER_SECOND: Final = 128 << 10
#: Connections are looked at where the process has grown by so much since the last look.
LOOK_AFTER_BYTES: Final = 16 << 20
#: How often the size of the process is looked at.
EVERY_S: Final = 0.05
_LOG_EVERY_S: Final = 10.0
#: In Linux' `struct tcp_info`, since 4.1: `tcpi_bytes_received`.
_RECEIVED_AT: Final = 128

_log = logging.getLogger(__name__)


class InboundWatch:
    """Disconnects peers of a bound TCP port that send too much; used by one thread.

    Args:
        endpoint: that is bound; of other transports than TCP nothing is seen.
    """

    def __init__(self, endpoint: str) -> None:
        port = endpoint.rpartition(":")[2]
        self._port = int(port) if endpoint.startswith("tcp://") and port.isdigit() else 0
        self._least = process_bytes()
        self._since: dict[int, tuple[int, float]] = {}
        self._next_s = self._next_log_s = 0.0
        self._freed_s = 0.0
        self.disconnected = 0

    def check(self) -> None:
        """Look, where it is time to; takes some microseconds otherwise."""
        now = time.monotonic()
        if not self._port or now < self._next_s:
            return
        self._next_s = now + EVERY_S
        if self._freed_s and now >= self._freed_s:
            self._freed_s = 0.0
            give_back()
        size = process_bytes()
        self._least = min(self._least, size) or size
        if size - self._least >= LOOK_AFTER_BYTES:
            self._least = size
            self._look(now)

    def _look(self, now: float) -> None:
        before, self._since = self._since, {}
        for descriptor, inode in _sockets():
            with contextlib.suppress(OSError), _twin(descriptor) as peer:
                if not _is_of(peer, self._port):
                    continue
                known, since = before.get(descriptor, (inode, now))
                since = since if known == inode else now
                self._since[descriptor] = inode, since
                if _received(peer) > BURST_BYTES + BYTES_PER_SECOND * (now - since):
                    self._disconnect(peer, now)

    def _disconnect(self, peer: socket.socket, now: float) -> None:
        name = ":".join(map(str, peer.getpeername()[:2]))
        peer.shutdown(socket.SHUT_RDWR)
        self.disconnected += 1
        # libzmq lets go of what came when it notices.
        self._freed_s = now + 4 * EVERY_S
        if now >= self._next_log_s:
            self._next_log_s = now + _LOG_EVERY_S
            _log.warning(
                "%s sends the publisher what is no subscription and does not end: disconnected"
                " (%d connections so far)",
                name,
                self.disconnected,
            )


def _sockets() -> Iterator[tuple[int, int]]:
    """The descriptors of this process that are sockets, and what tells one from a later one."""
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            about = os.fstat(descriptor)
            if stat.S_ISSOCK(about.st_mode):
                yield descriptor, about.st_ino


def _twin(descriptor: int) -> socket.socket:
    """Another descriptor of a socket, which ours may close.

    Raises:
        OSError: it is closed meanwhile.
    """
    twin = os.dup(descriptor)
    try:
        return socket.socket(fileno=twin)
    except OSError:
        os.close(twin)
        raise


def _is_of(peer: socket.socket, port: int) -> bool:
    """Whether it is a connection that was accepted at a port of this process."""
    if peer.family not in (socket.AF_INET, socket.AF_INET6) or peer.type != socket.SOCK_STREAM:
        return False
    peer.getpeername()
    return bool(peer.getsockname()[1] == port)


def _received(peer: socket.socket) -> int:
    """Bytes that came through a connection; 0 where the system does not tell."""
    if not hasattr(socket, "TCP_INFO"):
        return 0
    facts = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    if len(facts) < _RECEIVED_AT + 8:
        return 0
    return int(struct.unpack_from("=Q", facts, _RECEIVED_AT)[0])
