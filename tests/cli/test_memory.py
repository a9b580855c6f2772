"""Memory is asked for from few arenas, by glibc's own account."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

_PROGRAM = """
import ctypes, sys, threading
from streamprn.cli.memory import share_arenas
share_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(12)
def work():
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


def _arenas(folder, **environment):
    out = folder / "malloc.xml"
    subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(out)],
        check=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return out.read_text().count("<heap nr=")


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_info"), reason="this C library counts no arenas"
)
def test_threads_share_two_arenas_unless_the_user_says_how_many(tmp_path):
    assert _arenas(tmp_path) <= 2
    assert _arenas(tmp_path, MALLOC_ARENA_MAX="6") > 2
