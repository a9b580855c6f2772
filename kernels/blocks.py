"""Sums of square blocks of a plane: what tells a picture that stands still from one that moves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.kernels._jit import cpu_loop, frozen, output, scratch
from streamprn.kernels.warp import whole_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Pixels along the side of a block: the noise of its mean is an eighth of that of a pixel.
SIDE = 8


def sums(
    plane: NDArray[np.uint8],
    x: int,
    y: int,
    shape: tuple[int, int],
    out: NDArray[np.int32] | None = None,
) -> NDArray[np.int32]:
    """Sums of blocks of 8 x 8 pixels.

    Args:
        plane: `(H, W)` uint8, rows may be padded.
        x: column of the first block's first pixel.
        y: its row.
        shape: blocks down and across; all must lie within the plane.
        out: of this shape, int32, C order, or None.

    Returns:
        `out`, grey levels, 0 to 64 * 255.

    Raises:
        ValueError: a block lies outside the plane.
    """
    down, across = shape
    height, width = plane.shape
    inside = x >= 0 and y >= 0 and x + SIDE * across <= width and y + SIDE * down <= height
    if not inside:
        raise ValueError(f"{down} x {across} blocks at {x}, {y} leave the {width}x{height} plane")
    out = output(out, (down, across), np.int32)
    # Eight rows of up to 255 fit: twice as many are added at once as of wider numbers.
    columns = scratch("columns of blocks", (SIDE * across,), np.uint16)
    _sums(whole_rows(plane), x, y, columns, out)
    return out


@cpu_loop()
def _sums(plane: Any, x: Any, y: Any, columns: Any, out: Any) -> None:
    count = columns.shape[0]
    for block_row in range(out.shape[0]):
        first = y + SIDE * block_row
        # Along the rows, so that the compiler adds many pixels at once.
        pixels = plane[first, x : x + count]
        for k in range(count):
            columns[k] = pixels[k]
        for row in range(first + 1, first + SIDE):
            pixels = plane[row, x : x + count]
            for k in range(count):
                columns[k] += pixels[k]
        for block in range(out.shape[1]):
            total = np.int32(0)
            for value in columns[SIDE * block : SIDE * (block + 1)]:
                total += np.int32(value)
            out[block_row, block] = total


def change(before: NDArray[np.int32], now: NDArray[np.int32]) -> tuple[int, float]:
    """How much the sums of blocks have changed.

    Args:
        before: `(rows, columns)` int32, at least one; of `sums`.
        now: the same blocks of another picture.

    Returns:
        The largest difference of a block, and the contrast: the standard deviation of `before`.

    Raises:
        ValueError: the shapes differ, or there is no block.
    """
    if before.shape != now.shape or not before.size:
        raise ValueError(f"blocks of shapes {before.shape} and {now.shape}")
    largest, spread = _change(frozen(before), frozen(now))
    return largest, spread


@cpu_loop()
def _change(before: Any, now: Any) -> Any:
    largest = total = np.int64(0)
    for row in range(before.shape[0]):
        for column in range(before.shape[1]):
            value = np.int64(before[row, column])
            largest = max(largest, abs(np.int64(now[row, column]) - value))
            total += value
    mean, squares = total / before.size, 0.0
    for row in range(before.shape[0]):
        for column in range(before.shape[1]):
            off = before[row, column] - mean
            squares += off * off
    return largest, math.sqrt(squares / before.size)
