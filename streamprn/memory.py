"""How much memory this process has, and giving back what it freed."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Final

__all__ = ["give_back", "process_bytes"]

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


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
