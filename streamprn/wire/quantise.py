"""Vertices as int16 with a scale and an offset per axis: half the bytes of float32.

In NumPy, so that a subscriber needs no compiler. Arithmetic along an axis of three is slow there
(the inner loop has length three), so 64 vertices are taken as one row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LIMIT = 32767
_BLOCK = 64


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
    if vertices.shape[0] == 0:
        return np.zeros((0, 3), np.int16), np.ones(3, np.float32), np.zeros(3, np.float32)
    steps = np.array(vertices, np.float32, order="C")
    low, high = _range(steps)
    if not np.isfinite([low, high]).all():
        steps[~np.isfinite(steps)] = 0
        low, high = _range(steps)
    # Halves first: high - low and high + low may overflow where the values themselves do not.
    offset = (0.5 * low + 0.5 * high).astype(np.float32)
    scale = ((0.5 * high - 0.5 * low) / np.float32(_LIMIT)).astype(np.float32)
    scale = np.where(scale > 0, scale, np.float32(1))
    for rows, times in _rows(steps):
        np.subtract(rows, np.tile(offset, times), out=rows)
        np.divide(rows, np.tile(scale, times), out=rows)
    np.rint(steps, out=steps)
    np.clip(steps, -_LIMIT, _LIMIT, out=steps)
    return steps.astype(np.int16), scale, offset


def dequantise(
    quantised: NDArray[np.int16], scale: NDArray[np.float32], offset: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`scale * quantised + offset`: `(N, 3)` float32 from int16 `(N, 3)`."""
    vertices = quantised.astype(np.float32, order="C")
    for rows, times in _rows(vertices):
        np.multiply(rows, np.tile(scale, times), out=rows)
        np.add(rows, np.tile(offset, times), out=rows)
    return vertices


def _rows(vertices: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.float32], int]]:
    """C-ordered `(N, 3)` as a view `(N // 64, 192)` and the rest as `(N % 64, 3)`."""
    whole = vertices.shape[0] // _BLOCK * _BLOCK
    yield vertices[:whole].reshape(-1, 3 * _BLOCK), _BLOCK
    yield vertices[whole:], 1


def _range(vertices: NDArray[np.float32]) -> tuple[Any, Any]:
    """The lowest and the highest of each axis, `(3,)` float32 each; NaN where there is one."""
    found = [rows for rows, _ in _rows(vertices) if rows.size]
    low = np.concatenate([rows.min(axis=0).reshape(-1, 3) for rows in found])
    high = np.concatenate([rows.max(axis=0).reshape(-1, 3) for rows in found])
    return low.min(axis=0), high.max(axis=0)
