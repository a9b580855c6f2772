"""What a device chain computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamprn.engines.bundle import Bundle, Subdivision
    from streamprn.engines.protocol import CropRule, ScoreRule
    from streamprn.engines.topology import Topology


@dataclass(frozen=True)
class ChainSpec:
    """What a chain computes: the engine's data.

    Attributes:
        name: of the bundle.
        topology: see `Topology`.
        crop: how a face becomes the network's input.
        subdivision: the UV operator of a network that gives points, else None.
        unit: crop pixels per unit of a network that gives position maps.
        max_batch: faces of one batch.
        score: how the score of a face is made, or None for the network's own.
    """

    name: str
    topology: Topology
    crop: CropRule
    subdivision: Subdivision | None
    unit: float = 1.0
    max_batch: int = 8
    score: ScoreRule | None = None

    @classmethod
    def of_bundle(cls, bundle: Bundle, max_batch: int) -> ChainSpec:
        """The chain of an engine bundle.

        Raises:
            EngineError: the bundle is damaged.
        """
        topology = bundle.topology()
        points = bundle.decoder == "subdivision"
        subdivision = bundle.subdivision(topology) if points else None
        return cls(
            bundle.name,
            topology,
            bundle.crop,
            subdivision,
            bundle.output_scale,
            max_batch,
            bundle.score,
        )
