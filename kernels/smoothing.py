"""The One Euro filter over all vertices of a face."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.kernels._jit import cpu_loop, maths

if TYPE_CHECKING:
    from numpy.typing import NDArray


@maths
def low_pass_weight(cutoff_hz: Any, dt_s: Any) -> Any:
    """Weight of a new value in an exponential filter: `1 / (1 + tau / dt)`, tau = 1 / (2 pi f)."""
    r = 2.0 * math.pi * cutoff_hz * dt_s
    return r / (r + 1.0)


@cpu_loop(fastmath=True)
def _one_euro(
    vertices: Any,
    state: Any,
    velocity: Any,
    dt_s: Any,
    min_cutoff_hz: Any,
    beta_per_px: Any,
    derivative_cutoff_hz: Any,
) -> None:
    weight_v = np.float32(low_pass_weight(derivative_cutoff_hz, dt_s))
    inverse_dt = np.float32(1.0 / dt_s)
    for i in range(vertices.shape[0]):
        square = np.float32(0.0)
        for axis in range(3):
            speed = (vertices[i, axis] - state[i, axis]) * inverse_dt
            smooth = velocity[i, axis] + weight_v * (speed - velocity[i, axis])
            velocity[i, axis] = smooth
            square += smooth * smooth
        cutoff = np.float32(min_cutoff_hz) + np.float32(beta_per_px) * math.sqrt(square)
        weight = np.float32(low_pass_weight(cutoff, dt_s))
        for axis in range(3):
            state[i, axis] += weight * (vertices[i, axis] - state[i, axis])
            vertices[i, axis] = state[i, axis]


def one_euro(
    vertices: NDArray[np.float32],
    state: NDArray[np.float32],
    velocity: NDArray[np.float32],
    *,
    dt_s: float,
    min_cutoff_hz: float,
    beta_per_px: float,
    derivative_cutoff_hz: float,
) -> None:
    """Filter `vertices` in place (Casiez, Roussel, Vogel: 1 Euro filter, CHI 2012).

    The speed of a vertex is the length of its filtered velocity, so that the filter does not
    depend on the direction of the axes.

    Args:
        vertices: `(N, 3)` float32, pixels; overwritten by the filtered ones.
        state: `(N, 3)` float32, the last filtered vertices; overwritten.
        velocity: `(N, 3)` float32, pixels per second, the filtered velocity; overwritten.
        dt_s: seconds since the last frame, > 0.
        min_cutoff_hz: cut-off frequency of a vertex at rest.
        beta_per_px: growth of the cut-off, Hz per (pixel per second).
        derivative_cutoff_hz: cut-off frequency of the velocity.
    """
    _one_euro(vertices, state, velocity, dt_s, min_cutoff_hz, beta_per_px, derivative_cutoff_hz)
