"""A bounded queue between two threads, with its statistics."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Channel", "ChannelStatistics"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What a channel holds and has seen.

    Attributes:
        waiting: items held now.
        capacity: items held at most.
        accepted: items ever put in, dropped ones included.
        dropped: items that a newer one replaced before anybody took them.
        oldest_age_ns: how long the oldest item held has waited; 0 where there is none.
    """

    waiting: int
    capacity: int
    accepted: int
    dropped: int
    oldest_age_ns: int


class Channel(Generic[T]):
    """Hands items from one thread to another, a bounded number at a time.

    With `newest` a full channel drops its oldest item for the new one and counts it: right for a
    live source, whose old frames are worth nothing. Without it a full channel makes the writer
    wait, and nothing is lost: right for a file.

    Nobody polls: whoever waits is woken by an item, by room, or by `close`. A reader of several
    channels gives all of them one `ready` condition and waits for that.

    Args:
        capacity: items held at most, at least 1.
        newest: drop the oldest item instead of making the writer wait.
        ready: notified after every `put`, and by `close`.
    """

    def __init__(
        self, capacity: int, *, newest: bool = False, ready: threading.Condition | None = None
    ) -> None:
        if capacity < 1:
            raise ValueError(f"a channel holds at least one item, got capacity={capacity}")
        self.capacity = capacity
        self.newest = newest
        self._ready = ready
        self._items: deque[tuple[int, T]] = deque()
        # Of its own: a writer must never hold `ready` while it waits for room.
        self._changed = threading.Condition(threading.Lock())
        self._closed = False
        self._dropped = 0
        self._accepted = 0

    def put(self, item: T) -> bool:
        """Hand over an item; wait for room unless the channel keeps the newest only.

        Returns:
            Whether it was accepted; False once the channel is closed.
        """
        with self._changed:
            while not self._closed and len(self._items) >= self.capacity:
                if self.newest:
                    self._items.popleft()
                    self._dropped += 1
                else:
                    self._changed.wait()
            if self._closed:
                return False
            self._items.append((time.monotonic_ns(), item))
            self._accepted += 1
            self._changed.notify_all()
        self._tell_ready()
        return True

    def take(self) -> T | None:
        """The oldest item held, or None where there is none now; never waits."""
        with self._changed:
            return self._pop()

    def receive(self) -> T | None:
        """Wait for an item; None once the channel is closed and empty."""
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            return self._pop()

    def __iter__(self) -> Iterator[T]:
        """Receive until the channel is closed and empty."""
        while (item := self.receive()) is not None:
            yield item

    def _pop(self) -> T | None:
        if not self._items:
            return None
        _, item = self._items.popleft()
        self._changed.notify_all()
        return item

    def close(self) -> None:
        """Accept no more items; those held can still be taken. Wakes everybody who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._tell_ready()

    def clear(self) -> None:
        """Let go of the items held, without counting them."""
        with self._changed:
            self._items.clear()
            self._changed.notify_all()

    def _tell_ready(self) -> None:
        if self._ready is not None:
            with self._ready:
                self._ready.notify_all()

    @property
    def closed(self) -> bool:
        """Whether no more items will come (some may still be held)."""
        return self._closed

    @property
    def drained(self) -> bool:
        """Whether no item is held and none will come."""
        return self._closed and not self._items

    def statistics(self) -> ChannelStatistics:
        """A snapshot."""
        with self._changed:
            age = time.monotonic_ns() - self._items[0][0] if self._items else 0
            return ChannelStatistics(
                len(self._items), self.capacity, self._accepted, self._dropped, age
            )

    def __len__(self) -> int:
        return len(self._items)
