"""Affine maps of the plane, as `(2, 3)` matrices."""

from __future__ import annotations

import math

import numpy as np

from streamprn.kernels._jit import maths
from streamprn.kernels.maths import Array, Integer, Real

MAX_TAPS = 4
ONE = np.float32(1.0)
HALF = np.float32(0.5)
# Pixels; a coordinate beyond is no picture's, and its products still fit a float32.
LIMIT = np.float32(1e9)


@maths
def apply_row(a: Real, b: Real, c: Real, u: Real, v: Real) -> Real:
    """One row of the map: `a u + b v + c`."""
    return a * u + b * v + c


@maths
def finite_or_zero(value: Real) -> Real:
    """`value`, or 0 where it is NaN, infinite or beyond `LIMIT`."""
    return value if abs(value) < LIMIT else np.float32(0.0)


@maths
def scale_of(a: Real, b: Real, c: Real, d: Real) -> Real:
    """The scale of the similarity `[[a, b], [c, d]]`: the root of its determinant."""
    return math.sqrt(abs(a * d - b * c))


@maths
def taps_along(dx: Real, dy: Real) -> Integer:
    """Samples per output pixel along an axis whose unit step moves `(dx, dy)` input pixels."""
    step = math.sqrt(dx * dx + dy * dy)
    if not (step > ONE):
        return 1
    if step > np.float32(MAX_TAPS):
        return MAX_TAPS
    return int(step + HALF)


@maths
def tap_offset(index: Integer, taps: Integer) -> Real:
    """Where sample `index` of `taps` stands within its pixel, -0.5..0.5."""
    return (np.float32(index) + HALF) / np.float32(taps) - HALF


@maths
def finite_affine(matrix: Array, k: Integer) -> bool:
    """Whether every entry of the k-th matrix of `(B, 2, 3)` is finite and within `LIMIT`."""
    for row in range(2):
        for column in range(3):
            if not (abs(matrix[k, row, column]) < LIMIT):
                return False
    return True
