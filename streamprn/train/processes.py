"""Processes that share the cores, each with one thread of BLAS."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What OpenBLAS (NumPy, SciPy and OpenCV carry one each), MKL and OpenMP read when they are loaded.
_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Processes that are started inside calculate with one thread, unless the user says otherwise.

    Several processes fill the cores by themselves. With the threads of OpenBLAS on top, which wait
    for each other in a loop around `sched_yield`, Linux 6.18 lets one process wait for minutes in
    a `solve` of milliseconds: who yields goes behind everybody who calculates.
    """
    added = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
