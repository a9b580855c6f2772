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

from typing import Any

import numpy as np
from numba import boolean, float32, int32, uint8

from streamprn.kernels._jit import maths
from streamprn.kernels.cuda.kernel import cuda, kernel
from streamprn.kernels.maths.affine import apply_row, finite_affine, tap_offset, taps_along
from streamprn.kernels.maths.sample import clamp, coverage, mix, yuv_blue, yuv_green, yuv_red

EMPTY, RGB, YUV420 = 0, 1, 2
FRAME_COLUMNS = 9
COLOUR_COLUMNS = 7

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
QUARTER = np.float32(0.25)
NEUTRAL = np.float32(128.0)

_GRID = "x: pixels of a crop, y: faces"
_TAIL = (int32, float32, float32, boolean, int32, int32, int32, int32, float32[::1])


@maths
def pool_bilinear(
    pool: Any, base: Any, pitch: Any, step: Any, width: Any, height: Any, x: Any, y: Any
) -> Any:
    """Bilinear value of a plane in the pool, its edge pixels repeated for ever."""
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
def luma_mean(
    pool: Any,
    base: Any,
    pitch: Any,
    width: Any,
    height: Any,
    m: Any,
    k: Any,
    column: Any,
    row: Any,
) -> Any:
    """Box-filtered luma, and the part of the samples that lies inside the image."""
    across = taps_along(m[k, 0, 0], m[k, 1, 0])
    down = taps_along(m[k, 0, 1], m[k, 1, 1])
    total = part = ZERO
    for tap in range(across * down):
        u = np.float32(column) + tap_offset(tap % across, across)
        v = np.float32(row) + tap_offset(tap // across, down)
        x = apply_row(m[k, 0, 0], m[k, 0, 1], m[k, 0, 2], u, v)
        y = apply_row(m[k, 1, 0], m[k, 1, 1], m[k, 1, 2], u, v)
        total += pool_bilinear(pool, base, pitch, 1, width, height, x, y)
        part += coverage(x, width) * coverage(y, height)
    count = np.float32(across * down)
    return total / count, part / count


@maths
def chroma_mean(
    pool: Any,
    base_u: Any,
    base_v: Any,
    pitch: Any,
    step: Any,
    width: Any,
    height: Any,
    m: Any,
    k: Any,
    column: Any,
    row: Any,
    siting: Any,
) -> Any:
    """Box-filtered U and V; their pixels are two frame pixels wide and high."""
    across = taps_along(HALF * m[k, 0, 0], HALF * m[k, 1, 0])
    down = taps_along(HALF * m[k, 0, 1], HALF * m[k, 1, 1])
    total_u = total_v = ZERO
    for tap in range(across * down):
        u = np.float32(column) + tap_offset(tap % across, across)
        v = np.float32(row) + tap_offset(tap // across, down)
        x = apply_row(m[k, 0, 0], m[k, 0, 1], m[k, 0, 2], u, v) * HALF - siting
        y = apply_row(m[k, 1, 0], m[k, 1, 1], m[k, 1, 2], u, v) * HALF - QUARTER
        total_u += pool_bilinear(pool, base_u, pitch, step, width, height, x, y)
        total_v += pool_bilinear(pool, base_v, pitch, step, width, height, x, y)
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
    scale: Any,
    bias: Any,
    zero: Any,
    stride_face: Any,
    stride_row: Any,
    stride_column: Any,
    stride_channel: Any,
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
        scale: output = grey level * scale + bias.
        bias: see `scale`.
        zero: whether all is black outside the frame; else its edge pixels go on for ever.
        stride_face: elements of `out` from one face to the next, as are the next three.
        stride_row: along y.
        stride_column: along x.
        stride_channel: along R, G, B. (S * S * 3, S * 3, 3, 1) is NHWC.
        out: flat float32, the network's input.
    """
    face = cuda.blockIdx.y
    frame = owner[face]
    if frame < 0 or frames[frame, 0] != YUV420:
        return
    width, height = frames[frame, 1], frames[frame, 2]
    wide, high = (width + 1) // 2, (height + 1) // 2
    luma, pitch = frames[frame, 3], frames[frame, 4]
    base_u, base_v = frames[frame, 5], frames[frame, 6]
    pitch_c, step = frames[frame, 7], frames[frame, 8]
    siting = colours[frame, 6]
    finite = finite_affine(matrices, face)
    place = cuda.grid(1)
    while place < size * size:
        row, column = place // size, place % size
        y = u = v = ZERO
        if finite:
            y, part = luma_mean(pool, luma, pitch, width, height, matrices, face, column, row)
            u, v = chroma_mean(
                pool, base_u, base_v, pitch_c, step, wide, high, matrices, face, column, row,
                siting,
            )  # fmt: skip
            part = part if zero else np.float32(1.0)
            y, u, v = (y - colours[frame, 0]) * part, (u - NEUTRAL) * part, (v - NEUTRAL) * part
        gain, red_v = colours[frame, 1], colours[frame, 2]
        green_u, green_v, blue_u = colours[frame, 3], colours[frame, 4], colours[frame, 5]
        start = face * stride_face + row * stride_row + column * stride_column
        out[start] = scale * yuv_red(y, v, gain, red_v) + bias
        out[start + stride_channel] = scale * yuv_green(y, u, v, gain, green_u, green_v) + bias
        out[start + 2 * stride_channel] = scale * yuv_blue(y, u, gain, blue_u) + bias
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
    scale: Any,
    bias: Any,
    zero: Any,
    stride_face: Any,
    stride_row: Any,
    stride_column: Any,
    stride_channel: Any,
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
    finite = finite_affine(matrices, face)
    m = matrices
    across = down = 1
    if finite:
        across = taps_along(m[face, 0, 0], m[face, 1, 0])
        down = taps_along(m[face, 0, 1], m[face, 1, 1])
    gain = scale / np.float32(across * down)
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
                if zero:
                    part *= coverage(x, width) * coverage(y, height)
                if part != ZERO:
                    red += part * pool_bilinear(pool, base, pitch, 3, width, height, x, y)
                    green += part * pool_bilinear(pool, base + 1, pitch, 3, width, height, x, y)
                    blue += part * pool_bilinear(pool, base + 2, pitch, 3, width, height, x, y)
        start = face * stride_face + row * stride_row + column * stride_column
        out[start] = red + bias
        out[start + stride_channel] = green + bias
        out[start + 2 * stride_channel] = blue + bias
        place += cuda.gridsize(1)


@maths
def frame_rgb(pool: Any, frames: Any, colours: Any, f: Any, x: Any, y: Any) -> Any:
    """Red, green and blue 0..255 of a frame of either format at a point, edges repeated."""
    width, height, base, pitch = frames[f, 1], frames[f, 2], frames[f, 3], frames[f, 4]
    rgb = frames[f, 0] == RGB
    step = 3 if rgb else 1
    luma = pool_bilinear(pool, base, pitch, step, width, height, x, y)
    if rgb:
        first, second = base + 1, base + 2
        width_c, height_c, pitch_c, step_c = width, height, pitch, 3
        x_c, y_c = x, y
    else:
        first, second = frames[f, 5], frames[f, 6]
        width_c, height_c = (width + 1) // 2, (height + 1) // 2
        pitch_c, step_c = frames[f, 7], frames[f, 8]
        x_c, y_c = x * HALF - colours[f, 6], y * HALF - QUARTER
    u = pool_bilinear(pool, first, pitch_c, step_c, width_c, height_c, x_c, y_c)
    v = pool_bilinear(pool, second, pitch_c, step_c, width_c, height_c, x_c, y_c)
    if rgb:
        return luma, u, v
    luma, u, v = luma - colours[f, 0], u - NEUTRAL, v - NEUTRAL
    red = yuv_red(luma, v, colours[f, 1], colours[f, 2])
    green = yuv_green(luma, u, v, colours[f, 1], colours[f, 3], colours[f, 4])
    blue = yuv_blue(luma, u, colours[f, 1], colours[f, 5])
    return red, green, blue
