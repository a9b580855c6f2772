"""TensorRT on an NVIDIA GPU, from a plan that is built at first use and kept."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.engines.cuda import driver
from streamprn.engines.tensorrt import api as packages
from streamprn.engines.tensorrt.build import Recipe, build
from streamprn.engines.tensorrt.plans import Plan, PlanStore
from streamprn.errors import BackendError, EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from streamprn.engines.runtimes.spec import NetworkSpec
    from streamprn.engines.tensorrt.api import Api


def unusable() -> str:
    """Why TensorRT cannot be used here, or an empty string."""
    if not packages.installed():
        return "neither of the packages tensorrt and tensorrt-rtx is installed"
    try:
        driver.device()
    except BackendError as error:
        return error.what
    return ""


def open_runtime(network: NetworkSpec) -> TensorRtRuntime:
    """Load the network's plan, building it first where there is none or an unfit one."""
    api = packages.load(packages.installed()[0])
    plan = obtain_plan(api, network.name, network.networks, recipe_for(network))[0]
    return TensorRtRuntime(api, plan)


def recipe_for(network: NetworkSpec) -> Recipe:
    """Half precision where the bundle has it, else TF32; what was asked for goes first."""
    precision, _ = network.file("fp16")
    if precision == "fp32" and network.precision is None:
        precision = "tf32"
    return Recipe(precision=precision, max_batch=network.max_batch)


def obtain_plan(
    api: Api,
    name: str,
    networks: Mapping[str, Any],
    recipe: Recipe,
    *,
    store: PlanStore | None = None,
    exact: bool = False,
    rebuild: bool = False,
) -> tuple[Plan, str]:
    """The plan of a recipe from the store, and why it was built (empty: it was there).

    Args:
        api: the package.
        name: of the engine.
        networks: its ONNX file by precision.
        recipe: what to build.
        store: where plans are kept.
        exact: whether a plan for larger batches, or for named GPUs of which this is one, will not
            do.
        rebuild: whether to build it even if there is a good one.

    Raises:
        EngineError: the network is missing or cannot be read.
        BackendError: building failed.
    """
    path = recipe.network(name, networks)
    try:
        onnx = path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path}: {error.strerror or error}") from error
    key = recipe.key(api, onnx)
    store = store or PlanStore()
    if not (exact or rebuild) and (plan := store.ready(name, key, _architecture())):
        return plan, ""
    return store.obtain(
        name, key, lambda: build(api, onnx, recipe, source=str(path)), rebuild=rebuild
    )


def _architecture() -> str:
    try:
        return driver.device().architecture
    except BackendError:
        return ""


class TensorRtNetwork:
    """A deserialized plan with one execution context: device memory in, device memory out.

    Attributes:
        inputs: shape by name, -1 for the batch.
        outputs: the same.
        max_batch: the largest batch of its profile.
    """

    def __init__(self, api: Api, plan: Plan) -> None:
        trt = api.module
        driver.driver().make_current()
        self._runtime = trt.Runtime(api.logger)
        api.logger.errors.clear()
        self._engine = self._runtime.deserialize_cuda_engine(plan.data)
        if self._engine is None:
            reason = api.logger.errors[-1] if api.logger.errors else "it does not say why"
            raise BackendError(
                f"{api.flavour} {api.version} does not accept its plan: {reason}",
                hint="build it again: streamprn engine build --rebuild",
            )
        self._trt = trt
        self._context = self._new_context()
        self._batch = 0
        self.max_batch = plan.key.profile[2]
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.outputs: dict[str, tuple[int, ...]] = {}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            is_input = self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            if self._engine.get_tensor_dtype(name) != trt.DataType.FLOAT:
                raise EngineError(f"tensor {name} of the plan is not float32")
            shapes = self.inputs if is_input else self.outputs
            shapes[name] = tuple(self._engine.get_tensor_shape(name))

    def another(self) -> TensorRtNetwork:
        """The same plan and weights with an execution context of its own."""
        twin = copy.copy(self)
        twin._context = self._new_context()
        twin._batch = 0
        return twin

    def _new_context(self) -> Any:
        context = self._engine.create_execution_context(*self._settings())
        if context is None:
            raise BackendError(
                "TensorRT made no execution context: the GPU may be out of memory",
                hint="end other programs on the GPU, or lower engine.max_batch",
            )
        return context

    def _settings(self) -> tuple[Any, ...]:
        """Let TensorRT-RTX compile for a batch size when it meets it, not later in the background.

        A CUDA graph would keep the general kernels that run until then.
        """
        strategies = getattr(self._trt, "DynamicShapesKernelSpecializationStrategy", None)
        if strategies is None:
            return ()
        config = self._engine.create_runtime_config()
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        return (config,)

    def enqueue(self, addresses: Mapping[str, int], batch: int, stream: int) -> None:
        """Put one inference into a CUDA stream.

        Args:
            addresses: device address of every input and output, float32, C order.
            batch: how many pictures there are, 1 to `max_batch`.
            stream: handle of the stream.

        Raises:
            BackendError: TensorRT refused it.
        """
        if batch != self._batch:
            for name, shape in self.inputs.items():
                self._check(self._context.set_input_shape(name, (batch, *shape[1:])), name)
            self._batch = batch
        for name, address in addresses.items():
            self._check(self._context.set_tensor_address(name, address), name)
        self._check(self._context.execute_async_v3(stream), "execution")

    @staticmethod
    def _check(good: bool, what: str) -> None:
        if not good:
            raise BackendError(f"TensorRT refused {what}")


class TensorRtRuntime:
    """A plan behind `protocol.Runtime`: host arrays in, host arrays out.

    Copies go through page-locked buffers on a stream of its own; the buffers are made once, for
    the largest batch.
    """

    on_gpu = True

    def __init__(self, api: Api, plan: Plan) -> None:
        self._driver = driver.driver()
        self._driver.make_current()
        self.network = TensorRtNetwork(api, plan)
        self.description = (
            f"{api.flavour} {api.version}, {driver.device().title}, {plan.key.precision}"
        )
        self._stream = self._driver.stream()
        self._host: dict[str, NDArray[np.float32]] = {}
        self._device: dict[str, int] = {}
        for name, shape in (self.network.inputs | self.network.outputs).items():
            full = (self.network.max_batch, *shape[1:])
            self._host[name] = self._driver.pinned(full)
            self._device[name] = self._driver.allocate(4 * math.prod(full))

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The network's outputs by name; views that the next call overwrites."""
        self._driver.make_current()
        count = batch.shape[0]
        (name,) = self.network.inputs
        staged = self._host[name][:count]
        np.copyto(staged, batch)
        self._driver.upload(self._device[name], staged, self._stream)
        self.network.enqueue(self._device, count, self._stream)
        outputs = {name: self._host[name][:count] for name in self.network.outputs}
        for name, array in outputs.items():
            self._driver.download(array, self._device[name], self._stream)
        self._driver.synchronize(self._stream)
        return outputs

    def close(self) -> None:
        """Free its memory; the runtime cannot be used after."""
        self._driver.make_current()
        while self._device:
            self._driver.free(self._device.popitem()[1])
        while self._host:
            self._driver.free_pinned(self._host.popitem()[1])
        if self._stream:
            self._driver.destroy_stream(self._stream)
            self._stream = 0
