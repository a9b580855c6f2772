"""Affine maps of the plane, as `(2, 3)` matrices."""

from __future__ import annotations

import math

import numpy as np

from streamprn.kernels._jit import inner, maths
from streamprn.kernels.maths import Array, Integer, Real

MAX_TAPS = 4
ONE = np.float32(1.0)
HALF = np.float32(0.5)
# Input pixels: the width of a bilinear sample, and the longest step that takes a single one.
REACH = np.float32(2.0)
SINGLE = np.float32(1.5)
# Pixels; a coordinate beyond is no picture's, and its products still fit a float32.
LIMIT = np.float32(1e9)
# Frame pixels; with larger steps the rounding of a coordinate may be worth as much as a margin.
COARSE = np.float32(16.0)
# Pixels; more than a coordinate of a picture is rounded by: what was found inside stays inside.
ROUNDING = np.float32(1 / 64)


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
def _taps_of(step: Real, single: Real) -> Integer:
    """Samples for a step that takes one up to `single`, and then one for each `REACH` of it."""
    if not (step > single):
        return 1
    if step > REACH * np.float32(MAX_TAPS):
        return MAX_TAPS
    return max(2, math.ceil(step / REACH))


@maths
def taps_along(dx: Real, dy: Real) -> Integer:
    """Samples per output pixel along an axis whose unit step moves `(dx, dy)` input pixels.

    A bilinear sample is two input pixels wide: samples that far apart miss none. One sample alone
    is kept to 1.5 pixels, where it is as far from the mean over the step as two are at 4.
    """
    return _taps_of(math.sqrt(dx * dx + dy * dy), SINGLE)


@maths
def chroma_taps_along(dx: Real, dy: Real) -> Integer:
    """`taps_along` for planes of half the size, which hold little that is finer than a sample."""
    return _taps_of(HALF * math.sqrt(dx * dx + dy * dy), REACH)


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


@inner()
def columns_lie_inside(
    m: Array,
    r: Integer,
    begin: Integer,
    end: Integer,
    width: Integer,
    height: Integer,
    margin: Real,
) -> bool:
    """Whether all samples of columns `begin..end - 1` of a crop row lie inside the image.

    Args:
        m: `(2, 3)` float32, crop pixel to frame pixel.
        r: the row.
        begin: the first column.
        end: behind the last one.
        width: of the image, pixels.
        height: of the image, pixels.
        margin: pixels that they keep from its edge, float32.
    """
    first, last = np.float32(begin) - HALF, np.float32(end) - HALF
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


@inner()
def pixels_within(
    a: Real, b: Real, c: Real, v: Real, low: Real, high: Real, count: Integer
) -> tuple[int, int]:
    """Where along a crop row one frame coordinate of whole pixels stays between two bounds.

    Args:
        a: with `b` and `c` the map's row of that coordinate.
        b: see `a`.
        c: see `a`.
        v: the crop row.
        low: bounds of the coordinate, float32.
        high: see `low`.
        count: pixels of the row.

    Returns:
        The first column and the one behind the last, `begin >= end` where there is none; about
        right, to a rounding.
    """
    reach = HALF * (abs(a) + abs(b))
    start = b * v + c
    low, high = low + reach - start, high - reach - start
    if abs(a) < np.float32(1e-6):
        return (0, count) if low <= np.float32(0.0) <= high else (0, 0)
    if a < np.float32(0.0):
        low, high = high, low
    most = np.float32(count)
    begin = min(max(low / a, np.float32(0.0)), most)
    behind = min(max(high / a + ONE, np.float32(0.0)), most)
    return math.ceil(begin), math.floor(behind)


@maths
def largest_step(m: Array) -> Real:
    """The largest step of a frame coordinate from one crop pixel to the next, frame pixels."""
    steps_x = max(abs(m[0, 0]), abs(m[0, 1]))
    steps_y = max(abs(m[1, 0]), abs(m[1, 1]))
    return max(steps_x, steps_y)


@inner()
def columns_inside(
    m: Array, r: Integer, count: Integer, width: Integer, height: Integer, margin: Real
) -> tuple[int, int]:
    """The columns of a crop row whose samples all lie inside the image.

    Args:
        m: `(2, 3)` float32, crop pixel to frame pixel.
        r: the row.
        count: pixels of the row.
        width: of the image, pixels.
        height: of the image, pixels.
        margin: pixels that they keep from its edge, float32.

    Returns:
        The first one and the one behind the last; `begin >= end` where there is none. One at an
        end may be left out.
    """
    if columns_lie_inside(m, r, 0, count, width, height, margin):
        return 0, count
    if not (largest_step(m) < COARSE):
        return 0, 0
    v, low = np.float32(r), margin + ROUNDING
    right, bottom = np.float32(width - 1) - low, np.float32(height - 1) - low
    begin_x, end_x = pixels_within(m[0, 0], m[0, 1], m[0, 2], v, low, right, count)
    begin_y, end_y = pixels_within(m[1, 0], m[1, 1], m[1, 2], v, low, bottom, count)
    begin, end = max(begin_x, begin_y), min(end_x, end_y)
    if begin < end and columns_lie_inside(m, r, begin, end, width, height, margin):
        return begin, end
    return 0, 0


@inner()
def pixel_is_outside(
    m: Array, column: Integer, r: Integer, width: Integer, height: Integer
) -> bool:
    """Whether all samples of a crop pixel miss the image by a pixel and more along one axis.

    Args:
        m: `(2, 3)` float32, crop pixel to frame pixel.
        column: of the pixel.
        r: its row.
        width: of the image, pixels.
        height: of the image, pixels.
    """
    u, v = np.float32(column), np.float32(r)
    for axis in range(2):
        position = apply_row(m[axis, 0], m[axis, 1], m[axis, 2], u, v)
        reach = HALF * (abs(m[axis, 0]) + abs(m[axis, 1]))
        size = np.float32(height if axis else width)
        if position + reach <= -ONE or position - reach >= size:
            return True
    return False
