"""The CUDA driver through `ctypes`: which GPU there is, its primary context, memory and streams.

The driver's library is on every machine with an NVIDIA GPU. Naming the GPU and running a TensorRT
plan therefore need no package for CUDA. Everything happens in the device's primary context, which
PyCUDA and Numba use as well.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from streamprn.errors import BackendError

_ATTRIBUTE_MAJOR: Final = 75
_ATTRIBUTE_MINOR: Final = 76
_NO_DEVICE: Final = 100
_BLOCKING_SYNC: Final = 0x04  # CU_CTX_SCHED_BLOCKING_SYNC
_WITHOUT_A_GPU: Final = "use a CPU backend; `--flavour tensorrt-rtx` builds plans without a GPU"


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU: its name and compute capability."""

    name: str
    capability: tuple[int, int]

    @property
    def title(self) -> str:
        """Name and architecture, such as `NVIDIA H100 80GB HBM3 sm90`."""
        return f"{self.name} {self.architecture}"

    @property
    def architecture(self) -> str:
        """Its compute capability, such as `sm90`."""
        return f"sm{self.capability[0]}{self.capability[1]}"


def _library() -> ctypes.CDLL:
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise BackendError(
            f"there is no NVIDIA driver here ({name} does not load)", hint=_WITHOUT_A_GPU
        ) from error


class Driver:
    """The initialised driver and the primary context of its first device.

    Raises:
        BackendError: there is no driver or no GPU, or a call failed.
    """

    def __init__(self) -> None:
        self._lib = _library()
        self._call("cuInit", 0)
        self._device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)
        self._context: ctypes.c_void_p | None = None

    def _call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._lib, function)(*arguments)
        if code == _NO_DEVICE:
            raise BackendError("the NVIDIA driver finds no GPU", hint=_WITHOUT_A_GPU)
        if code:
            text = ctypes.c_char_p()
            self._lib.cuGetErrorName(code, ctypes.byref(text))
            raise BackendError(f"{function} failed: {(text.value or b'error').decode()} ({code})")

    def device(self) -> Device:
        """What GPU it is."""
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, len(name), self._device)
        return Device(
            name.value.decode(),
            (self._attribute(_ATTRIBUTE_MAJOR), self._attribute(_ATTRIBUTE_MINOR)),
        )

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), number, self._device)
        return value.value

    def make_current(self) -> None:
        """Make the primary context the calling thread's; every thread needs it once."""
        if self._context is None:
            context = ctypes.c_void_p()
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
            self._context = context
        self._call("cuCtxSetCurrent", self._context)

    def stream(self) -> int:
        """A new stream that does not wait for the default one."""
        stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(stream), 1)
        return stream.value or 0

    def synchronize(self, stream: int) -> None:
        """Wait until the stream has done all its work."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def destroy_stream(self, stream: int) -> None:
        """Free a stream."""
        self._call("cuStreamDestroy_v2", ctypes.c_void_p(stream))

    def allocate(self, nbytes: int) -> int:
        """The address of new device memory."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(nbytes))
        return address.value

    def free(self, address: int) -> None:
        """Free device memory."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def pinned(self, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """A float32 array in page-locked host memory; free it with `free_pinned`."""
        address = ctypes.c_void_p()
        count = int(np.prod(shape))
        self._call("cuMemAllocHost_v2", ctypes.byref(address), ctypes.c_size_t(4 * count))
        buffer = (ctypes.c_float * count).from_address(address.value or 0)
        return np.ctypeslib.as_array(buffer).reshape(shape)

    def free_pinned(self, array: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        """Free what `pinned` gave; the array must not be used after."""
        self._call("cuMemFreeHost", ctypes.c_void_p(array.ctypes.data))

    def upload(
        self, address: int, array: np.ndarray[Any, np.dtype[np.float32]], stream: int
    ) -> None:
        """Copy a C-contiguous host array to the device, in the stream's order."""
        self._call(
            "cuMemcpyHtoDAsync_v2",
            *(ctypes.c_uint64(address), ctypes.c_void_p(array.ctypes.data)),
            *(ctypes.c_size_t(array.nbytes), ctypes.c_void_p(stream)),
        )

    def download(
        self, array: np.ndarray[Any, np.dtype[np.float32]], address: int, stream: int
    ) -> None:
        """Copy from the device to a C-contiguous host array, in the stream's order."""
        self._call(
            "cuMemcpyDtoHAsync_v2",
            *(ctypes.c_void_p(array.ctypes.data), ctypes.c_uint64(address)),
            *(ctypes.c_size_t(array.nbytes), ctypes.c_void_p(stream)),
        )


@cache
def driver() -> Driver:
    """The process's driver; see `Driver` for what it raises."""
    return Driver()


def device() -> Device:
    """The GPU of this machine.

    Raises:
        BackendError: there is none, or no driver.
    """
    return driver().device()


def share_context() -> None:
    """Let FFmpeg use the primary context of the first GPU; does nothing where there is no driver.

    FFmpeg refuses a primary context in use whose threads do not sleep while they wait for the GPU
    (`cuda_context_init` in libavutil/hwcontext_cuda.c). The engine makes the context first, and
    leaves that choice to the driver, so the context has to be changed.

    Threads that wait for the GPU sleep from then on instead of spinning, which frees a core and
    takes some ten microseconds longer.
    """
    try:
        library = _library()
        change = library.cuDevicePrimaryCtxSetFlags_v2
    except (BackendError, AttributeError):
        return
    device = ctypes.c_int()
    if library.cuInit(0) == 0 and library.cuDeviceGet(ctypes.byref(device), 0) == 0:
        change(device, _BLOCKING_SYNC)
