"""What late joiners are sent: the last state and the topology of each stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import zmq

from streamprn.records import Kind

if TYPE_CHECKING:
    from streamprn.wire.outlet import Outlet, SentParts

__all__ = ["GREETED", "Greetings"]

#: The kinds that are kept for who joins later.
GREETED = frozenset({Kind.STATUS, Kind.TOPOLOGY})
#: Between two greetings of one kind: they go to all who asked for it.
_PAUSE_NS = 20_000_000
#: How long a greeting waits for room in a subscriber's queue.
_PATIENCE_NS = 1_000_000_000


class Greetings:
    """Greetings that are due. One thread at a time.

    Args:
        outlet: they go out here.
        find: what to send of a stream and kind now; None where there is nothing, or nobody asks.
    """

    def __init__(self, outlet: Outlet, find: Callable[[str, Kind], SentParts | None]) -> None:
        self._outlet = outlet
        self._find = find
        self._due: dict[tuple[str, Kind], int] = {}
        self._sent: dict[tuple[str, Kind], int] = {}

    def __bool__(self) -> bool:
        return bool(self._due)

    def ask(self, stream: str, kind: Kind) -> None:
        """Greet soon."""
        self._due.setdefault((stream, kind), time.monotonic_ns() + _PATIENCE_NS)

    def forget(self, stream: str) -> None:
        """Let go of a stream."""
        for numbers in (self._due, self._sent):
            for kind in GREETED:
                numbers.pop((stream, kind), None)

    def send(self) -> None:
        """Send what late joiners wait for, as far as their queues have room."""
        for (stream, kind), deadline in list(self._due.items()):
            now = time.monotonic_ns()
            if now - self._sent.get((stream, kind), 0) < _PAUSE_NS:
                continue
            parts = self._find(stream, kind)
            if parts is not None and not self._outlet.attempt(parts, zmq.DONTWAIT):
                if now < deadline:
                    return
                self._outlet.counted.overruns += 1
                self._outlet.send_past_the_full(parts)
            del self._due[stream, kind]
            self._sent[stream, kind] = now
