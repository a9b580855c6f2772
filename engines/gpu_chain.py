"""The device chain on an NVIDIA GPU, its network in TensorRT."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from streamprn.engines import registry
from streamprn.engines.blendshapes import SharedBlendshapes
from streamprn.engines.cuda.gpu import Gpu, address
from streamprn.engines.device.chain import DeviceChain
from streamprn.engines.device.predict import DevicePredictor
from streamprn.engines.device.spec import ChainSpec
from streamprn.engines.runtimes import tensorrt
from streamprn.engines.runtimes.spec import NetworkSpec
from streamprn.engines.tensorrt import api as packages
from streamprn.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamprn.config import EngineConfig
    from streamprn.engines.bundle import Bundle
    from streamprn.engines.predict import RefineRule

log = logging.getLogger("streamprn.engines.tensorrt")


class ChainNetwork:
    """A TensorRT execution context as a `streamprn.engines.device.contract.Network`."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self.inputs: Mapping[str, tuple[int, ...]] = network.inputs
        self.outputs: Mapping[str, tuple[int, ...]] = network.outputs

    def enqueue(self, arrays: Mapping[str, Any], batch: int, stream: Any) -> None:
        """See `Network`."""
        addresses = {name: address(array) for name, array in arrays.items()}
        self._network.enqueue(addresses, batch, stream.handle)


def open_chain(
    bundle: Bundle,
    *,
    max_batch: int = 8,
    precision: str | None = None,
    timed: bool = False,
    texture_size: int = 256,
) -> DeviceChain:
    """The device chain of an engine, its plan built where there is none yet.

    Args:
        bundle: of the engine.
        max_batch: the most faces of one batch.
        precision: "fp32", "fp16", or None for the runtime's choice.
        timed: see `DeviceChain`.
        texture_size: T, side of textures in texels.

    Raises:
        BackendError: something of the GPU path is missing or failed; the message says what.
        EngineError: the bundle is damaged.
    """
    if reason := tensorrt.unusable():
        raise BackendError(reason, hint="use --backend openvino")
    gpu = Gpu()
    try:
        api = packages.load(packages.installed()[0])
        network = NetworkSpec.of_bundle(bundle, max_batch=max_batch, precision=precision)
        recipe = tensorrt.recipe_for(network)
        plan, _ = tensorrt.obtain_plan(api, bundle.name, bundle.networks, recipe)
        spec = ChainSpec.of_bundle(bundle, max_batch)
        with gpu.current():
            first = tensorrt.TensorRtNetwork(api, plan)
    except BaseException:
        gpu.close()
        raise
    return DeviceChain(
        gpu,
        spec,
        lambda: ChainNetwork(first.another()),
        timed=timed,
        texture_size=texture_size,
        network=f"{api.flavour} {api.version}, {plan.key.precision}",
    )


def open_device_predictor(
    settings: EngineConfig, refine: RefineRule, texture_size: int = 256
) -> DevicePredictor | None:
    """Open an engine's device chain and warm it up.

    Args:
        settings: name, batch, precision, and whether the device times its stages.
        refine: see `RefineRule`.
        texture_size: T, side of UV textures in texels.

    Returns:
        None where TensorRT cannot be used at all, which `open_engine` says as well; and where it
        can, but not in the chain: a line in the log says why.

    Raises:
        EngineError: there is no such engine, or it is damaged.
    """
    bundle = registry.find(settings.name)
    if tensorrt.unusable():
        return None
    chain: DeviceChain | None = None
    try:
        chain = open_chain(
            bundle,
            max_batch=settings.max_batch,
            precision=settings.precision,
            timed=settings.device_times,
            texture_size=texture_size,
        )
        chain.warm_up()
    except BackendError as error:
        if chain is not None:
            chain.close()
        log.warning("not everything stays on the GPU, the network alone runs there: %s", error)
        return None
    bundle.log_notice()
    return DevicePredictor(chain, refine, texture_size, SharedBlendshapes())
