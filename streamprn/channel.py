"""Bounded hand-over of frames from one reader thread to the pipeline."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamprn.records import Frame

__all__ = ["Mailbox"]

_STOP_POLL_S = 0.05


class Mailbox:
    """A bounded queue of frames with one writer, in one of two modes.

    With `newest` a full box drops its oldest frame for the new one and counts it: what a live
    source needs, whose old frames are worth nothing. Without it a full box makes the writer wait,
    and nothing is lost: what a file needs.

    Several boxes may share one `ready` condition, so that one consumer waits for all of them:

        with ready:
            while (frame := next_of(boxes)) is None:
                ready.wait(timeout)

    Args:
        capacity: frames held at most, at least 1.
        newest: drop the oldest frame instead of making the writer wait.
        ready: notified after every `put` and on `close`.
    """

    def __init__(self, capacity: int, *, newest: bool, ready: threading.Condition) -> None:
        if capacity < 1:
            raise ValueError(f"a mailbox holds at least one frame, got capacity={capacity}")
        self.capacity = capacity
        self.newest = newest
        self._ready = ready
        self._frames: deque[Frame] = deque()
        # A lock of its own: the writer must never hold `ready` while it waits for room.
        self._room = threading.Condition(threading.Lock())
        self._closed = False
        self._dropped = 0
        self._accepted = 0

    def put(self, frame: Frame, stop: threading.Event) -> bool:
        """Hand over a frame; wait for room unless the box keeps the newest only.

        Args:
            frame: the frame.
            stop: ends the wait.

        Returns:
            Whether the frame was accepted; False once the box is closed or `stop` is set.
        """
        with self._room:
            if not self._make_room(stop):
                return False
            self._frames.append(frame)
            self._accepted += 1
        with self._ready:
            self._ready.notify_all()
        return True

    def _make_room(self, stop: threading.Event) -> bool:
        while not self._closed:
            if len(self._frames) < self.capacity:
                return True
            if self.newest:
                self._frames.popleft()
                self._dropped += 1
            elif stop.is_set():
                return False
            else:
                self._room.wait(_STOP_POLL_S)
        return False

    def take(self) -> Frame | None:
        """Take the oldest frame held, or None when there is none now; never waits."""
        with self._room:
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._room.notify()
            return frame

    def close(self) -> None:
        """Accept no more frames; those held can still be taken. Wakes everybody who waits."""
        with self._room:
            self._closed = True
            self._room.notify_all()
        with self._ready:
            self._ready.notify_all()

    def clear(self) -> None:
        """Drop the frames held, without counting them."""
        with self._room:
            self._frames.clear()
            self._room.notify_all()

    @property
    def closed(self) -> bool:
        """Whether no more frames will come (some may still be held)."""
        return self._closed

    @property
    def dropped(self) -> int:
        """Frames replaced by newer ones before anybody took them."""
        return self._dropped

    @property
    def accepted(self) -> int:
        """Frames ever accepted, dropped ones included."""
        return self._accepted

    def __len__(self) -> int:
        return len(self._frames)
