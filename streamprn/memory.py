"""How much memory this process has; freeing what refers to itself, giving back what was freed."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import time
from typing import Final

__all__ = ["collect", "give_back", "process_bytes", "settle"]

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_COLLECT_EVERY_S: Final = 1.0

_next_s = 0.0


def process_bytes() -> int:
    """What this process has in memory; 0 where the system does not tell (it is not Linux)."""
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(os.read(descriptor, 128).split()[1]) * _PAGE_BYTES
    finally:
        os.close(descriptor)


def give_back() -> None:
    """Let the system have what was freed: the allocator keeps many small blocks otherwise."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def settle() -> None:
    """Say that what lives now lives on: for a program, when all its parts are open.

    The garbage collector looks through everything only where there is a quarter more than before,
    and the 170,000 objects of an engine take it a tenth of a second, in which nothing else runs.
    Left out of that, the rest takes it some milliseconds, and `collect` can be called at any time.
    What is garbage now stays: some ten objects, not worth that tenth of a second at the start.
    """
    gc.freeze()


def collect() -> None:
    """Free what refers to itself, as a stream that was removed does; does nothing before `settle`.

    Such objects are few, and each holds decoders and pictures: half a megabyte and more a stream,
    which would stay for thousands of streams. Once a second at most.
    """
    global _next_s  # noqa: PLW0603  of the process, as its garbage is
    now = time.monotonic()
    if now >= _next_s and gc.get_freeze_count():
        _next_s = now + _COLLECT_EVERY_S
        gc.collect()
