"""Vertices as int16 with a scale and an offset per axis: half the bytes of float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LIMIT = 32767


def quantise(
    vertices: NDArray[np.float32],
) -> tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.float32]]:
    """Round vertices to 65,535 steps of each axis's range.

    Args:
        vertices: `(N, 3)` float32; values that are not finite count as 0.

    Returns:
        int16 `(N, 3)`, scale `(3,)` float32 and offset `(3,)` float32, so that
        `scale * q + offset` differs from the vertices by at most half a scale and the rounding
        of float32.
    """
    axes = np.ascontiguousarray(vertices.T, np.float32)
    if axes.size == 0:
        return np.zeros((0, 3), np.int16), np.ones(3, np.float32), np.zeros(3, np.float32)
    low, high = axes.min(axis=1), axes.max(axis=1)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        axes = np.where(np.isfinite(axes), axes, np.float32(0))
        low, high = axes.min(axis=1), axes.max(axis=1)
    # Halves first: high - low and high + low may overflow where the values themselves do not.
    offset = (0.5 * low + 0.5 * high).astype(np.float32)
    scale = ((0.5 * high - 0.5 * low) / _LIMIT).astype(np.float32)
    scale = np.where(scale > 0, scale, np.float32(1))
    steps = axes
    np.subtract(steps, offset[:, None], out=steps)
    np.divide(steps, scale[:, None], out=steps)
    np.rint(steps, out=steps)
    np.clip(steps, -_LIMIT, _LIMIT, out=steps)
    quantised = np.empty((axes.shape[1], 3), np.int16)
    quantised.T[:] = steps
    return quantised, scale, offset


def dequantise(
    quantised: NDArray[np.int16], scale: NDArray[np.float32], offset: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`scale * quantised + offset`: `(N, 3)` float32 from int16 `(N, 3)`."""
    vertices = quantised.astype(np.float32)
    vertices *= scale
    vertices += offset
    return vertices
