"""From a network's outputs to position maps in crop pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from streamprn.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from streamprn.engines.bundle import Bundle, Subdivision
    from streamprn.engines.topology import Topology

    Outputs = Mapping[str, NDArray[np.float32]]


class Decoder(Protocol):
    """Turns what a network says of B crops into maps and scores."""

    def decode(self, outputs: Outputs, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Fill `maps` `(B, 256, 256, 3)` as `protocol.Inference` says; return `(B,)` scores."""


class SubdivisionDecoder:
    """P points of a coarse mesh, and an operator that interpolates them over the UV plane.

    The network gives `points` `(B, P, 3)` in crop pixels with the crop's corner, not the centre of
    its first pixel, at 0, and z growing away from the camera; and `logit` `(B,)` of the face
    probability.
    """

    def __init__(self, subdivision: Subdivision) -> None:
        self._subdivision = subdivision

    def decode(self, outputs: Outputs, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Decoder.decode`."""
        from streamprn.kernels import uv

        shape = (maps.shape[0], self._subdivision.starts.shape[0], 3)
        points = _output(outputs, "points", shape) * np.array([1, 1, -1], np.float32)
        points[:, :, :2] -= np.float32(0.5)
        control = self._subdivision.correct(points)
        uv.subdivide(control, self._subdivision.operator, out=maps)
        logits = np.clip(_output(outputs, "logit", (maps.shape[0],)), -60, 60)
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


class PositionMapDecoder:
    """A network that gives the position map itself, in units of `scale` crop pixels."""

    def __init__(self, topology: Topology, scale: float) -> None:
        self._factor = np.float32(scale) * topology.mask[None, :, :, None].astype(np.float32)

    def decode(self, outputs: Outputs, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Decoder.decode`."""
        found = _output(outputs, next(iter(outputs)), maps.shape)
        np.multiply(found, self._factor, out=maps)
        return np.full(maps.shape[0], np.nan, np.float32)


def _output(outputs: Outputs, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """One output of the network, of the shape that the decoder needs."""
    if name not in outputs or outputs[name].shape != shape:
        found = ", ".join(f"{key} {value.shape}" for key, value in outputs.items())
        raise EngineError(
            f"the network gives {found}, not {name} {shape}",
            hint="its manifest names another decoder or operator than it was made for",
        )
    return outputs[name]


def open_decoder(bundle: Bundle, topology: Topology) -> Decoder:
    """The decoder that the bundle's manifest names."""
    if bundle.decoder == "subdivision":
        return SubdivisionDecoder(bundle.subdivision(topology))
    if bundle.decoder == "position-map":
        return PositionMapDecoder(topology, bundle.output_scale)
    raise EngineError(f"engine {bundle.name}: there is no decoder {bundle.decoder!r}")
