"""Sources that send what never ends: a part of MJPEG, a playlist.

FFmpeg keeps such things in memory until they are whole, and has no bound for their number. What
this process takes meanwhile can be seen by the thread that reads: its own page faults tell that it
was this thread, the size of the process that it was not memory used again.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Final

from streamprn.memory import give_back, process_bytes

__all__ = ["MAX_OPENING_BYTES", "MAX_PACKET_BYTES", "PIXEL_BYTES", "Growth", "packet_bytes"]

#: What opening may take: the decoder of 8K video, which is asked once what it gives, has pictures
#: of 50 MB.
MAX_OPENING_BYTES: Final = 384 << 20
#: What one packet may take, where its picture does not need more.
MAX_PACKET_BYTES: Final = 40 << 20
#: What a pixel takes in the largest of formats, with some room.
PIXEL_BYTES: Final = 9
_WORTHWHILE_BYTES: Final = 16 << 20
_HUGE_PAGE_BYTES: Final = 2 << 20


class Growth:
    """What the thread that reads a source takes before that gives the next packet.

    Used by that thread alone. Where the system does not tell (it is not Linux), nothing exceeds.
    """

    def __init__(self) -> None:
        self._most = MAX_OPENING_BYTES
        self._faults = self._before = 0
        self._exceeded = False

    def begin(self, most: int) -> None:
        """Wait for what may take so many bytes."""
        self._most = most
        self._exceeded = False
        self._faults, self._before = _faulted_bytes(), process_bytes()

    @property
    def most(self) -> int:
        """Bytes that may be taken."""
        return self._most

    @property
    def exceeded(self) -> bool:
        """Whether more was taken; it stays so until `begin`. Takes a microsecond."""
        if not self._exceeded and _faulted_bytes() - self._faults > self._most:
            self._exceeded = process_bytes() - self._before > self._most
        return self._exceeded

    def give_back(self) -> None:
        """Let the system have what was freed, where that is much.

        The allocator would keep small blocks, and the next connection take its share beside them.
        """
        if process_bytes() - self._before >= _WORTHWHILE_BYTES:
            give_back()


def packet_bytes(width: int, height: int) -> int:
    """What the packet of a picture of that size may take, compressed or not."""
    return max(MAX_PACKET_BYTES, width * height * PIXEL_BYTES)


def _faulted_bytes() -> int:
    """What this thread has touched for the first time, at the most."""
    if sys.platform != "linux":
        return 0
    import resource  # other systems may not have it

    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt * _fault_bytes()


@cache
def _fault_bytes() -> int:
    """What one page fault brings: much, where the kernel makes large pages of all memory."""
    try:
        always = "[always]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        always = False
    return _HUGE_PAGE_BYTES if always else os.sysconf("SC_PAGE_SIZE")
