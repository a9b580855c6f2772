"""From a network's outputs to the surfaces of faces, in crop pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from streamprn.engines.surfaces import ControlLayout, ControlSurface, MapLayout, MapSurface
from streamprn.engines.topology import UV_SIZE
from streamprn.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from streamprn.engines.bundle import Bundle, Subdivision
    from streamprn.engines.protocol import Surface
    from streamprn.engines.topology import Topology

    Outputs = Mapping[str, NDArray[np.float32]]


# From the network's axes to those of a surface.
SCALE = np.array([1, 1, -1], np.float32)
CENTRE = np.array([0.5, 0.5, 0], np.float32)


class Decoder(Protocol):
    """Turns what a network says of B crops into surfaces and scores."""

    def decode(self, outputs: Outputs, count: int) -> tuple[Sequence[Surface], NDArray[np.float32]]:
        """The faces of `count` crops, which own their data, and `(count,)` scores."""


class SubdivisionDecoder:
    """P points of a coarse mesh, and an operator that interpolates them over the UV plane.

    The network gives `points` `(B, P or more, 3)` in crop pixels with the crop's corner, not the
    centre of its first pixel, at 0, and z growing away from the camera; and `logit` `(B,)` of the
    face probability; perhaps `tongue` `(B,)` as well, the probability that the tongue is put out.
    Points beyond P, as irises, do not take part in the mesh.
    """

    def __init__(self, subdivision: Subdivision, topology: Topology) -> None:
        self._subdivision = subdivision
        self._layout = ControlLayout(subdivision.operator, topology)

    def decode(self, outputs: Outputs, count: int) -> tuple[Sequence[Surface], NDArray[np.float32]]:
        """See `Decoder.decode`."""
        from streamprn.kernels import uv

        shape = (count, self._subdivision.starts.shape[0], 3)
        points = _output(outputs, "points", shape, or_more=True) * SCALE - CENTRE
        control = uv.control_points(self._subdivision.correct(points), self._layout.operator)
        logits = _output(outputs, "logit", (count,)).tolist()
        scores = np.array([probability(logit) for logit in logits], np.float32)
        tongues = outputs["tongue"].tolist() if "tongue" in outputs else [0.0] * count
        # A copy each: a surface outlives its batch, and shall not keep the others alive.
        if count == 1:
            return [ControlSurface(control[0], self._layout, points[0], tongues[0])], scores
        faces = [
            ControlSurface(face.copy(), self._layout, own.copy(), tongue)
            for face, own, tongue in zip(control, points, tongues, strict=True)
        ]
        return faces, scores


def probability(logit: float) -> float:
    """The logistic function; NaN for NaN."""
    return 1 / (1 + math.exp(-min(max(logit, -60.0), 60.0)))


class PositionMapDecoder:
    """A network that gives the position map itself, in units of `scale` crop pixels."""

    def __init__(self, topology: Topology, scale: float) -> None:
        self._factor = np.float32(scale) * topology.mask[:, :, None].astype(np.float32)
        self._layout = MapLayout(topology)

    def decode(self, outputs: Outputs, count: int) -> tuple[Sequence[Surface], NDArray[np.float32]]:
        """See `Decoder.decode`."""
        found = _output(outputs, next(iter(outputs)), (count, UV_SIZE, UV_SIZE, 3))
        faces = [MapSurface(face * self._factor, self._layout) for face in found]
        return faces, np.full(count, np.nan, np.float32)


def _output(
    outputs: Outputs, name: str, shape: tuple[int, ...], *, or_more: bool = False
) -> NDArray[np.float32]:
    """One output of the network, of the shape that the decoder needs.

    With `or_more` its second dimension may be larger.
    """
    given = outputs[name].shape if name in outputs else ()
    if or_more and len(given) == len(shape):
        given = (given[0], min(given[1], shape[1]), *given[2:])
    if given != shape:
        found = ", ".join(f"{key} {value.shape}" for key, value in outputs.items())
        raise EngineError(
            f"the network gives {found}, not {name} {shape}",
            hint="its manifest names another decoder or operator than it was made for",
        )
    return outputs[name]


def open_decoder(bundle: Bundle, topology: Topology) -> Decoder:
    """The decoder that the bundle's manifest names."""
    if bundle.decoder == "subdivision":
        return SubdivisionDecoder(bundle.subdivision(topology), topology)
    if bundle.decoder == "position-map":
        return PositionMapDecoder(topology, bundle.output_scale)
    raise EngineError(f"engine {bundle.name}: there is no decoder {bundle.decoder!r}")
