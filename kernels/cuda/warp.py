"""Cutting the crops of a batch of faces out of a pool of frames, normalised and laid out.

The pool is one flat buffer of bytes; a row of `frames` says where a picture lies in it, so that
one launch cuts from many pictures of different sizes. Because offsets are only added, a row may
point before the bytes that exist, as long as no crop reads them: a frame of which only the box
around its faces was uploaded needs no other code.

Columns of `frames` `(F, 9)` int32: format (`RGB` or `YUV420`), width, height, offset of the first
plane, its row pitch, offset of U, offset of V, row pitch of U and V, bytes from one chroma sample
to the next (1 planar, 2 NV12). Columns of `colours` `(F, 7)` float32: black level, luma gain, R of
V, G of U, G of V, B of U, horizontal chroma siting (see `streamprn.kernels.warp`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import boolean, float32, int32, types, uint8

from streamprn.kernels._jit import maths
from streamprn.kernels.cuda.kernel import cuda, kernel
from streamprn.kernels.maths.affine import (
    apply_row,
    chroma_taps_along,
    finite_affine,
    tap_offset,
    taps_along,
)
from streamprn.kernels.maths.sample import (
    Tone,
    clamp,
    coverage,
    mix,
    yuv_blue,
    yuv_green,
    yuv_red,
)

EMPTY, RGB, YUV420 = 0, 1, 2
FRAME_COLUMNS = 9
COLOUR_COLUMNS = 7

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
QUARTER = np.float32(0.25)
NEUTRAL = np.float32(128.0)

_GRID = "x: pixels of a crop, y: faces"


class Strides(NamedTuple):
    """Elements of the network's input from one to the next, int32.

    `(S * S * 3, S * 3, 3, 1)` is NHWC.

    Attributes:
        face: of the batch.
        row: along y.
        column: along x.
        channel: along R, G, B.
    """

    face: int
    row: int
    column: int
    channel: int


class Plane(NamedTuple):
    """Where one channel of a picture lies in the pool, int32.

    Attributes:
        base: offset of its first byte.
        pitch: bytes from one row to the next.
        step: bytes from one pixel to the next.
        width: pixels.
        height: pixels.
    """

    base: Any
    pitch: Any
    step: Any
    width: Any
    height: Any


_TAIL = (
    int32,
    types.NamedTuple((float32, float32, boolean), Tone),
    types.NamedUniTuple(int32, 4, Strides),
    float32[::1],
)


@maths
def pool_bilinear(pool: Any, plane: Any, x: Any, y: Any) -> Any:
    """Bilinear value of a plane in the pool, its edge pixels repeated for ever."""
    base, pitch, step, width, height = plane
    x = clamp(x, ZERO, np.float32(width - 1))
    y = clamp(y, ZERO, np.float32(height - 1))
    c, r = np.int32(x), np.int32(y)
    right, below = min(c + 1, width - 1), min(r + 1, height - 1)
    top, bottom = base + r * pitch, base + below * pitch
    return mix(
        np.float32(pool[top + c * step]),
        np.float32(pool[top + right * step]),
        np.float32(pool[bottom + c * step]),
        np.float32(pool[bottom + right * step]),
        x - np.float32(c),
        y - np.float32(r),
    )


@maths
def luma_mean(pool: Any, plane: Any, m: Any, k: Any, column: Any, row: Any) -> Any:
    """Box-filtered luma, and the part of the samples that lies inside the image."""
    across = taps_along(m[k, 0, 0], m[k, 1, 0])
    down = taps_along(m[k, 0, 1], m[k, 1, 1])
    total = part = ZERO
    for tap in range(across * down):
        u = np.float32(column) + tap_offset(tap % across, across)
        v = np.float32(row) + tap_offset(tap // across, down)
        x = apply_row(m[k, 0, 0], m[k, 0, 1], m[k, 0, 2], u, v)
        y = apply_row(m[k, 1, 0], m[k, 1, 1], m[k, 1, 2], u, v)
        total += pool_bilinear(pool, plane, x, y)
        part += coverage(x, plane.width) * coverage(y, plane.height)
    count = np.float32(across * down)
    return total / count, part / count


@maths
def chroma_mean(
    pool: Any, plane_u: Any, plane_v: Any, m: Any, k: Any, column: Any, row: Any, siting: Any
) -> Any:
    """Box-filtered U and V; their pixels are two frame pixels wide and high."""
    across = chroma_taps_along(m[k, 0, 0], m[k, 1, 0])
    down = chroma_taps_along(m[k, 0, 1], m[k, 1, 1])
    total_u = total_v = ZERO
    for tap in range(across * down):
        u = np.float32(column) + tap_offset(tap % across, across)
        v = np.float32(row) + tap_offset(tap // across, down)
        x = apply_row(m[k, 0, 0], m[k, 0, 1], m[k, 0, 2], u, v) * HALF - siting
        y = apply_row(m[k, 1, 0], m[k, 1, 1], m[k, 1, 2], u, v) * HALF - QUARTER
        total_u += pool_bilinear(pool, plane_u, x, y)
        total_v += pool_bilinear(pool, plane_v, x, y)
    count = np.float32(across * down)
    return total_u / count, total_v / count


@kernel(
    uint8[::1], int32[:, ::1], float32[:, ::1], int32[::1], float32[:, :, ::1], *_TAIL,
    threads=128, grid=_GRID,
)  # fmt: skip
def warp_yuv(
    pool: Any,
    frames: Any,
    colours: Any,
    owner: Any,
    matrices: Any,
    size: Any,
    tone: Any,
    strides: Any,
    out: Any,
) -> None:
    """Crops of the faces whose frame is 4:2:0 video (NV12 or planar); the others are left alone.

    Filter, chroma and colour are those of `streamprn.kernels.warp.warp_yuv`. A warp covers 32
    neighbours of a crop row: reads follow the frame's rows, writes are whole sectors in both
    layouts.

    Args:
        pool: flat uint8, the frames.
        frames: `(F, 9)` int32, see the module.
        colours: `(F, 7)` float32, see the module.
        owner: `(B,)` int32, the frame of each face, negative for none.
        matrices: `(B, 2, 3)` float32, crop pixel to frame pixel.
        size: S.
        tone: see `Tone`.
        strides: of `out`, see `Strides`.
        out: flat float32, the network's input.
    """
    face = cuda.blockIdx.y
    frame = owner[face]
    if frame < 0 or frames[frame, 0] != YUV420:
        return
    width, height = frames[frame, 1], frames[frame, 2]
    wide, high = (width + 1) // 2, (height + 1) // 2
    pitch_c, step = frames[frame, 7], frames[frame, 8]
    luma = Plane(frames[frame, 3], frames[frame, 4], 1, width, height)
    plane_u = Plane(frames[frame, 5], pitch_c, step, wide, high)
    plane_v = Plane(frames[frame, 6], pitch_c, step, wide, high)
    siting = colours[frame, 6]
    finite = finite_affine(matrices, face)
    place = cuda.grid(1)
    while place < size * size:
        row, column = place // size, place % size
        y = u = v = ZERO
        if finite:
            y, part = luma_mean(pool, luma, matrices, face, column, row)
            u, v = chroma_mean(pool, plane_u, plane_v, matrices, face, column, row, siting)
            part = part if tone.zero else np.float32(1.0)
            y, u, v = (y - colours[frame, 0]) * part, (u - NEUTRAL) * part, (v - NEUTRAL) * part
        gain, red_v = colours[frame, 1], colours[frame, 2]
        green_u, green_v, blue_u = colours[frame, 3], colours[frame, 4], colours[frame, 5]
        start = face * strides.face + row * strides.row + column * strides.column
        green = yuv_green(y, u, v, gain, green_u, green_v)
        out[start] = tone.scale * yuv_red(y, v, gain, red_v) + tone.bias
        out[start + strides.channel] = tone.scale * green + tone.bias
        out[start + 2 * strides.channel] = tone.scale * yuv_blue(y, u, gain, blue_u) + tone.bias
        place += cuda.gridsize(1)


@kernel(
    uint8[::1], int32[:, ::1], int32[::1], float32[:, :, ::1], *_TAIL,
    threads=128, grid=_GRID,
)  # fmt: skip
def warp_rgb(
    pool: Any,
    frames: Any,
    owner: Any,
    matrices: Any,
    size: Any,
    tone: Any,
    strides: Any,
    out: Any,
) -> None:
    """Crops of the faces whose frame is interleaved RGB; the others are left alone.

    Filter and border are those of `streamprn.kernels.warp.warp_rgb`; arguments as in `warp_yuv`.
    """
    face = cuda.blockIdx.y
    frame = owner[face]
    if frame < 0 or frames[frame, 0] != RGB:
        return
    width, height = frames[frame, 1], frames[frame, 2]
    base, pitch = frames[frame, 3], frames[frame, 4]
    plane_r = Plane(base, pitch, 3, width, height)
    plane_g = Plane(base + 1, pitch, 3, width, height)
    plane_b = Plane(base + 2, pitch, 3, width, height)
    finite = finite_affine(matrices, face)
    m = matrices
    across = down = 1
    if finite:
        across = taps_along(m[face, 0, 0], m[face, 1, 0])
        down = taps_along(m[face, 0, 1], m[face, 1, 1])
    gain = tone.scale / np.float32(across * down)
    place = cuda.grid(1)
    while place < size * size:
        row, column = place // size, place % size
        red = green = blue = ZERO
        for tap_y in range(down if finite else 0):
            v = np.float32(row) + tap_offset(tap_y, down)
            for tap_x in range(across):
                u = np.float32(column) + tap_offset(tap_x, across)
                x = apply_row(m[face, 0, 0], m[face, 0, 1], m[face, 0, 2], u, v)
                y = apply_row(m[face, 1, 0], m[face, 1, 1], m[face, 1, 2], u, v)
                part = gain
                if tone.zero:
                    part *= coverage(x, width) * coverage(y, height)
                if part != ZERO:
                    red += part * pool_bilinear(pool, plane_r, x, y)
                    green += part * pool_bilinear(pool, plane_g, x, y)
                    blue += part * pool_bilinear(pool, plane_b, x, y)
        start = face * strides.face + row * strides.row + column * strides.column
        out[start] = red + tone.bias
        out[start + strides.channel] = green + tone.bias
        out[start + 2 * strides.channel] = blue + tone.bias
        place += cuda.gridsize(1)


@maths
def frame_rgb(pool: Any, frames: Any, colours: Any, f: Any, x: Any, y: Any) -> Any:
    """Red, green and blue 0..255 of a frame of either format at a point, edges repeated."""
    width, height, base, pitch = frames[f, 1], frames[f, 2], frames[f, 3], frames[f, 4]
    rgb = frames[f, 0] == RGB
    step = 3 if rgb else 1
    luma = pool_bilinear(pool, Plane(base, pitch, step, width, height), x, y)
    if rgb:
        first, second = base + 1, base + 2
        width_c, height_c, pitch_c, step_c = width, height, pitch, 3
        x_c, y_c = x, y
    else:
        first, second = frames[f, 5], frames[f, 6]
        width_c, height_c = (width + 1) // 2, (height + 1) // 2
        pitch_c, step_c = frames[f, 7], frames[f, 8]
        x_c, y_c = x * HALF - colours[f, 6], y * HALF - QUARTER
    u = pool_bilinear(pool, Plane(first, pitch_c, step_c, width_c, height_c), x_c, y_c)
    v = pool_bilinear(pool, Plane(second, pitch_c, step_c, width_c, height_c), x_c, y_c)
    if rgb:
        return luma, u, v
    luma, u, v = luma - colours[f, 0], u - NEUTRAL, v - NEUTRAL
    red = yuv_red(luma, v, colours[f, 1], colours[f, 2])
    green = yuv_green(luma, u, v, colours[f, 1], colours[f, 3], colours[f, 4])
    blue = yuv_blue(luma, u, colours[f, 1], colours[f, 5])
    return red, green, blue
