"""The loops of `warp.warp_rgb`."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamprn.kernels._jit import cpu_loop, inner, maths
from streamprn.kernels._lanes import (
    add4,
    load_bytes4,
    multiply4,
    spread4,
    store3,
    store4,
    subtract4,
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
def _pixel_bilinear(flat: Any, stride: Any, x: Any, y: Any) -> Any:
    """All colours of an RGB pixel at once: `maths.sample.mix` in four lanes.

    Args:
        flat: `(H * W * 3,)` uint8.
        stride: 3 W.
        x: column, 0 <= x < W - 2: the fourth lane reads the first byte of a further pixel.
        y: row, 0 <= y < H - 1.
    """
    c, r = np.int32(x), np.int32(y)
    fx, fy = spread4(x - np.float32(c)), spread4(y - np.float32(r))
    place = np.intp(r) * stride + 3 * np.intp(c)
    v00, v01 = load_bytes4(flat, place), load_bytes4(flat, place + 3)
    v10, v11 = load_bytes4(flat, place + stride), load_bytes4(flat, place + stride + 3)
    top = add4(v00, multiply4(subtract4(v01, v00), fx))
    bottom = add4(v10, multiply4(subtract4(v11, v10), fx))
    return add4(top, multiply4(subtract4(bottom, top), fy))


@maths
def _columns(
    image: Any, m: Any, r: Any, span: Any, across: Any, down: Any, tone: Any, row: Any
) -> None:
    """Columns of a crop row whose samples all lie inside the image; constant taps unroll loops."""
    begin, end = span
    weight, lift = spread4(tone.scale / np.float32(across * down)), spread4(tone.bias)
    stride = np.intp(3 * image.shape[1])
    pixels, out = image.reshape(-1), row.reshape(-1)
    last = end - 1
    u, v = tap_offset(0, across), np.float32(r) + tap_offset(0, down)
    x, y = apply_row(m[0, 0], m[0, 1], m[0, 2], u, v), apply_row(m[1, 0], m[1, 1], m[1, 2], u, v)
    right_x, right_y = m[0, 0] / np.float32(across), m[1, 0] / np.float32(across)
    below_x, below_y = m[0, 1] / np.float32(down), m[1, 1] / np.float32(down)
    for column in range(begin, end):
        total = spread4(ZERO)
        for j in range(down):
            px = x + m[0, 0] * np.float32(column) + below_x * np.float32(j)
            py = y + m[1, 0] * np.float32(column) + below_y * np.float32(j)
            for _ in range(across):
                total = add4(total, _pixel_bilinear(pixels, stride, px, py))
                px += right_x
                py += right_y
        total = add4(multiply4(total, weight), lift)
        if column < last:
            store4(out, 3 * column, total)
        else:
            store3(out, 3 * column, total)


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
            begin, end = columns_inside(m, r, size, width - 1, height, ROUNDING)
            if begin < end:
                _inside(image, m, r, (begin, end), taps, tone, row)
            _border(image, m, r, (0, begin), taps, tone, row)
            _border(image, m, r, (max(begin, end), size), taps, tone, row)
