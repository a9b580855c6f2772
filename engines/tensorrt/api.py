"""One way into `tensorrt` 10 and 11 and `tensorrt_rtx`, whose Python interfaces nearly agree.

What differs, and is decided here:

- Precision. TensorRT 11 and TensorRT-RTX have no FP16 flag. Networks are strongly typed
  everywhere: the types in the ONNX file are the precision, which version 10 can do as well.
- `NetworkDefinitionCreationFlag.STRONGLY_TYPED` is optional where nothing else exists.
- Only TensorRT-RTX builds for GPUs that are not there (`set_compute_capability`).
- The CUDA 12 wheels of TensorRT-RTX install the module as `tensorrt_rtx_bindings`.
"""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

from streamprn.errors import BackendError, InputError

MODULES: Final = {
    "tensorrt": ("tensorrt",),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
FLAVOURS: Final = tuple(MODULES)
# What this layer calls; a test holds them against the real packages.
USED: Final = {
    "Builder": (
        *("create_network", "create_builder_config", "create_optimization_profile"),
        "build_serialized_network",
    ),
    "IBuilderConfig": ("add_optimization_profile", "set_flag", "clear_flag"),
    "INetworkDefinition": ("num_inputs", "num_outputs", "get_input", "get_output"),
    "IOptimizationProfile": ("set_shape", "get_shape"),
    "ILogger": ("Severity",),
    "ITensor": ("name", "shape"),
    "OnnxParser": ("parse", "num_errors", "get_error"),
    "ParserError": ("desc",),
    "Runtime": ("deserialize_cuda_engine",),
    "ICudaEngine": (
        *("create_execution_context", "num_io_tensors", "get_tensor_name", "get_tensor_mode"),
        *("get_tensor_dtype", "get_tensor_shape"),
    ),
    "IExecutionContext": ("set_input_shape", "set_tensor_address", "execute_async_v3"),
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Api:
    """An imported package. `logger` forwards its messages to `logging`."""

    flavour: str
    module: Any
    version: str
    logger: Any

    @property
    def builds_for_other_gpus(self) -> bool:
        """Whether a plan can be built for GPUs that this machine does not have."""
        return hasattr(self.module.IBuilderConfig, "set_compute_capability")

    def strongly_typed(self) -> int:
        """The flags of a network whose precision is that of its ONNX file."""
        flags = self.module.NetworkDefinitionCreationFlag
        return 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0

    def compute_capability(self, text: str) -> Any:
        """`ComputeCapability` of "8.6", "86" or "sm86".

        Raises:
            InputError: this package does not know it.
        """
        name = "SM" + text.lower().removeprefix("sm").replace(".", "").replace("_", "")
        known = getattr(self.module, "ComputeCapability", None)
        members = {} if known is None else dict(known.__members__)
        if name not in members:
            choices = ", ".join(key for key in members if key.startswith("SM")) or "none"
            raise InputError(
                f"{self.flavour} {self.version} cannot build for compute capability {text}",
                hint=f"it builds for: {choices}",
            )
        return members[name]


def installed() -> list[str]:
    """The flavours whose package is installed, the best first."""
    return [flavour for flavour, names in MODULES.items() if any(map(find_spec, names))]


def load(flavour: str) -> Api:
    """Import a flavour's package.

    Raises:
        InputError: there is no such flavour.
        BackendError: the package is not installed, or does not load.
    """
    if flavour not in MODULES:
        raise InputError(f"no TensorRT flavour {flavour!r}", hint=f"one of {', '.join(FLAVOURS)}")
    name = next((name for name in MODULES[flavour] if find_spec(name)), None)
    if name is None:
        raise BackendError(f"the package {flavour} is not installed", hint=f"pip install {flavour}")
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendError(
            f"the package {flavour} does not load: {error}",
            hint="it needs libraries of its own CUDA version; see docs/engines.md",
        ) from error
    return Api(flavour, module, str(module.__version__), _forwarding_logger(module))


def _forwarding_logger(module: Any) -> Any:
    severity = module.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
        severity.INFO: logging.DEBUG,
    }

    class ForwardingLogger(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, level: Any, text: str) -> None:
            number = levels.get(level, logging.NOTSET)
            if number >= logging.ERROR:
                self.errors.append(text)
            if number:
                # Errors become exceptions with a cause of their own.
                _log.log(min(number, logging.INFO), "%s", text)

    return ForwardingLogger()
