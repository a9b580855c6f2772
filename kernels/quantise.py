"""Vertices as 16-bit steps, for half the bytes on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.kernels._jit import as_points, cpu_loop
from streamprn.kernels.maths.quantise import (
    INFINITY,
    ZERO,
    counted,
    offset_of_range,
    scale_of_range,
    step_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def quantise(
    vertices: NDArray[np.float32],
) -> tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.float32]]:
    """Vertices as 16-bit steps: `vertex = scale * step + offset`, each axis of its own.

    Args:
        vertices: `(N, 3)` float32. Entries that are not finite count as 0.

    Returns:
        Steps `(N, 3)` int16, scale `(3,)` and offset `(3,)` float32; the error of an entry is at
        most half its scale, plus the rounding of float32.
    """
    vertices = as_points(vertices)
    steps = np.empty(vertices.shape, np.int16)
    scale, offset = np.empty(3, np.float32), np.empty(3, np.float32)
    _scale_and_offset(vertices, scale, offset)
    _quantise(vertices, scale, offset, steps)
    return steps, scale, offset


@cpu_loop()
def _scale_and_offset(vertices: Any, scale: Any, offset: Any) -> None:
    """Fill the scale and the offset of each axis, in one pass over the vertices."""
    low_x = low_y = low_z = INFINITY
    high_x = high_y = high_z = -INFINITY
    for n in range(vertices.shape[0]):
        x, y, z = counted(vertices[n, 0]), counted(vertices[n, 1]), counted(vertices[n, 2])
        low_x, high_x = min(low_x, x), max(high_x, x)
        low_y, high_y = min(low_y, y), max(high_y, y)
        low_z, high_z = min(low_z, z), max(high_z, z)
    if vertices.shape[0] == 0:
        low_x = low_y = low_z = high_x = high_y = high_z = ZERO
    scale[0], offset[0] = scale_of_range(low_x, high_x), offset_of_range(low_x, high_x)
    scale[1], offset[1] = scale_of_range(low_y, high_y), offset_of_range(low_y, high_y)
    scale[2], offset[2] = scale_of_range(low_z, high_z), offset_of_range(low_z, high_z)


@cpu_loop()
def _quantise(vertices: Any, scale: Any, offset: Any, steps: Any) -> None:
    """Fill the steps; scale and offset in registers, so that LLVM vectorises the loop."""
    scale_x, scale_y, scale_z = scale[0], scale[1], scale[2]
    offset_x, offset_y, offset_z = offset[0], offset[1], offset[2]
    for n in range(vertices.shape[0]):
        steps[n, 0] = step_of(vertices[n, 0], scale_x, offset_x)
        steps[n, 1] = step_of(vertices[n, 1], scale_y, offset_y)
        steps[n, 2] = step_of(vertices[n, 2], scale_z, offset_z)
