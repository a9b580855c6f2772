"""The lanes of `_lanes` and `_lanes8` without a compiler, for where Numba is told not to compile.

The CUDA simulator runs its twins like that (`NUMBA_DISABLE_JIT`). Values are `(4,)` or `(8,)`
float32 arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def load4(array: Any, offset: int) -> Any:
    """Four float32 of an array, from an element on."""
    return array.reshape(-1)[offset : offset + 4].copy()


def load_bytes4(array: Any, offset: int) -> Any:
    """Four uint8 of an array, from an element on, as float32."""
    return array[offset : offset + 4].astype(np.float32)


def store4(array: Any, offset: int, value: Any) -> None:
    """Write all four lanes to a float32 array, from an element on."""
    array.reshape(-1)[offset : offset + 4] = value


def spread4(value: Any) -> Any:
    """One float32 in all four lanes."""
    return np.full(4, value, np.float32)


def pack4(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Four float32 side by side."""
    return np.array([a, b, c, d], np.float32)


def lane4(value: Any, lane: int) -> Any:
    """One lane, 0..3."""
    return value[lane]


def add4(first: Any, second: Any) -> Any:
    """Lane by lane `a + b`."""
    return first + second


def subtract4(first: Any, second: Any) -> Any:
    """`a - b`."""
    return first - second


def multiply4(first: Any, second: Any) -> Any:
    """`a * b`."""
    return first * second


def min4(first: Any, second: Any) -> Any:
    """The lesser of each lane; the second where one is NaN."""
    return np.where(first < second, first, second)


def max4(first: Any, second: Any) -> Any:
    """The greater of each lane; the second where one is NaN."""
    return np.where(first > second, first, second)


def spread8(value: Any) -> Any:
    """One float32 in all eight lanes."""
    return np.full(8, value, np.float32)


def ramp8() -> Any:
    """0, 1, ... 7."""
    return np.arange(8, dtype=np.float32)


def bilinear8(plane: Any, stride: int, x: Any, y: Any) -> Any:
    """Eight bilinear samples of a plane; see `_lanes8.bilinear8`."""
    column, row = x.astype(np.int64), y.astype(np.int64)
    place = row * stride + column
    return _mixed(plane, (place, place + 1), stride, x - column, y - row)


def bilinear_rgb8(pixels: Any, stride: int, x: Any, y: Any) -> Any:
    """Red, green and blue of eight bilinear samples of a picture; see `_lanes8.bilinear_rgb8`."""
    column, row = x.astype(np.int64), y.astype(np.int64)
    place, across, down = row * stride + 3 * column, x - column, y - row
    return tuple(
        _mixed(pixels, (place + colour, place + colour + 3), stride, across, down)
        for colour in range(3)
    )


def _mixed(pixels: Any, places: Any, stride: int, across: Any, down: Any) -> Any:
    v00, v01 = (pixels[place].astype(np.float32) for place in places)
    v10, v11 = (pixels[place + stride].astype(np.float32) for place in places)
    top, bottom = v00 + (v01 - v00) * across, v10 + (v11 - v10) * across
    return (top + (bottom - top) * down).astype(np.float32)


def store_colours8(array: Any, offset: int, red: Any, green: Any, blue: Any) -> None:
    """Write eight pixels of three colours to a float32 array, from an element on."""
    array.reshape(-1)[offset : offset + 24] = np.stack([red, green, blue], 1).ravel()


add8, multiply8, min8, max8 = add4, multiply4, min4, max4
