"""Vertices from int16 with a scale and an offset per axis: half the bytes of float32.

In NumPy, so that a subscriber needs no compiler. Arithmetic along an axis of three is slow there
(the inner loop has length three), so 64 vertices are taken as one row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 64


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
