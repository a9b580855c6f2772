"""`kernels._lanes` without a compiler: what the CPU loops call where Numba is told not to compile.

The CUDA simulator runs its twins like that (`NUMBA_DISABLE_JIT`). Values are `(4,)` float32 arrays.
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


def load_square4(array: Any, offset: int, stride: int) -> Any:
    """Two neighbours in a row of uint8 and the two below them, `stride` further, as float32."""
    below = offset + stride
    return np.concatenate([array[offset : offset + 2], array[below : below + 2]]).astype(np.float32)


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


def sum4(value: Any) -> Any:
    """The sum of all lanes."""
    return value.sum()


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
