"""What subscribers ask for, within bounds: how much is kept, and how fast one peer may ask."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import time
from collections import OrderedDict
from dataclasses import dataclass

import zmq

from streamprn.records import Kind
from streamprn.wire.topics import MAX_TOPIC_BYTES, kinds_wanted

__all__ = ["PeerBudgets", "Subscriptions"]

#: Different prefixes that are kept; a pipeline of 256 streams has 2,048 topics.
MAX_PREFIXES = 65_536
#: Of further ones, those whose end is waited for: beyond, everything counts as wanted for good.
_MAX_EXCESS = 262_144
#: What one connection may ask for at once, and in each second after.
BURST = 4096
PER_SECOND = 256
_MAX_PEERS = 1024
_LOG_EVERY_S = 10.0

_KINDS = tuple(kind.value.encode("ascii") for kind in Kind)
_STREAM = re.compile(rb"[A-Za-z0-9_.-]{0,64}")

_log = logging.getLogger(__name__)


class Subscriptions:
    """The prefixes that somebody subscribes to.

    Where more come than are kept, everything counts as wanted until the excess has been taken back:
    a subscriber may get what costs more to make, and never less than it asked for.

    Args:
        limit: different prefixes to keep.
    """

    def __init__(self, limit: int = MAX_PREFIXES) -> None:
        self._limit = limit
        self._prefixes: set[bytes] = set()
        # Hashes: a prefix is reported each time somebody asks for it, and once when nobody does.
        self._excess: set[int] = set()
        self._lost = False

    def __len__(self) -> int:
        return len(self._prefixes)

    def __contains__(self, prefix: bytes) -> bool:
        return prefix in self._prefixes

    @property
    def full(self) -> bool:
        """Whether more was asked for than is kept."""
        return bool(self._excess) or self._lost

    def add(self, prefix: bytes) -> bool:
        """Take in a prefix; whether it can match the topic of some stream."""
        if not _may_match(prefix):
            return False
        if prefix not in self._prefixes:
            if len(self._prefixes) >= self._limit:
                self._note_excess(prefix)
            else:
                self._prefixes.add(prefix)
        return True

    def discard(self, prefix: bytes) -> None:
        """Let go of a prefix that nobody asks for any more."""
        if prefix in self._prefixes:
            self._prefixes.remove(prefix)
        elif self._excess:
            self._excess.discard(hash(prefix))

    def _note_excess(self, prefix: bytes) -> None:
        if len(self._excess) < _MAX_EXCESS:
            self._excess.add(hash(prefix))
        else:  # what is not known cannot be taken back
            self._lost = True

    def kinds(self, stream: str) -> frozenset[Kind]:
        """The kinds of a stream that somebody asks for; takes the same time however many do."""
        if self.full:
            return frozenset(Kind)
        return kinds_wanted(stream, self._prefixes)


def _may_match(prefix: bytes) -> bool:
    if len(prefix) > MAX_TOPIC_BYTES:
        return False
    stream, slash, kind = prefix.partition(b"/")
    if not _STREAM.fullmatch(stream):
        return False
    return not slash or (stream != b"" and any(name.startswith(kind) for name in _KINDS))


@dataclass(slots=True)
class _Peer:
    inode: int
    left: float
    at: float


class PeerBudgets:
    """Disconnects a peer that asks too fast: each request costs time that all subscribers share.

    A connection has room for a burst, and fills up again over time. The peer may come back.
    """

    def __init__(self, burst: int = BURST, per_second: float = PER_SECOND) -> None:
        self._burst = burst
        self._per_second = per_second
        self._peers: OrderedDict[int, _Peer] = OrderedDict()
        self._next_log_s = 0.0
        self.disconnected = 0

    def spend_message(self, message: zmq.Frame) -> None:
        """Take note of a request; one that came from within this process costs nothing."""
        with contextlib.suppress(zmq.ZMQError):
            self.spend(int(message.get(zmq.SRCFD)))

    def spend(self, descriptor: int) -> None:
        """Take note of a request that came through a socket; disconnects it beyond its budget."""
        now = time.monotonic()
        peer = self._peers.get(descriptor)
        if peer is None:
            peer = self._peers[descriptor] = _Peer(_inode(descriptor), self._burst, now)
            if len(self._peers) > _MAX_PEERS:
                self._peers.popitem(last=False)
        peer.left = min(self._burst, peer.left + (now - peer.at) * self._per_second) - 1
        peer.at = now
        if peer.left < 0:
            del self._peers[descriptor]
            # The number may belong to another connection by now: that one begins anew.
            if peer.inode and peer.inode == _inode(descriptor):
                self._disconnect(descriptor, now)

    def _disconnect(self, descriptor: int, now: float) -> None:
        name = "a peer"
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as twin:
            found = twin.getpeername()
            if isinstance(found, tuple):
                name = f"{found[0]}:{found[1]}"
            twin.shutdown(socket.SHUT_RDWR)
            self.disconnected += 1
        if now >= self._next_log_s:
            self._next_log_s = now + _LOG_EVERY_S
            _log.warning(
                "%s floods the publisher with subscriptions: disconnected (%d connections so far)",
                name,
                self.disconnected,
            )


def _inode(descriptor: int) -> int:
    """What tells two sockets of the same number apart; 0 where it is closed."""
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0
