"""The NVIDIA device of a chain: PyCUDA's context and memory, Numba's launches, CUDA graphs.

PyCUDA retains the device's primary context, which Numba and TensorRT share. Memory comes from
PyCUDA's pools, so that what a growing upload gives back is used again. A sequence that a slot
repeats is recorded as a CUDA graph the second time (the first loads the kernels and lets TensorRT
settle its shapes) and launched as one from then on; where the driver refuses to record, it goes on
call by call.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.engines.device.chain import ChainSpec, DeviceChain
from streamprn.engines.device.failures import explained
from streamprn.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from streamprn.engines.bundle import Bundle
    from streamprn.kernels.cuda.kernel import Kernel

log = logging.getLogger("streamprn.engines.device")


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
    """A `chain.Device` on the first NVIDIA GPU. Used by the thread that made it.

    Args:
        graphs: whether to record repeated work as CUDA graphs.

    Raises:
        BackendError: PyCUDA, numba-cuda, the driver or the GPU is missing or unfit.
    """

    def __init__(self, *, graphs: bool = True) -> None:
        with explained():
            self._driver = _import_pycuda()
            self._driver.init()
            device = self._driver.Device(0)
            self._context = device.retain_primary_context()
            self._context.push()
            from numba import config, cuda
            from pycuda.tools import DeviceMemoryPool, PageLockedMemoryPool

            # One face fills no GPU, and should not be told so with every batch size.
            config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
            self._cuda = cuda
            self._device_pool, self._host_pool = DeviceMemoryPool(), PageLockedMemoryPool()
            major, minor = device.compute_capability()
            self._title = f"{device.name()} sm{major}{minor}"
        self._graphs = graphs

    @property
    def title(self) -> str:
        """Name and architecture."""
        return self._title

    def stream(self) -> _Stream:
        """See `chain.Device`, as for all others."""
        with explained():
            stream = self._driver.Stream()
            return _Stream(stream, self._cuda.external_stream(int(stream.handle)), {})

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new device array of zeros, held until `close`."""
        kind = np.dtype(dtype)
        with explained():
            nbytes = max(1, int(np.prod(shape))) * kind.itemsize
            allocation = self._device_pool.allocate(nbytes)
            self._driver.memset_d8(int(allocation), 0, nbytes)
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

    def launch(
        self, kernel: Kernel, grid: tuple[int, int], stream: _Stream, *arguments: Any
    ) -> None:
        """Put a kernel into the stream."""
        with explained():
            kernel.launch(grid, stream.numba, *arguments)

    def replay(self, key: tuple[Any, ...], stream: _Stream, work: Callable[[], None]) -> None:
        """Do the work: as it is the first time, recorded the second, replayed from then on."""
        graph = stream.graphs.get(key, "unknown")
        if graph == "unknown" or graph is None or not self._graphs:
            work()
            if graph == "unknown":
                stream.graphs[key] = "settled"
            return
        with explained():
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
        failure: BackendError | None = None
        try:
            work()
        except BackendError as error:
            failure = error
        code, graph = driver.cuStreamEndCapture(stream.handle)
        if failure is not None or int(code):
            log.warning("no CUDA graph, launching call by call: %s", failure or code)
            return None
        (executable,) = _checked(driver.cuGraphInstantiate(graph, 0))
        _checked(driver.cuGraphDestroy(graph))
        return executable

    def forget(self, stream: _Stream) -> None:
        """Destroy the recordings of a stream."""
        for graph in stream.graphs.values():
            if graph is not None and graph != "settled":
                _checked(_bindings().cuGraphExecDestroy(graph))
        stream.graphs.clear()

    def mark(self, stream: _Stream) -> Any:
        """An event, recorded now."""
        with explained():
            event = self._driver.Event()
            event.record(stream.pycuda)
            return event

    def elapsed_ms(self, first: Any, last: Any) -> float:
        """Milliseconds between two events."""
        with explained():
            return float(last.time_since(first))

    def synchronize(self, stream: _Stream) -> None:
        """Wait for the stream."""
        with explained():
            stream.pycuda.synchronize()

    def free_bytes(self) -> int:
        """Device memory that is free, of all programs."""
        with explained():
            return int(self._driver.mem_get_info()[0])

    def close(self) -> None:
        """Give the pools' memory and the context back."""
        with explained():
            self._context.synchronize()
            self._device_pool.stop_holding()
            self._host_pool.stop_holding()
            self._context.pop()


class TensorRtChainNetwork:
    """A TensorRT execution context as `chain.Network`."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self.inputs: Mapping[str, tuple[int, ...]] = network.inputs
        self.outputs: Mapping[str, tuple[int, ...]] = network.outputs

    def enqueue(self, arrays: Mapping[str, Any], batch: int, stream: _Stream) -> None:
        """See `chain.Network`."""
        addresses = {name: address(array) for name, array in arrays.items()}
        self._network.enqueue(addresses, batch, stream.handle)


def open_chain(
    bundle: Bundle, *, max_batch: int = 8, precision: str | None = None, timed: bool = False
) -> DeviceChain:
    """The device chain of an engine, its plan built where there is none yet.

    Raises:
        BackendError: something of the GPU path is missing or failed; the message says what.
        EngineError: the bundle is damaged.
    """
    from streamprn.engines.runtimes import tensorrt
    from streamprn.engines.runtimes.spec import NetworkSpec
    from streamprn.engines.tensorrt import api as packages

    if reason := tensorrt.unusable():
        raise BackendError(reason, hint="use --backend openvino")
    gpu = Gpu()
    api = packages.load(packages.installed()[0])
    network = NetworkSpec(
        name=bundle.name,
        networks=bundle.networks,
        size=bundle.crop.size,
        max_batch=max_batch,
        precision=precision,
    )
    plan, _ = tensorrt.obtain_plan(api, bundle.name, bundle.networks, tensorrt.recipe_for(network))
    first = tensorrt.TensorRtNetwork(api, plan)
    return DeviceChain(
        gpu,
        ChainSpec.of_bundle(bundle, max_batch),
        lambda: TensorRtChainNetwork(first.another()),
        timed=timed,
    )


def address(array: Any) -> int:
    """Device address of a Numba device array."""
    return int(array.__cuda_array_interface__["data"][0])


def _import_pycuda() -> Any:
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
