"""Sampling an image between its pixels, and colour conversion."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streamprn.kernels._jit import maths
from streamprn.kernels.maths import Array, Integer, Real

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
HALF = np.float32(0.5)
WHITE = np.float32(255.0)


class Tone(NamedTuple):
    """What a crop is made of its pixels: `grey level * scale + bias`.

    Attributes:
        scale: float32.
        bias: float32.
        zero: bool, whether all is black outside the image; else its edge pixels go on for ever.
    """

    scale: np.float32
    bias: np.float32
    zero: bool


class Colour(NamedTuple):
    """How Y, U, V grey levels become RGB, float32 (ITU-R BT.601, 709).

    Attributes:
        black: level of black.
        gain: of luma.
        red_v: R of V.
        green_u: G of U.
        green_v: G of V.
        blue_u: B of U.
        siting: chroma pixels that a chroma sample stands right of the left one of its two columns.
    """

    black: np.float32
    gain: np.float32
    red_v: np.float32
    green_u: np.float32
    green_v: np.float32
    blue_u: np.float32
    siting: np.float32


@maths
def mix(v00: Real, v01: Real, v10: Real, v11: Real, fx: Real, fy: Real) -> Real:
    """Bilinear interpolation of four neighbours: `v01` is right of `v00`, `v10` below it."""
    top = v00 + (v01 - v00) * fx
    bottom = v10 + (v11 - v10) * fx
    return top + (bottom - top) * fy


@maths
def clamp(value: Real, low: Real, high: Real) -> Real:
    """`value` limited to `low..high`; NaN becomes `low`.

    In two steps, which become two selects: nested they become branches, and those of a colour
    that is sometimes out of range cost more than the rest of a crop.
    """
    return min(max(low, value), high)


@maths
def plane_bilinear(plane: Array, x: Real, y: Real) -> Real:
    """Bilinear value of `(H, W)` uint8 at `0 <= x < W - 1`, `0 <= y < H - 1`."""
    c, r = np.uint32(x), np.uint32(y)
    fx, fy = x - np.float32(c), y - np.float32(r)
    return mix(
        np.float32(plane[r, c]),
        np.float32(plane[r, c + np.uint32(1)]),
        np.float32(plane[r + np.uint32(1), c]),
        np.float32(plane[r + np.uint32(1), c + np.uint32(1)]),
        fx,
        fy,
    )


@maths
def plane_replicate(plane: Array, width: Integer, x: Real, y: Real) -> Real:
    """Bilinear value of the first `width` columns of a plane, the edge pixels repeated for ever."""
    height = plane.shape[0]
    x = clamp(x, ZERO, np.float32(width - 1))
    y = clamp(y, ZERO, np.float32(height - 1))
    c, r = np.uint32(x), np.uint32(y)
    fx, fy = x - np.float32(c), y - np.float32(r)
    right = min(c + np.uint32(1), np.uint32(width - 1))
    below = min(r + np.uint32(1), np.uint32(height - 1))
    return mix(
        np.float32(plane[r, c]),
        np.float32(plane[r, right]),
        np.float32(plane[below, c]),
        np.float32(plane[below, right]),
        fx,
        fy,
    )


@maths
def image_replicate(image: Array, x: Real, y: Real, channel: Integer) -> Real:
    """Bilinear value of one channel of `(H, W, 3)` uint8, the edge pixels repeated for ever."""
    height, width = image.shape[0], image.shape[1]
    x = clamp(x, ZERO, np.float32(width - 1))
    y = clamp(y, ZERO, np.float32(height - 1))
    c, r = np.uint32(x), np.uint32(y)
    fx, fy = x - np.float32(c), y - np.float32(r)
    right = min(c + np.uint32(1), np.uint32(width - 1))
    below = min(r + np.uint32(1), np.uint32(height - 1))
    return mix(
        np.float32(image[r, c, channel]),
        np.float32(image[r, right, channel]),
        np.float32(image[below, c, channel]),
        np.float32(image[below, right, channel]),
        fx,
        fy,
    )


@maths
def coverage(position: Real, size: Integer) -> Real:
    """How much of a bilinear tap along one axis lies inside `0..size - 1`; 0 for NaN.

    With zeros outside the image, a sample is its edge-replicated value times the coverage of
    both axes.
    """
    if not (position > -ONE and position < np.float32(size)):
        return ZERO
    before = position + ONE
    after = np.float32(size) - position
    return min(ONE, before, after)


@maths
def yuv_red(y: Real, v: Real, gain: Real, red_v: Real) -> Real:
    """Red of luma above black `y` and centred chroma `v`, 0..255."""
    return clamp(gain * y + red_v * v, ZERO, WHITE)


@maths
def yuv_green(y: Real, u: Real, v: Real, gain: Real, green_u: Real, green_v: Real) -> Real:
    """Green of luma above black `y` and centred chroma `u`, `v`, 0..255."""
    return clamp(gain * y + green_u * u + green_v * v, ZERO, WHITE)


@maths
def yuv_blue(y: Real, u: Real, gain: Real, blue_u: Real) -> Real:
    """Blue of luma above black `y` and centred chroma `u`, 0..255."""
    return clamp(gain * y + blue_u * u, ZERO, WHITE)


@maths
def to_byte(value: Real) -> Integer:
    """The nearest of 0..255; NaN is 0."""
    return np.uint8(clamp(value, ZERO, WHITE) + HALF)
