"""NVDEC beside the rest of the GPU path, in the same context.

FFmpeg refuses a primary context that is in use with another way of waiting than its own: the
calling thread sleeps until the GPU is done (`cuda_context_init` in libavutil/hwcontext_cuda.c). The
engine's context is made first, with the driver's own choice, and has to be changed.
"""

from __future__ import annotations

import ctypes
import sys

BLOCKING_SYNC = 0x04  # CU_CTX_SCHED_BLOCKING_SYNC


def share_context() -> None:
    """Let FFmpeg use the primary context of the first GPU; does nothing where there is no driver.

    Threads that wait for the GPU sleep from then on instead of spinning, which frees a core and
    takes some ten microseconds longer.
    """
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        change = library.cuDevicePrimaryCtxSetFlags_v2
    except (OSError, AttributeError):
        return
    device = ctypes.c_int()
    if library.cuInit(0) == 0 and library.cuDeviceGet(ctypes.byref(device), 0) == 0:
        change(device, BLOCKING_SYNC)
