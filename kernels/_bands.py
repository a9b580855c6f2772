"""A few threads that share the rows of an image."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Draw = Callable[[int, int], None]

MAX_THREADS = 16


def processors() -> int:
    """How many threads are worth while here: the processors that this process may use, 1 to 16."""
    return min(len(_allowed()) or os.cpu_count() or 1, MAX_THREADS)


def _allowed() -> set[int]:
    """The processors that this process may use; empty where the system does not tell (macOS)."""
    told: Callable[[int], set[int]] = getattr(os, "sched_getaffinity", lambda _: set())
    return told(0)


def in_bands(draw: Draw, rows: Sequence[int]) -> None:
    """Call `draw(first, end)` for every pair of successive rows, each in a thread of its own.

    Args:
        draw: gives up Python's lock while it works.
        rows: increasing, at most `MAX_THREADS + 1` of them.
    """
    *bands, own = itertools.pairwise(rows)
    others: list[Future[None]] = []
    if bands:
        place = _processor(), _allowed()
        for number, band in enumerate(bands):
            others.append(_helper(os.getpid(), number).start(draw, *band, *place))
    try:
        draw(*own)
    finally:
        for other in others:
            other.result()


class _Helper:
    """One waiting thread, kept off the processor that its caller works on.

    Where no processors share a cache, as in many virtual machines, Linux wakes a thread on the
    processor of whoever wakes it: the two would take turns on one, and others idle, for as long as
    a whole image takes.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bands")
        self._id = self._thread.submit(threading.get_native_id).result()
        self._place: tuple[int, set[int]] | None = None
        self._lock = threading.Lock()

    def start(
        self, draw: Draw, first: int, end: int, caller: int, allowed: set[int]
    ) -> Future[None]:
        """Begin on a band while the caller works on processor `caller` (-1: unknown)."""
        with self._lock:
            if allowed and self._place != (caller, allowed):
                self._place = (caller, allowed)
                # Where it is forbidden, the thread works on whatever processor it gets.
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(self._id, (allowed - {caller}) or allowed)
            return self._thread.submit(draw, first, end)


@cache
def _helper(process: int, number: int) -> _Helper:
    """The helper of this number; a forked process, which has no threads, gets its own."""
    return _Helper()


@cache
def _processor_finder() -> Callable[[], int]:
    finder: Callable[[], int] = getattr(ctypes.CDLL(None), "sched_getcpu", lambda: -1)
    return finder


def _processor() -> int:
    return _processor_finder()()
