"""Clocks of a source: its time line over loops, pacing, frame rate limit and retry delays."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from streamprn.source.control import Control

__all__ = ["Backoff", "Pacer", "RateLimit", "Timeline"]

_NS = 1_000_000_000
_DEFAULT_RATE = 25.0
# So many frames in a row may carry the time of the one before.
_MOST_REPEATS = 2


class Ratio(Protocol):
    """A time base: a `Fraction` of PyAV 18, an `AVRational` of PyAV 19."""

    @property
    def numerator(self) -> int: ...
    @property
    def denominator(self) -> int: ...


class Timeline:
    """Presentation times in ns that keep growing over loops, jumps and gaps in the time stamps.

    The next frame follows the last one, by the usual time between two, where its time stamp lies
    further ahead than `max_gap_ns`, falls back, or has stood still for a while; from there on the
    source's own clock counts again.

    Args:
        frame_ns: the usual time between two frames, for frames without a time stamp.
        max_gap_ns: the longest gap between two frames that is believed.

    Attributes:
        jumps: how often the source's clock was not believed.
        last_jump_ns: by how much it was wrong the last time.
    """

    def __init__(
        self, frame_ns: int = round(_NS / _DEFAULT_RATE), max_gap_ns: int = 10 * _NS
    ) -> None:
        self.frame_ns = frame_ns
        self.max_gap_ns = max_gap_ns
        self.jumps = 0
        self.last_jump_ns = 0
        self._offset_ns = 0
        self._start_ns = 0
        self._last_ns: int | None = None
        self._repeats = 0

    def start_pass(self, start_ns: int) -> None:
        """Begin (again) at the source's own time `start_ns`: it follows the last frame."""
        self._start_ns = start_ns
        self._offset_ns = 0 if self._last_ns is None else self.peek() - start_ns

    def at(self, value: int | None, time_base: Ratio | None) -> int | None:
        """Place a time stamp of the source on the time line, without recording it."""
        if value is None or time_base is None:
            return None
        return self._offset_ns + value * time_base.numerator * _NS // time_base.denominator

    def is_far(self, at_ns: int) -> bool:
        """Whether the moment lies beyond every gap that is believed: nobody waits for it."""
        return at_ns - self.peek() > max(self.max_gap_ns, 4 * self.frame_ns)

    def peek(self) -> int:
        """Return the time of the next frame if it came right after the last one."""
        if self._last_ns is None:
            return self._offset_ns + self._start_ns
        return self._last_ns + self.frame_ns

    def advance(self, pts_ns: int | None) -> int:
        """Record the next frame and return its time, later than that of every frame before."""
        due_ns = self.peek()
        if pts_ns is None:
            pts_ns = due_ns
        elif self.is_far(pts_ns) or self._has_fallen(pts_ns):
            self._offset_ns += due_ns - pts_ns
            self.jumps += 1
            self.last_jump_ns = pts_ns - due_ns
            pts_ns = due_ns
        elif self._last_ns is not None:
            pts_ns = max(pts_ns, self._last_ns + 1)
            self._mend_rate(pts_ns - self._last_ns)
        self._last_ns = pts_ns
        return pts_ns

    def _mend_rate(self, step_ns: int) -> None:
        # The average rate of a file with an hour's gap in it says little about its frames.
        if self.frame_ns > max(_NS, 4 * step_ns):
            self.frame_ns = step_ns

    def _has_fallen(self, pts_ns: int) -> bool:
        """Whether the source's clock went back, or has given the same time too often."""
        if self._last_ns is None:
            return self.peek() - pts_ns > self.max_gap_ns
        # Frames come in the order of showing: one early by a fraction of a frame is jitter.
        step_ns = pts_ns - self._last_ns
        self._repeats = self._repeats + 1 if step_ns <= 0 else 0
        return step_ns < -self.frame_ns or self._repeats > _MOST_REPEATS


class Pacer:
    """Plays a time line at its own speed: due times are fixed by the first one, never shifted.

    Only pauses shift them: the time line stands still meanwhile.

    Args:
        control: ends every wait; knows the pauses.
        rebase_after_s: when later than this, start again from now (a live source after a
            stall); None keeps the schedule for good.
    """

    def __init__(self, control: Control, rebase_after_s: float | None = None) -> None:
        self._control = control
        self._origin_ns: int | None = None
        self._rebase_ns = None if rebase_after_s is None else round(rebase_after_s * _NS)

    def due_ns(self, at_ns: int) -> int:
        """Return when (monotonic ns) the moment `at_ns` of the time line is due."""
        paused = self._control.paused_ns
        now = time.monotonic_ns() - paused
        if self._origin_ns is None:
            self._origin_ns = now - at_ns
        due = self._origin_ns + at_ns
        if self._rebase_ns is not None and abs(now - due) > self._rebase_ns:
            self._origin_ns = now - at_ns
            due = now
        return due + paused

    def wait(self, at_ns: int) -> int | None:
        """Sleep until the moment `at_ns` is due and return `due_ns`; None if told to leave off."""
        pauses = self._control.running()
        if self._control.stopped or pauses is None:
            return None
        due = self.due_ns(at_ns)
        left = due - time.monotonic_ns()
        if left > 0 and not self._control.sleep(left / _NS, pauses):
            return None
        return due


class RateLimit:
    """Lets frames through at `max_fps` at most, evenly spread over their time line."""

    def __init__(self, max_fps: float | None) -> None:
        self._interval_ns = 0 if max_fps is None else round(_NS / max_fps)
        self._next_ns: int | None = None

    def admit(self, at_ns: int) -> bool:
        """Whether the frame at `at_ns` of its time line passes."""
        if self._interval_ns == 0:
            return True
        slack = self._interval_ns // 20
        due = self._next_ns
        if due is None or abs(at_ns - due) > 2 * self._interval_ns:
            due = at_ns
        if at_ns < due - slack:
            return False
        self._next_ns = due + self._interval_ns
        return True


class Backoff:
    """Delays between connections: doubling from `initial_s` to `max_s`, with jitter.

    The jitter (a factor of 0.75 to 1.25, within the bounds) keeps many streams of one restarted
    server from knocking all at once.
    """

    def __init__(self, initial_s: float, max_s: float, refused_s: float) -> None:
        self._initial_s = initial_s
        self._max_s = max_s
        self._refused_s = refused_s
        self._failures = 0

    def reset(self) -> None:
        """The connection worked: begin again with the shortest delay."""
        self._failures = 0

    def next_s(self, *, refused: bool = False, for_good: bool = False) -> float:
        """Return the seconds to wait before the next connection.

        Args:
            refused: the server answered and said no. A server does so, too, until its camera
                publishes: the delay begins short, and may grow further than that of a failure.
            for_good: nothing but other settings will change that: the longest delay at once.
        """
        jitter = random.uniform(0.75, 1.25)
        if for_good:
            return self._refused_s * jitter
        most = max(self._max_s, self._refused_s) if refused else self._max_s
        # The exponent is bounded: 2.0**1024 overflows after days of failures.
        delay = self._initial_s * 2.0 ** min(self._failures, 30)
        self._failures += 1
        return min(max(delay * jitter, self._initial_s), most)
