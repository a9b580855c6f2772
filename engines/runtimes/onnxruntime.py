"""ONNX Runtime on the CPU, for platforms without OpenVINO (extra `onnxruntime`)."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from streamprn.errors import BackendError, EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streamprn.engines.runtimes.spec import NetworkSpec


def unusable() -> str:
    """Why ONNX Runtime cannot be used here, or an empty string."""
    if find_spec("onnxruntime"):
        return ""
    return "the package onnxruntime is not installed (extra streamprn[onnxruntime])"


class OnnxRuntime:
    """One network in one session; any batch size."""

    on_gpu = False

    def __init__(self, network: NetworkSpec) -> None:
        onnxruntime = import_quietly()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = network.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning threads would take the cores that decoding and geometry need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._precision, path = network.file("fp32")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors derive from Exception alone
            raise EngineError(
                f"{path}: not a network that ONNX Runtime can read: {_one_line(error)}",
                hint="import or build the engine again",
            ) from error
        network.check_input(path, [source.shape for source in self._session.get_inputs()])
        self._input = self._session.get_inputs()[0].name
        self._names = [output.name for output in self._session.get_outputs()]
        self._threads = network.threads
        self._version = onnxruntime.__version__

    @property
    def description(self) -> str:
        """Name, version, device and precision, in words."""
        plural = "s" if self._threads > 1 else ""
        return (
            f"ONNX Runtime {self._version}, CPU, {self._threads} thread{plural}, {self._precision}"
        )

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The network's outputs by name; see `protocol.Runtime`."""
        try:
            values = self._session.run(self._names, {self._input: batch})
        except Exception as error:  # its errors derive from Exception alone
            raise BackendError(f"ONNX Runtime failed: {_one_line(error)}") from error
        return dict(zip(self._names, values, strict=True))

    def close(self) -> None:
        """Nothing to free before the object goes."""


def open_runtime(network: NetworkSpec) -> OnnxRuntime:
    """Load and optimise the network."""
    return OnnxRuntime(network)


def import_quietly() -> Any:
    """ONNX Runtime without its telemetry.

    As of 1.32 it writes an identifier into the user's cache folder and prepares to upload events
    as soon as it is imported, unless the environment says no; its function comes too late. The
    variable's name differs between releases.
    """
    for variable in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):
        os.environ.setdefault(variable, "1")
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
