"""The NVIDIA device of a chain: PyCUDA's context and memory, Numba's launches, CUDA graphs.

PyCUDA retains the device's primary context, which Numba and TensorRT share. Memory comes from
PyCUDA's pools, so that memory which a growing upload gives back is used again.

A slot repeats its work. The first time, the calls load the kernels and let TensorRT settle its
shapes. The second time they are recorded as a CUDA graph, which is launched as one from then on.
Where the driver refuses to record, every repetition goes call by call.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.engines.cuda.failures import explained
from streamprn.engines.cuda.launch import launch
from streamprn.engines.device.staging import CUDA_DEVICE
from streamprn.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from streamprn.engines.device.staging import Plane
    from streamprn.kernels.cuda.kernel import Kernel

log = logging.getLogger("streamprn.engines.cuda")

NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
#: The smallest allocation; see `Gpu._prepare`.
LEAST_BYTES = 256


@dataclass(frozen=True, slots=True)
class _Memory:
    """Device memory as Numba takes it in (CUDA array interface 3)."""

    allocation: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (int(self.allocation), False),
            "strides": None,
            "stream": None,
        }


@dataclass(slots=True)
class _Stream:
    """One CUDA stream as PyCUDA and as Numba know it, and its recordings."""

    pycuda: Any
    numba: Any
    graphs: dict[tuple[Any, ...], Any]

    @property
    def handle(self) -> int:
        return int(self.pycuda.handle)


class Gpu:
    """The first NVIDIA GPU as a `streamprn.engines.device.contract.Device`.

    A thread has the context on its stack only inside `current`, so any thread may use the device.
    PyCUDA would abort the process if a thread ended with the context on its stack.

    Args:
        graphs: whether to record repeated work as CUDA graphs.

    Raises:
        BackendError: PyCUDA, numba-cuda, the driver or the GPU is missing or unfit.
    """

    def __init__(self, *, graphs: bool = True) -> None:
        self._graphs, self._capturing, self._closed = graphs, False, False
        self._streams: list[_Stream] = []
        self._events: list[Any] = []
        with explained():
            self._driver = _import_pycuda()
            self._driver.init()
            device = self._driver.Device(0)
            major, minor = device.compute_capability()
            self._title = f"{device.name()} sm{major}{minor}"
            self._context = device.retain_primary_context()
        # At the end of the process PyCUDA complains of a context that was not given back.
        atexit.register(self.close)
        try:
            with self.current(), explained():
                self._prepare()
        except BackendError:
            self.close()
            raise

    def _prepare(self) -> None:
        from numba import config, cuda
        from pycuda.tools import DeviceMemoryPool, PageLockedMemoryPool

        # One face fills no GPU, and should not be told so with every batch size.
        config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
        self._cuda = cuda
        self._device_pool, self._host_pool = DeviceMemoryPool(), PageLockedMemoryPool()
        # PyCUDA's pool needs a context when it gets a block back and holds no other. Without one
        # it ends the process, and Python may drop an array in a thread that has none. So the pool
        # always holds a block, of a size that nobody asks for.
        self._device_pool.allocate(1).free()
        self._decoded = self._driver.Event(self._driver.event_flags.DISABLE_TIMING)

    @property
    def title(self) -> str:
        """Name and architecture."""
        return self._title

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make it the calling thread's device."""
        if self._closed:
            raise BackendError("the GPU chain has been closed")
        with explained():
            self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def stream(self) -> _Stream:
        """A new stream, which does not wait for the default one.

        A video decoder in another thread works in the default stream. A stream that waited for it
        could not be recorded meanwhile.
        """
        with explained():
            stream = self._driver.Stream(NON_BLOCKING)
            made = _Stream(stream, self._cuda.external_stream(int(stream.handle)), {})
        self._streams.append(made)
        return made

    def event(self) -> Any:
        """A new event, which can be recorded in a graph."""
        (event,) = _checked(_bindings().cuEventCreate(0))
        self._events.append(event)
        return event

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new device array of zeros, from the pool."""
        kind = np.dtype(dtype)
        with explained():
            nbytes = max(LEAST_BYTES, int(np.prod(shape)) * kind.itemsize)
            allocation = self._device_pool.allocate(nbytes)
            self._driver.memset_d8(int(allocation), 0, nbytes)
            # This ran in the default stream, for which ours do not wait.
            self._context.synchronize()
            array = self._cuda.as_cuda_array(_Memory(allocation, shape, kind), sync=False)
        return array

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """A new page-locked host array of zeros."""
        with explained():
            array: NDArray[Any] = self._host_pool.allocate(shape, np.dtype(dtype))
        array[...] = 0
        return array

    def upload(self, target: Any, source: NDArray[Any], stream: _Stream) -> None:
        """Copy to the front of a device array."""
        if source.size:
            with explained():
                self._driver.memcpy_htod_async(address(target), source, stream.pycuda)

    def download(self, target: NDArray[Any], source: Any, stream: _Stream) -> None:
        """Copy from the front of a device array."""
        with explained():
            self._driver.memcpy_dtoh_async(target, address(source), stream.pycuda)

    def copy(self, target: Any, source: Any, start: int, stream: _Stream) -> None:
        """Fill a device array from the middle of another."""
        with explained():
            self._driver.memcpy_dtod_async(
                address(target), address(source) + start, target.nbytes, stream.pycuda
            )

    def copy_rows(
        self,
        target: Any,
        start: int,
        plane: Plane,
        first_xy: tuple[int, int],
        size_wh: tuple[int, int],
        stream: _Stream,
    ) -> None:
        """Copy a window of a plane in GPU memory."""
        if plane.device_type != CUDA_DEVICE:
            raise BackendError("a decoded plane is not in the memory of a CUDA device")
        with explained():
            copy = self._driver.Memcpy2D()
            copy.set_src_device(plane.address)
            copy.src_pitch = plane.pitch
            copy.src_x_in_bytes, copy.src_y = first_xy
            copy.set_dst_device(address(target) + start)
            copy.dst_pitch = copy.width_in_bytes = size_wh[0]
            copy.height = size_wh[1]
            copy(stream.pycuda)

    def await_decoders(self, stream: _Stream) -> None:
        """Let the stream wait for the default one, in which FFmpeg's NVDEC copies its pictures."""
        with explained():
            self._decoded.record()
            stream.pycuda.wait_for_event(self._decoded)

    def launch(
        self, kernel: Kernel, grid: tuple[int, int], stream: _Stream, *arguments: Any
    ) -> None:
        """Put a kernel into the stream."""
        with explained():
            launch(kernel, grid, stream.numba, *arguments)

    def replay(self, key: tuple[Any, ...], stream: _Stream, work: Callable[[], None]) -> None:
        """Do the work the first time, record it the second time, replay it from then on."""
        graph = stream.graphs.get(key, "new")
        if graph == "new" or graph is None or not self._graphs:
            work()
            stream.graphs.setdefault(key, "settled")
            return
        if graph == "settled":
            graph = stream.graphs[key] = self._record(stream, work)
        if graph is None:
            work()
        else:
            _checked(_bindings().cuGraphLaunch(graph, stream.handle))

    def _record(self, stream: _Stream, work: Callable[[], None]) -> Any:
        """An executable graph of the work, or None where it cannot be recorded."""
        driver = _bindings()
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _checked(driver.cuStreamBeginCapture(stream.handle, mode))
        self._capturing = True
        failure: BackendError | None = None
        try:
            work()
        except BackendError as error:
            failure = error
        finally:
            self._capturing = False
            # Also after an error: a stream that goes on capturing is lost.
            code, graph = driver.cuStreamEndCapture(stream.handle)
        if failure is None and not int(code):
            (executable,) = _checked(driver.cuGraphInstantiate(graph, 0))
            _checked(driver.cuGraphDestroy(graph))
            return executable
        log.warning("no CUDA graph, launching call by call: %s", failure or code)
        if not int(code):
            _checked(driver.cuGraphDestroy(graph))
        return None

    def forget(self, stream: _Stream) -> None:
        """Destroy the recordings of a stream."""
        graphs = list(stream.graphs.values())
        stream.graphs.clear()
        for graph in graphs:
            if graph is not None and graph != "settled":
                _checked(_bindings().cuGraphExecDestroy(graph))

    def record(self, event: Any, stream: _Stream) -> None:
        """Let the event mark this point; in a graph, of each of its launches."""
        driver = _bindings()
        kind = driver.CUevent_record_flags
        flag = kind.CU_EVENT_RECORD_EXTERNAL if self._capturing else kind.CU_EVENT_RECORD_DEFAULT
        _checked(driver.cuEventRecordWithFlags(event, stream.handle, int(flag)))

    def elapsed_ms(self, first: Any, last: Any) -> float:
        """Milliseconds between two events."""
        (milliseconds,) = _checked(_bindings().cuEventElapsedTime(first, last))
        return float(milliseconds)

    def is_done(self, stream: _Stream) -> bool:
        """Ask whether the stream has nothing left to do."""
        with explained():
            return bool(stream.pycuda.is_done())

    def synchronize(self, stream: _Stream) -> None:
        """Wait for the stream."""
        with explained():
            stream.pycuda.synchronize()

    def free_bytes(self) -> int:
        """Device memory that is free, of all programs."""
        with self.current(), explained():
            return int(self._driver.mem_get_info()[0])

    def close(self) -> None:
        """Give the graphs, the events, the pools' memory and the context back."""
        if self._closed:
            return
        try:
            with self.current(), explained():
                self._free()
        except BackendError as error:
            # A lost device cannot be tidied up; the end of the process does that.
            log.warning("the GPU could not be given back in order: %s", error)
        self._closed = True
        atexit.unregister(self.close)
        with contextlib.suppress(Exception):
            self._context.push()
            # `detach` takes the context off PyCUDA's own stack, but not off the driver's.
            self._context.detach()
            _bindings().cuCtxPopCurrent()

    def _free(self) -> None:
        self._context.synchronize()
        for stream in self._streams:
            self.forget(stream)
        for event in self._events:
            _checked(_bindings().cuEventDestroy(event))
        self._streams, self._events = [], []
        self._decoded = None
        self._device_pool.stop_holding()
        self._host_pool.stop_holding()


def address(array: Any) -> int:
    """Device address of a Numba device array."""
    return int(array.__cuda_array_interface__["data"][0])


def _import_pycuda() -> Any:
    """`pycuda.driver`; numba-cuda is looked for too, before anything is opened."""
    if importlib.util.find_spec("numba_cuda") is None:
        raise BackendError("numba-cuda is missing", hint="pip install 'streamprn[gpu]'")
    try:
        import pycuda.driver
    except ImportError as error:
        if "libcuda" in str(error):
            raise
        raise BackendError(
            f"PyCUDA is missing: {error}", hint="pip install 'streamprn[gpu]'"
        ) from error
    return pycuda.driver


def _bindings() -> Any:
    from cuda.bindings import driver

    return driver


def _checked(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values of an answer of NVIDIA's bindings, whose first is the error code."""
    code, *values = answer
    if int(code):
        raise BackendError(f"CUDA graph: {code.name}")
    return tuple(values)
