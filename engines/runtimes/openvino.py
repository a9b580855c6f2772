"""OpenVINO on the CPU: the fastest measured CPU runtime for every network here."""

from __future__ import annotations

import contextlib
import sys
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.engines.runtimes import prelu
from streamprn.errors import BackendError, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from streamprn.engines.runtimes.spec import NetworkSpec


BATCH = 4


def unusable() -> str:
    """Why OpenVINO cannot be used here, or an empty string."""
    return "" if find_spec("openvino") else "the package openvino is not installed"


class OpenVinoRuntime:
    """One network, compiled for single crops and, where it has use of them, for batches of `BATCH`.

    Two static shapes: a network with a free batch size was up to 25 % slower, and each further
    static one costs 0.2 s of start-up for at most 10 % of the time of the batches it fits.
    """

    on_gpu = False

    def __init__(self, network: NetworkSpec) -> None:
        self._network = network
        self._precision, path = network.file("fp32")
        openvino = import_quietly()
        self._tensor = openvino.Tensor
        self._model = read_network(path)
        network.check_input(path, [_shape(source) for source in self._model.inputs])
        self._names = [output.get_any_name() for output in self._model.outputs]
        if prelu.pays():
            prelu.split(self._model)
        self._compiled: dict[int, Any] = {}
        self._requests: dict[int, Any] = {}
        # By batch size, what no computation that was started has now.
        self._free: dict[int, list[Any]] = {}
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
        parts = self._parts(batch)
        return _joined((self._infer(part) for part in parts), len(parts), len(batch))

    def start(self, batch: NDArray[np.float32]) -> OpenVinoRun:
        """Begin to compute in a thread of OpenVINO's own; see `protocol.StartingRuntime`."""
        parts = self._parts(batch)
        requests = []
        for part in parts:
            free = self._free.setdefault(len(part), [])
            request = free.pop() if free else self._network_of(len(part)).create_infer_request()
            request.set_input_tensor(self._tensor(part, shared_memory=True))
            request.start_async()
            requests.append((len(part), request))
        return OpenVinoRun(self, batch, requests)

    def _parts(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The batch in as many parts of a compiled size as it takes."""
        sizes = _chunks(len(batch), BATCH if self._network.batched else 1)
        ends = np.cumsum(sizes).tolist()
        return [batch[end - size : end] for size, end in zip(sizes, ends, strict=True)]

    def _infer(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Outputs as views of the request's memory: valid until its next inference."""
        size = len(batch)
        if size not in self._requests:
            self._requests[size] = self._network_of(size).create_infer_request()
        request = self._requests[size]
        request.set_input_tensor(self._tensor(batch, shared_memory=True))
        try:
            request.infer()
        except RuntimeError as error:
            raise BackendError(f"OpenVINO failed: {_first_line(error)}") from error
        return self._outputs(request)

    def _outputs(self, request: Any) -> dict[str, NDArray[np.float32]]:
        return {name: request.get_output_tensor(k).data for k, name in enumerate(self._names)}

    def _network_of(self, size: int) -> Any:
        if size not in self._compiled:
            self._compiled[size] = self._compile(size)
        return self._compiled[size]

    def _compile(self, size: int) -> Any:
        try:
            model = self._model.clone()
            model.reshape([size, *self._network.shape])
            options = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": self._network.threads,
                # Several runtimes share the machine: pinned threads would share the same cores.
                "ENABLE_CPU_PINNING": False,
                # Else machines with AMX would silently compute in bfloat16.
                "INFERENCE_PRECISION_HINT": "f32",
            }
            return shared_core().compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise EngineError(
                f"engine {self._network.name}: the network does not take inputs of "
                f"{self._network.shape_of_batch(size)}: {_first_line(error)}"
            ) from error

    def close(self) -> None:
        """Free the compiled networks."""
        self._requests.clear()
        self._free.clear()
        self._compiled.clear()


class OpenVinoRun:
    """A computation under way; see `protocol.Run`.

    Args:
        runtime: of whose requests.
        batch: its input, kept until it is done.
        requests: one for each part of the batch, with the part's size.
    """

    def __init__(
        self,
        runtime: OpenVinoRuntime,
        batch: NDArray[np.float32],
        requests: list[tuple[int, Any]],
    ) -> None:
        self._runtime = runtime
        self._batch = batch
        self._requests = requests

    def outputs(self) -> dict[str, NDArray[np.float32]]:
        """See `protocol.Run`."""
        try:
            for _, request in self._requests:
                request.wait()
        except RuntimeError as error:
            raise BackendError(f"OpenVINO failed: {_first_line(error)}") from error
        parts = (self._runtime._outputs(request) for _, request in self._requests)
        return _joined(parts, len(self._requests), len(self._batch))

    def release(self) -> None:
        """See `protocol.Run`."""
        requests, self._requests = self._requests, []
        for size, request in requests:
            # One that failed said so in `outputs`, or nobody wants to know.
            with contextlib.suppress(RuntimeError):
                request.wait()
            self._runtime._free[size].append(request)


def open_runtime(network: NetworkSpec) -> OpenVinoRuntime:
    """Read the network; it is compiled at its first use of each batch size."""
    return OpenVinoRuntime(network)


def read_network(path: Path) -> Any:
    """The `openvino.Model` of an ONNX file.

    `Core.read_model` would try its readers of other formats on a damaged file, too: they print, and
    TensorFlow's may crash in a process that has another copy of its libraries.

    Raises:
        EngineError: it is none.
    """
    import_quietly()
    from openvino.frontend import FrontEndManager

    try:
        reader = FrontEndManager().load_by_framework("onnx")
        return reader.convert(reader.load(str(path)))
    except Exception as error:  # the reader has types of its own, with no base in common
        raise EngineError(
            f"{path}: not a network that OpenVINO can read: {_first_line(error)}",
            hint="import or build the engine again",
        ) from error


def import_quietly() -> Any:
    """OpenVINO without its telemetry package, in whose place it uses a stub of its own.

    That package starts a thread and, unless the user has opted out, writes an identifier into the
    home folder and sends events.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@cache
def shared_core() -> Any:
    """The one `openvino.Core` of this process.

    Each would put an alternate signal stack in the place of the last one's, and take it away with
    itself: after two have gone out of order, the next signal ends the process with SIGSEGV.
    """
    return import_quietly().Core()


def devices() -> dict[str, str]:
    """The devices that OpenVINO sees, by its own names, each with its full name."""
    core = shared_core()
    return {name: core.get_property(name, "FULL_DEVICE_NAME") for name in core.available_devices}


def _joined(
    parts: Iterable[dict[str, NDArray[np.float32]]], count: int, faces: int
) -> dict[str, NDArray[np.float32]]:
    """The outputs of the parts of a batch as one; of a single part as they are."""
    outputs: dict[str, NDArray[np.float32]] = {}
    start = 0
    for part in parts:
        if count == 1:
            return part
        for name, values in part.items():
            if name not in outputs:
                outputs[name] = np.empty((faces, *values.shape[1:]), values.dtype)
            outputs[name][start : start + len(values)] = values
        start += len(next(iter(part.values())))
    return outputs


def _chunks(count: int, batch: int) -> list[int]:
    """As many calls of `batch` as fit, then single ones."""
    return [batch] * (count // batch) + [1] * (count % batch)


def _shape(source: Any) -> list[int | None]:
    """The dimensions of an input, None where they are free."""
    return [d.get_length() if d.is_static else None for d in source.get_partial_shape()]


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
