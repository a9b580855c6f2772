"""The loops of `warp.warp_yuv`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamprn.kernels._jit import cpu_loop, inner, maths
from streamprn.kernels._lanes8 import (
    LANES8,
    add8,
    bilinear8,
    max8,
    min8,
    multiply8,
    ramp8,
    scale8,
    spread8,
    store_colours8,
)
from streamprn.kernels.maths.affine import (
    apply_row,
    chroma_taps_along,
    columns_inside,
    finite_affine,
    pixel_is_outside,
    tap_offset,
    taps_along,
)
from streamprn.kernels.maths.sample import (
    Colour,
    Tone,
    coverage,
    plane_replicate,
    yuv_blue,
    yuv_green,
    yuv_red,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
HALF = np.float32(0.5)
QUARTER = np.float32(0.25)
NEUTRAL = np.float32(128.0)
WHITE = np.float32(255.0)
# Luma pixels from the edge within which a chroma sample may lack a neighbour.
CHROMA_REACH = np.float32(3.0)


class Planes(NamedTuple):
    """Planar 4:2:0 video for the loops.

    Attributes:
        luma: `(H, stride)` uint8; columns from `width` on must not be read.
        u: `((H + 1) // 2, stride)` uint8, likewise.
        v: as `u`.
        width: pixels of a row of luma.
    """

    luma: NDArray[np.uint8]
    u: NDArray[np.uint8]
    v: NDArray[np.uint8]
    width: int


@maths
def _columns(
    planes: Any, colour: Any, m: Any, r: Any, span: Any, taps: Any, tone: Any, row: Any
) -> None:
    """Eight and more columns of a crop row whose samples all lie inside; constant taps unroll."""
    begin, end = span
    luma, stride = planes.luma.reshape(-1), np.intp(planes.luma.shape[1])
    chroma_u, stride_u = planes.u.reshape(-1), np.intp(planes.u.shape[1])
    chroma_v, stride_v = planes.v.reshape(-1), np.intp(planes.v.shape[1])
    black, gain, red_v, green_u, green_v, blue_u, siting = colour
    out = row.reshape(-1)
    across, down, across_c, down_c = taps
    gain /= np.float32(across * down)
    chroma_gain = ONE / np.float32(across_c * down_c)
    u, v = tap_offset(0, across), np.float32(r) + tap_offset(0, down)
    x, y = apply_row(m[0, 0], m[0, 1], m[0, 2], u, v), apply_row(m[1, 0], m[1, 1], m[1, 2], u, v)
    u, v = tap_offset(0, across_c), np.float32(r) + tap_offset(0, down_c)
    x_c = HALF * apply_row(m[0, 0], m[0, 1], m[0, 2], u, v) - siting
    y_c = HALF * apply_row(m[1, 0], m[1, 1], m[1, 2], u, v) - QUARTER
    dx, dy, dx_c, dy_c = m[0, 0], m[1, 0], HALF * m[0, 0], HALF * m[1, 0]
    right_x, right_y = dx / np.float32(across), dy / np.float32(across)
    below_x, below_y = m[0, 1] / np.float32(down), m[1, 1] / np.float32(down)
    right_cx, right_cy = dx_c / np.float32(across_c), dy_c / np.float32(across_c)
    below_cx, below_cy = HALF * m[0, 1] / np.float32(down_c), HALF * m[1, 1] / np.float32(down_c)
    steps_x, steps_y = multiply8(ramp8(), spread8(dx)), multiply8(ramp8(), spread8(dy))
    steps_cx, steps_cy = multiply8(ramp8(), spread8(dx_c)), multiply8(ramp8(), spread8(dy_c))
    for start in range(begin, end, LANES8):
        first = min(start, end - LANES8)
        light = cb = cr = spread8(ZERO)
        for j in range(down):
            px = x + dx * np.float32(first) + below_x * np.float32(j)
            py = y + dy * np.float32(first) + below_y * np.float32(j)
            for _ in range(across):
                at_x, at_y = add8(spread8(px), steps_x), add8(spread8(py), steps_y)
                light = add8(light, bilinear8(luma, stride, at_x, at_y))
                px += right_x
                py += right_y
        for j in range(down_c):
            px = x_c + dx_c * np.float32(first) + below_cx * np.float32(j)
            py = y_c + dy_c * np.float32(first) + below_cy * np.float32(j)
            for _ in range(across_c):
                at_x, at_y = add8(spread8(px), steps_cx), add8(spread8(py), steps_cy)
                cb = add8(cb, bilinear8(chroma_u, stride_u, at_x, at_y))
                cr = add8(cr, bilinear8(chroma_v, stride_v, at_x, at_y))
                px += right_cx
                py += right_cy
        light = scale8(light, gain, -black * colour.gain)
        cb, cr = scale8(cb, chroma_gain, -NEUTRAL), scale8(cr, chroma_gain, -NEUTRAL)
        red = add8(light, multiply8(cr, spread8(red_v)))
        green = add8(light, multiply8(cb, spread8(green_u)))
        green = add8(green, multiply8(cr, spread8(green_v)))
        blue = add8(light, multiply8(cb, spread8(blue_u)))
        store_colours8(out, 3 * first, _toned(red, tone), _toned(green, tone), _toned(blue, tone))


@maths
def _toned(grey: Any, tone: Any) -> Any:
    """A grey level, kept to 0..255, as the network takes it."""
    grey = min8(max8(grey, spread8(ZERO)), spread8(WHITE))
    return scale8(grey, tone.scale, tone.bias)


@inner(fastmath=True)
def _inside(
    planes: Any, colour: Any, m: Any, r: Any, span: Any, taps: Any, tone: Any, row: Any
) -> None:
    across, down, across_c, down_c = taps
    once = across_c == 1 and down_c == 1
    if once and across == 1 and down == 1:
        _columns(planes, colour, m, r, span, (1, 1, 1, 1), tone, row)
    elif once and across == 2 and down == 2:
        _columns(planes, colour, m, r, span, (2, 2, 1, 1), tone, row)
    else:
        _columns(planes, colour, m, r, span, taps, tone, row)


@inner()
def _border(
    planes: Any, colour: Any, m: Any, r: Any, span: Any, taps: Any, tone: Any, row: Any
) -> None:
    """Columns of a crop row that may leave the planes."""
    luma, chroma_u, chroma_v, width = planes
    black, gain, red_v, green_u, green_v, blue_u, siting = colour
    scale, bias, zero = tone
    across, down, across_c, down_c = taps
    height = luma.shape[0]
    width_c = (width + 1) // 2
    weight, weight_c = ONE / np.float32(across * down), ONE / np.float32(across_c * down_c)
    for column in range(span[0], span[1]):
        y = cb = cr = inside = ZERO
        if zero and pixel_is_outside(m, column, r, width, height):
            row[column, 0] = row[column, 1] = row[column, 2] = bias
            continue
        for tap in range(across * down):
            u = np.float32(column) + tap_offset(tap % across, across)
            v = np.float32(r) + tap_offset(tap // across, down)
            px = apply_row(m[0, 0], m[0, 1], m[0, 2], u, v)
            py = apply_row(m[1, 0], m[1, 1], m[1, 2], u, v)
            covered = coverage(px, width) * coverage(py, height) if zero else ONE
            inside += weight * covered
            y += weight * plane_replicate(luma, width, px, py)
        for tap in range(across_c * down_c):
            u = np.float32(column) + tap_offset(tap % across_c, across_c)
            v = np.float32(r) + tap_offset(tap // across_c, down_c)
            px = HALF * apply_row(m[0, 0], m[0, 1], m[0, 2], u, v) - siting
            py = HALF * apply_row(m[1, 0], m[1, 1], m[1, 2], u, v) - QUARTER
            cb += plane_replicate(chroma_u, width_c, px, py) - NEUTRAL
            cr += plane_replicate(chroma_v, width_c, px, py) - NEUTRAL
        y, cb, cr = (y - black) * inside, cb * weight_c * inside, cr * weight_c * inside
        row[column, 0] = scale * yuv_red(y, cr, gain, red_v) + bias
        row[column, 1] = scale * yuv_green(y, cb, cr, gain, green_u, green_v) + bias
        row[column, 2] = scale * yuv_blue(y, cb, gain, blue_u) + bias


@cpu_loop()
def warp_yuv_loop(planes: Any, colour: Any, matrices: Any, tone: Any, out: Any) -> None:
    """Fill the crops `out`; the fields of `Planes`, `Colour` and `Tone` in tuples."""
    planes, colour, tone = Planes(*planes), Colour(*colour), Tone(*tone)
    height, size = planes.luma.shape[0], out.shape[1]
    for k in range(out.shape[0]):
        m = matrices[k]
        if not finite_affine(matrices, k):
            out[k, :, :, :] = tone.bias
            continue
        taps = (
            taps_along(m[0, 0], m[1, 0]),
            taps_along(m[0, 1], m[1, 1]),
            chroma_taps_along(m[0, 0], m[1, 0]),
            chroma_taps_along(m[0, 1], m[1, 1]),
        )
        for r in range(size):
            row = out[k, r]
            begin, end = columns_inside(m, r, size, planes.width, height, CHROMA_REACH)
            if end - begin < LANES8:
                begin = end = 0
            else:
                _inside(planes, colour, m, r, (begin, end), taps, tone, row)
            _border(planes, colour, m, r, (0, begin), taps, tone, row)
            _border(planes, colour, m, r, (end, size), taps, tone, row)
