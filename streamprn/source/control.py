"""What a reader's thread has been told by others: to stop, to pause, to go on."""

from __future__ import annotations

import threading
import time

__all__ = ["Control"]


class Control:
    """Told from any thread, at once; obeyed by the reader's own thread."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._changed = threading.Condition()
        self._pauses = 0
        self._paused_since_ns: int | None = None
        self._past_pauses_ns = 0

    # -- telling ---------------------------------------------------------------------------------

    def stop(self) -> None:
        """End every wait, for good."""
        with self._changed:
            self.stopping.set()
            self._changed.notify_all()

    def pause(self) -> None:
        """Begin a pause, unless there is one already."""
        with self._changed:
            if self._paused_since_ns is None:
                self._pauses += 1
                self._paused_since_ns = time.monotonic_ns()
                self._changed.notify_all()

    def resume(self) -> None:
        """End the pause, if there is one."""
        with self._changed:
            if self._paused_since_ns is not None:
                self._past_pauses_ns += time.monotonic_ns() - self._paused_since_ns
                self._paused_since_ns = None
                self._changed.notify_all()

    # -- obeying ---------------------------------------------------------------------------------

    @property
    def stopped(self) -> bool:
        """Whether to stop."""
        return self.stopping.is_set()

    def running(self) -> int | None:
        """How many pauses there have been, or None in the middle of one."""
        with self._changed:
            return self._pauses if self._paused_since_ns is None else None

    @property
    def paused_ns(self) -> int:
        """How long all pauses have lasted, the one that goes on included."""
        with self._changed:
            if self._paused_since_ns is None:
                return self._past_pauses_ns
            return self._past_pauses_ns + time.monotonic_ns() - self._paused_since_ns

    def wait_for_resume(self) -> None:
        """Wait until there is no pause, or `stop`."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopped or self._paused_since_ns is None)

    def sleep(self, seconds: float, pauses: int) -> bool:
        """Sleep; False where `stop` or a pause ended that early.

        Args:
            seconds: how long.
            pauses: what `running` said before: a pause that has come since then ends the sleep,
                even where it is over already.
        """
        with self._changed:
            return not self._changed.wait_for(
                lambda: self.stopped or self._pauses != pauses, max(0.0, seconds)
            )
