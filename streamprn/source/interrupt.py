"""Waking a thread that waits inside FFmpeg for a server that says nothing.

FFmpeg asks an interrupt callback several times a second whether to go on waiting. PyAV's callback
answers from `time.monotonic()` and the deadline of `av.open(timeout=...)`, and offers no other way
in; closing the container from another thread does not wake a reader. So the clock that the
callback reads is replaced by one that, for a thread told to leave off, jumps past every deadline.
Every other thread sees the true time. Without the callback's clock in its place (another version
of PyAV), a wait ends at its deadline instead.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import av.container.core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["interruptible", "is_interrupted"]

_FAR_FUTURE_S = 1e12


class _Clock:
    """The `time` module, but for threads that have been told to leave off."""

    def __init__(self) -> None:
        self.told = threading.local()
        self._leaps = itertools.count(1)

    def monotonic(self) -> float:
        if is_interrupted():
            # Later with every look, since the deadline itself may have been set by this clock.
            return _FAR_FUTURE_S * next(self._leaps)
        return time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


_clock = _Clock()


def is_interrupted() -> bool:
    """Whether this thread is inside `interruptible` and has been told to leave off."""
    interrupted: Callable[[], bool] | None = getattr(_clock.told, "interrupted", None)
    return interrupted is not None and interrupted()


@contextmanager
def interruptible(interrupted: Callable[[], bool]) -> Iterator[None]:
    """Within the block, FFmpeg stops waiting on this thread within 0.1 s of `interrupted()`.

    It holds for containers opened with a `timeout`; their call raises `av.ExitError` or, while
    connecting, `av.InvalidDataError`. What was interrupted must stay so until that call is over.
    """
    core: Any = av.container.core
    if getattr(core, "time", None) is time:
        core.time = _clock
    _clock.told.interrupted = interrupted
    try:
        yield
    finally:
        _clock.told.interrupted = None
