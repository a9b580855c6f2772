"""From an ONNX network to a serialized TensorRT plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streamprn.engines.cuda import driver
from streamprn.engines.tensorrt.plans import PlanKey, digest
from streamprn.errors import BackendError, EngineError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from streamprn.engines.tensorrt.api import Api

PRECISIONS: Final = ("fp32", "tf32", "fp16")
MAX_BATCH: Final = 64
TYPICAL_BATCH: Final = 4
# Ampere and newer; Turing needs its compute capability named.
ANY_RTX: Final = "any RTX GPU"


def source_of(precision: str) -> str:
    """The precision of the ONNX file that a plan is built from."""
    return "fp16" if precision == "fp16" else "fp32"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to build.

    Attributes:
        precision: "fp32" and "tf32" from the fp32 network ("tf32" lets Tensor Cores round the
            factors of products to 10 bits), "fp16" from the fp16 network.
        max_batch: the largest batch; the profile is 1, `typical_batch`, `max_batch`.
        compute_capabilities: GPUs to build for, such as "8.6"; empty for the GPU that is there
            (`tensorrt`), or for every one that the package's plans can serve (`tensorrt-rtx`).
    """

    precision: str = "fp16"
    max_batch: int = 16
    compute_capabilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(
                f"no precision {self.precision!r}", hint=f"choose one of: {', '.join(PRECISIONS)}"
            )
        if not 1 <= self.max_batch <= MAX_BATCH:
            raise InputError(f"the largest batch must be 1 to {MAX_BATCH}, not {self.max_batch}")

    @property
    def typical_batch(self) -> int:
        """The batch that the plan is tuned for."""
        return min(TYPICAL_BATCH, self.max_batch)

    def network(self, name: str, networks: Mapping[str, Path]) -> Path:
        """The ONNX file that this precision is built from.

        Raises:
            EngineError: the engine does not have it.
        """
        wanted = source_of(self.precision)
        if wanted not in networks:
            raise EngineError(
                f"engine {name} has no {wanted} network",
                hint=f"choose a precision of: {', '.join(networks)}",
            )
        return networks[wanted]

    def key(self, api: Api, onnx: bytes) -> PlanKey:
        """What a plan of this recipe depends on, here and now.

        Raises:
            BackendError: it depends on the GPU, and there is none.
            InputError: a compute capability that the package does not know.
        """
        for capability in self.compute_capabilities:
            if not api.builds_for_other_gpus:
                raise InputError(
                    f"{api.flavour} builds only for the GPU of this machine",
                    hint="leave out --compute-capability, or take --flavour tensorrt-rtx",
                )
            api.compute_capability(capability)
        return PlanKey(
            onnx_sha256=digest(onnx),
            flavour=api.flavour,
            version=api.version,
            precision=self.precision,
            profile=(1, self.typical_batch, self.max_batch),
            target=self._target(api),
        )

    def _target(self, api: Api) -> str:
        if self.compute_capabilities:
            members = {api.compute_capability(text).name for text in self.compute_capabilities}
            return " ".join(sorted(members)).lower()
        return ANY_RTX if api.builds_for_other_gpus else driver.device().title


def build(api: Api, onnx: bytes, recipe: Recipe, *, source: str = "the network") -> bytes:
    """Build a serialized plan; takes seconds (TensorRT-RTX) to minutes (TensorRT).

    Args:
        api: the package.
        onnx: the network; one input with a free batch dimension.
        recipe: what to build.
        source: the network's file, for messages.

    Raises:
        EngineError: the package cannot read the network, or it does not fit.
        BackendError: building failed.
    """
    trt = api.module
    api.logger.errors.clear()
    builder = trt.Builder(api.logger)
    network = builder.create_network(api.strongly_typed())
    _parse(api, network, onnx, source)
    config = builder.create_builder_config()
    change = config.clear_flag if recipe.precision == "fp32" else config.set_flag
    change(trt.BuilderFlag.TF32)
    if config.add_optimization_profile(batches(builder, network, recipe, source)) < 0:
        raise BackendError(f"{api.flavour} refused the batches of {source}: {_reason(api)}")
    if recipe.compute_capabilities:
        config.num_compute_capabilities = len(recipe.compute_capabilities)
        for index, text in enumerate(recipe.compute_capabilities):
            config.set_compute_capability(api.compute_capability(text), index)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(
            f"{api.flavour} {api.version} cannot build {source}: {_reason(api)}",
            hint="run again with --verbose for its messages",
        )
    return bytes(plan)


def _parse(api: Api, network: Any, onnx: bytes, source: str) -> None:
    parser = api.module.OnnxParser(network, api.logger)
    if not parser.parse(onnx):
        first = parser.get_error(0).desc() if parser.num_errors else _reason(api)
        raise EngineError(
            f"{source}: {api.flavour} cannot read the network: {first}",
            hint="import or export the engine again",
        )
    if not (network.num_inputs and network.num_outputs):
        raise EngineError(
            f"{source}: {api.flavour} cannot read the network: it is empty",
            hint="import or export the engine again",
        )


def batches(builder: Any, network: Any, recipe: Recipe, source: str) -> Any:
    """The `IOptimizationProfile` of a recipe: batches of 1, typical and largest.

    Raises:
        EngineError: an input has another free dimension than the batch.
    """
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        batch, *shape = tuple(tensor.shape)
        if batch != -1 or -1 in shape:
            raise EngineError(
                f"{source}: input {tensor.name} has shape {tuple(tensor.shape)}; the batch, and "
                "nothing else, must be free"
            )
        sizes = (1, recipe.typical_batch, recipe.max_batch)
        profile.set_shape(tensor.name, *((size, *shape) for size in sizes))
    return profile


def _reason(api: Api) -> str:
    return api.logger.errors[-1] if api.logger.errors else "it does not say why"
