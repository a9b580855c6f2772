"""A message that does not end: libzmq keeps its parts until the last one arrives, without a bound.

A reader sees none of them. It sees that no whole message arrives, not even the heartbeat that a
publisher sends every second on the same connection, and that its process grows meanwhile. Where the
growth has another cause, the publisher is silent, and connecting to it again costs nothing.
"""

from __future__ import annotations

import time
from typing import Final

from streamprn.memory import give_back, process_bytes

__all__ = ["EVERY_MS", "MAX_UNFINISHED_BYTES", "UnfinishedWatch"]

#: By how much a process may grow while no whole message arrives: a part may have as much.
MAX_UNFINISHED_BYTES: Final = 256 << 20
#: How often the size of the process is looked at.
EVERY_MS: Final = 50


class UnfinishedWatch:
    """Tells a reader when to leave a connection; used while it waits for a message."""

    def __init__(self) -> None:
        self._least = 0
        self._next_s = 0.0
        self._freed = False

    def note_message(self) -> None:
        """A whole message arrived."""
        self._least = 0

    def exceeded(self) -> bool:
        """Whether the process has grown by too much since; looks now and then."""
        now = time.monotonic()
        if now < self._next_s:
            return False
        self._next_s = now + EVERY_MS / 1e3
        if self._freed:
            self._freed = False
            give_back()
        size = process_bytes()
        if not self._least or size < self._least:
            self._least = size
        return size - self._least > MAX_UNFINISHED_BYTES

    def note_reconnection(self) -> None:
        """The connection was left; what it took is free soon."""
        self._freed = True
        self._least = 0
        # libzmq lets go of it in a thread of its own.
        self._next_s = time.monotonic() + 4 * EVERY_MS / 1e3
