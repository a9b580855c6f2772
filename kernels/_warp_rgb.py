"""The loops of `warp.warp_rgb`."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamprn.kernels._jit import cpu_loop, inner, maths
from streamprn.kernels._lanes8 import (
    LANES8,
    add8,
    bilinear_rgb8,
    multiply8,
    ramp8,
    scale8,
    spread8,
    store_colours8,
)
from streamprn.kernels.maths.affine import (
    ROUNDING,
    apply_row,
    columns_inside,
    finite_affine,
    pixel_is_outside,
    tap_offset,
    taps_along,
)
from streamprn.kernels.maths.sample import Tone, coverage, image_replicate

ZERO = np.float32(0.0)
ONE = np.float32(1.0)


@maths
def _columns(
    image: Any, m: Any, r: Any, span: Any, across: Any, down: Any, tone: Any, row: Any
) -> None:
    """Eight and more columns of a crop row whose samples all lie inside; constant taps unroll."""
    begin, end = span
    weight = tone.scale / np.float32(across * down)
    stride = np.intp(3 * image.shape[1])
    pixels, out = image.reshape(-1), row.reshape(-1)
    u, v = tap_offset(0, across), np.float32(r) + tap_offset(0, down)
    x, y = apply_row(m[0, 0], m[0, 1], m[0, 2], u, v), apply_row(m[1, 0], m[1, 1], m[1, 2], u, v)
    right_x, right_y = m[0, 0] / np.float32(across), m[1, 0] / np.float32(across)
    below_x, below_y = m[0, 1] / np.float32(down), m[1, 1] / np.float32(down)
    steps_x, steps_y = multiply8(ramp8(), spread8(m[0, 0])), multiply8(ramp8(), spread8(m[1, 0]))
    for start in range(begin, end, LANES8):
        first = min(start, end - LANES8)
        red = green = blue = spread8(ZERO)
        for j in range(down):
            px = x + m[0, 0] * np.float32(first) + below_x * np.float32(j)
            py = y + m[1, 0] * np.float32(first) + below_y * np.float32(j)
            for _ in range(across):
                at_x, at_y = add8(spread8(px), steps_x), add8(spread8(py), steps_y)
                r8, g8, b8 = bilinear_rgb8(pixels, stride, at_x, at_y)
                red, green, blue = add8(red, r8), add8(green, g8), add8(blue, b8)
                px += right_x
                py += right_y
        red, green = scale8(red, weight, tone.bias), scale8(green, weight, tone.bias)
        store_colours8(out, 3 * first, red, green, scale8(blue, weight, tone.bias))


@inner(fastmath=True)
def _inside(image: Any, m: Any, r: Any, span: Any, taps: Any, tone: Any, row: Any) -> None:
    if taps[0] == 1 and taps[1] == 1:
        _columns(image, m, r, span, 1, 1, tone, row)
    elif taps[0] == 2 and taps[1] == 2:
        _columns(image, m, r, span, 2, 2, tone, row)
    else:
        _columns(image, m, r, span, taps[0], taps[1], tone, row)


@inner()
def _border(image: Any, m: Any, r: Any, span: Any, taps: Any, tone: Any, row: Any) -> None:
    """Columns of a crop row that may leave the image."""
    height, width = image.shape[0], image.shape[1]
    across, down = taps
    scale, bias, zero = tone
    weight = scale / np.float32(across * down)
    for column in range(span[0], span[1]):
        red = green = blue = ZERO
        if zero and pixel_is_outside(m, column, r, width, height):
            row[column, 0] = row[column, 1] = row[column, 2] = bias
            continue
        for tap in range(across * down):
            u = np.float32(column) + tap_offset(tap % across, across)
            v = np.float32(r) + tap_offset(tap // across, down)
            x = apply_row(m[0, 0], m[0, 1], m[0, 2], u, v)
            y = apply_row(m[1, 0], m[1, 1], m[1, 2], u, v)
            covered = coverage(x, width) * coverage(y, height) if zero else ONE
            red += covered * image_replicate(image, x, y, 0)
            green += covered * image_replicate(image, x, y, 1)
            blue += covered * image_replicate(image, x, y, 2)
        row[column, 0] = red * weight + bias
        row[column, 1] = green * weight + bias
        row[column, 2] = blue * weight + bias


@cpu_loop()
def warp_rgb_loop(image: Any, matrices: Any, tone: Any, out: Any) -> None:
    """Fill the crops `out`; arguments of `warp.warp_rgb`, the fields of a `Tone` in a tuple."""
    tone = Tone(*tone)
    height, width = image.shape[0], image.shape[1]
    size = out.shape[1]
    for k in range(out.shape[0]):
        m = matrices[k]
        if not finite_affine(matrices, k):
            out[k, :, :, :] = tone.bias
            continue
        taps = taps_along(m[0, 0], m[1, 0]), taps_along(m[0, 1], m[1, 1])
        for r in range(size):
            row = out[k, r]
            begin, end = columns_inside(m, r, size, width, height, ROUNDING)
            if end - begin < LANES8:
                begin = end = 0
            else:
                _inside(image, m, r, (begin, end), taps, tone, row)
            _border(image, m, r, (0, begin), taps, tone, row)
            _border(image, m, r, (end, size), taps, tone, row)
