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


@maths
def row_lies_inside(
    m: Array, r: Integer, count: Integer, width: Integer, height: Integer, margin: Real
) -> bool:
    """Whether all samples of a crop row lie at least `margin` pixels inside the image.

    Args:
        m: `(2, 3)` float32, crop pixel to frame pixel.
        r: the row.
        count: pixels of the row.
        width: of the image, pixels.
        height: of the image, pixels.
        margin: pixels, float32.
    """
    first, last = -HALF, np.float32(count) - HALF
    low_x = low_y = np.float32(np.inf)
    high_x = high_y = np.float32(-np.inf)
    for corner in range(4):
        u = last if corner & 1 else first
        v = np.float32(r) + (HALF if corner & 2 else -HALF)
        x = apply_row(m[0, 0], m[0, 1], m[0, 2], u, v)
        y = apply_row(m[1, 0], m[1, 1], m[1, 2], u, v)
        low_x, high_x = min(low_x, x), max(high_x, x)
        low_y, high_y = min(low_y, y), max(high_y, y)
    right, bottom = np.float32(width - 1) - margin, np.float32(height - 1) - margin
    return bool(low_x >= margin and low_y >= margin and high_x < right and high_y < bottom)
