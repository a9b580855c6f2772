"""How a process that runs for weeks asks the C library for memory."""

from __future__ import annotations

import ctypes
import os

# <malloc.h> of glibc.
_M_ARENA_MAX = -8
_ARENAS = 2


def share_arenas() -> None:
    """Let all threads share two of glibc's arenas, unless MALLOC_ARENA_MAX says how many.

    By default each thread of a stream that comes and goes may leave its pieces in another one, up
    to eight for each processor. Other C libraries have no such setting.
    """
    allocator = getattr(ctypes.CDLL(None), "mallopt", None)
    if allocator is not None and "MALLOC_ARENA_MAX" not in os.environ:
        allocator(_M_ARENA_MAX, _ARENAS)
