"""OpenVINO on the CPU: the fastest measured CPU runtime for every network here."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.errors import BackendError, EngineError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.engines.runtimes.spec import NetworkSpec


def unusable() -> str:
    """Why OpenVINO cannot be used here, or an empty string."""
    return "" if find_spec("openvino") else "the package openvino is not installed"


class OpenVinoRuntime:
    """One network, compiled for each batch size that comes, powers of two up to `max_batch`."""

    def __init__(self, network: NetworkSpec) -> None:
        import openvino

        self._network = network
        self._precision, path = network.file("fp32")
        self._core = openvino.Core()
        try:
            self._model = self._core.read_model(path)
        except RuntimeError as error:
            raise EngineError(
                f"{path}: not a network that OpenVINO can read: {_first_line(error)}",
                hint="import or build the engine again",
            ) from error
        self._names = [output.get_any_name() for output in self._model.outputs]
        self._requests: dict[int, Any] = {}
        self._version = openvino.__version__.split("-")[0]

    @property
    def description(self) -> str:
        """Name, version, device and precision, in words."""
        plural = "s" if self._network.threads > 1 else ""
        return (
            f"OpenVINO {self._version}, CPU, {self._network.threads} thread{plural}, "
            f"{self._precision}"
        )

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The network's outputs by name; see `protocol.Runtime`."""
        parts = []
        start = 0
        for size in _chunks(batch.shape[0], self._largest()):
            parts.append(self._infer(batch[start : start + size]))
            start += size
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._names}

    def _largest(self) -> int:
        return self._network.max_batch if self._network.batched else 1

    def _infer(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        import openvino

        request = self._request(batch.shape[0])
        request.set_input_tensor(openvino.Tensor(batch, shared_memory=True))
        try:
            request.infer()
        except RuntimeError as error:
            raise BackendError(f"OpenVINO failed: {_first_line(error)}") from error
        outputs = (request.get_output_tensor(k).data for k in range(len(self._names)))
        # A copy where several calls of one request follow each other.
        return {
            name: data if self._network.batched else data.copy()
            for name, data in zip(self._names, outputs, strict=True)
        }

    def _request(self, size: int) -> Any:
        if size not in self._requests:
            self._requests[size] = self._compile(size)
        return self._requests[size]

    def _compile(self, size: int) -> Any:
        pixels = self._network.size
        try:
            model = self._model.clone()
            model.reshape([size, pixels, pixels, 3])
            options = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": self._network.threads,
                # Several runtimes share the machine: pinned threads would share the same cores.
                "ENABLE_CPU_PINNING": False,
                # Else machines with AMX would silently compute in bfloat16.
                "INFERENCE_PRECISION_HINT": "f32",
            }
            return self._core.compile_model(model, "CPU", options).create_infer_request()
        except RuntimeError as error:
            raise EngineError(
                f"engine {self._network.name}: the network does not take inputs of "
                f"({size}, {pixels}, {pixels}, 3): {_first_line(error)}"
            ) from error

    def close(self) -> None:
        """Free the compiled networks."""
        self._requests.clear()


def open_runtime(network: NetworkSpec) -> OpenVinoRuntime:
    """Read the network; it is compiled at its first use of each batch size."""
    return OpenVinoRuntime(network)


def _chunks(count: int, largest: int) -> list[int]:
    """Powers of two that sum to `count`, none above `largest`, in falling order."""
    sizes = []
    while count:
        size = min(1 << (count.bit_length() - 1), 1 << (largest.bit_length() - 1))
        sizes.append(size)
        count -= size
    return sizes


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
