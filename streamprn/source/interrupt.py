"""Waking a thread that waits inside FFmpeg for a server that says nothing.

FFmpeg asks an interrupt callback several times a second whether to go on waiting. PyAV's callback
answers from `time.monotonic()` and the deadline of `av.open(timeout=...)`, and offers no other way
in; closing the container from another thread does not wake a reader. So the clock that the
callback reads is replaced by one that, for a thread told to stop, jumps past every deadline.
Every other thread sees the true time. Without the callback's clock in its place (another version
of PyAV), a wait ends at its deadline instead.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import av.container.core

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["interruptible"]

_FAR_FUTURE_S = 1e12


class _Clock:
    """The `time` module, but for threads that have been told to stop."""

    def __init__(self) -> None:
        self.told = threading.local()

    def monotonic(self) -> float:
        stop: threading.Event | None = getattr(self.told, "stop", None)
        if stop is not None and stop.is_set():
            return _FAR_FUTURE_S
        return time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


_clock = _Clock()


@contextmanager
def interruptible(stop: threading.Event) -> Iterator[None]:
    """Within the block, FFmpeg stops waiting on this thread within 0.1 s of `stop` being set.

    It holds for containers opened with a `timeout`; their call raises `av.ExitError` or, while
    connecting, `av.InvalidDataError`.
    """
    core: Any = av.container.core
    if getattr(core, "time", None) is time:
        core.time = _clock
    _clock.told.stop = stop
    try:
        yield
    finally:
        _clock.told.stop = None
