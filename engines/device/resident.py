"""An engine whose faces stay on the GPU: the device chain as the pipeline takes it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamprn.engines import registry
from streamprn.errors import BackendError

if TYPE_CHECKING:
    import os

    from streamprn.engines.device.chain import DeviceChain
    from streamprn.engines.protocol import CropRule
    from streamprn.engines.topology import Topology

log = logging.getLogger("streamprn.engines.device")


@dataclass(frozen=True, slots=True)
class ResidentEngine:
    """Looks at frames, not at crops; otherwise like `streamprn.engines.protocol.Engine`.

    Attributes:
        chain: see `DeviceChain`.
    """

    chain: DeviceChain

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.chain.spec.name

    @property
    def topology(self) -> Topology:
        """The meaning of its vertices."""
        return self.chain.spec.topology

    @property
    def crop(self) -> CropRule:
        """How it cuts the network's input."""
        return self.chain.spec.crop

    @property
    def backend(self) -> str:
        """What runs it, in words."""
        return self.chain.backend

    @property
    def max_batch(self) -> int:
        """The most faces of one batch."""
        return self.chain.max_batch

    def warm_up(self) -> None:
        """See `DeviceChain.warm_up`."""
        self.chain.warm_up()

    def close(self) -> None:
        """See `DeviceChain.close`."""
        self.chain.close()


def open_resident_engine(
    name: str | os.PathLike[str],
    *,
    max_batch: int = 8,
    precision: str | None = None,
    timed: bool = False,
    texture_size: int = 256,
) -> ResidentEngine | None:
    """Open an engine's device chain and warm it up.

    Args:
        name: see `registry.find`.
        max_batch: the most faces of one batch.
        precision: "fp32", "fp16", or None for the runtime's choice.
        timed: measure the stages with the device's own clock.
        texture_size: T, side of UV textures in texels.

    Returns:
        None where TensorRT cannot be used at all, which `open_engine` says as well; and where it
        can, but not in the chain: a line in the log says why.

    Raises:
        EngineError: there is no such engine, or it is damaged.
    """
    from streamprn.engines.device.gpu import open_chain
    from streamprn.engines.runtimes import tensorrt

    bundle = registry.find(name)
    if tensorrt.unusable():
        return None
    chain: DeviceChain | None = None
    try:
        chain = open_chain(
            bundle,
            max_batch=max_batch,
            precision=precision,
            timed=timed,
            texture_size=texture_size,
        )
        chain.warm_up()
    except BackendError as error:
        if chain is not None:
            chain.close()
        log.warning("not everything stays on the GPU, the network alone runs there: %s", error)
        return None
    bundle.log_notice()
    return ResidentEngine(chain)
