"""Cutting face crops out of a frame: affine warp, bilinear, anti-aliased, from RGB or 4:2:0 planes.

Pixel centres stand at integers: crop pixel `(column, row)` samples the frame at
`frame_from_crop @ (column, row, 1)`. Where a crop pixel covers more than about 1.5 frame pixels,
it is the mean of up to 4 x 4 bilinear samples (a box filter), so that a large face does not alias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from streamprn.kernels._jit import cpu_loop, frozen, inner, maths, output
from streamprn.kernels._lanes import (
    add4,
    lane4,
    load_bytes4,
    multiply4,
    spread4,
    store4,
    subtract4,
)
from streamprn.kernels.maths.affine import apply_row, finite_affine, tap_offset, taps_along
from streamprn.kernels.maths.sample import (
    Colour,
    Tone,
    coverage,
    image_replicate,
    plane_bilinear,
    plane_replicate,
    yuv_blue,
    yuv_green,
    yuv_red,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import YuvPlanes

Border = Literal["zero", "replicate"]

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
HALF = np.float32(0.5)
QUARTER = np.float32(0.25)
NEUTRAL = np.float32(128.0)
# Pixels; more than the rounding of a coordinate, so that a row found inside stays inside.
GUARD = np.float32(1 / 64)
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


def warp_rgb(
    image: NDArray[np.uint8],
    frame_from_crop: NDArray[np.float32],
    size: int,
    out: NDArray[np.float32] | None = None,
    *,
    scale: float = 1 / 255,
    bias: float = 0.0,
    border: Border = "zero",
) -> NDArray[np.float32]:
    """Crops of an RGB image.

    Args:
        image: `(H, W, 3)` uint8.
        frame_from_crop: `(B, 2, 3)` or `(2, 3)`, crop pixel to frame pixel. A matrix that is
            not finite gives a crop of black.
        size: S, pixels.
        out: `(B, S, S, 3)` float32, C order, or None.
        scale: output = grey level * scale + bias.
        bias: see `scale`.
        border: what lies outside the image: black, or its edge pixels for ever.

    Returns:
        `out`, `(B, S, S, 3)` float32 RGB.
    """
    matrices = _matrices(frame_from_crop)
    out = output(out, (matrices.shape[0], size, size, 3), np.float32)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
    _warp_rgb(frozen(image), matrices, tuple(_tone(scale, bias, border)), out)
    return out


def warp_yuv(
    planes: YuvPlanes,
    frame_from_crop: NDArray[np.float32],
    size: int,
    out: NDArray[np.float32] | None = None,
    *,
    scale: float = 1 / 255,
    bias: float = 0.0,
    border: Border = "zero",
) -> NDArray[np.float32]:
    """Crops of planar 4:2:0 video, converted to RGB: the same as `warp_rgb` of the RGB image.

    Chroma samples stand between two rows, and at the left one of two columns (H.264, MPEG-2) for
    limited range, between both columns (JPEG) for full range.

    Args:
        planes: see `streamprn.records.YuvPlanes`.
        frame_from_crop: as in `warp_rgb`, as are all others.
        size: S, pixels.
        out: `(B, S, S, 3)` float32, C order, or None.
        scale: output = grey level * scale + bias.
        bias: see `scale`.
        border: what lies outside the image.

    Returns:
        `out`, `(B, S, S, 3)` float32 RGB.
    """
    matrices = _matrices(frame_from_crop)
    out = output(out, (matrices.shape[0], size, size, 3), np.float32)
    _check_planes(planes)
    y, u, v = (_whole_rows(plane) for plane in (planes.y, planes.u, planes.v))
    whole = Planes(y, u, v, planes.y.shape[1])
    colour = colour_of(planes.full_range, planes.bt709)
    tone = _tone(scale, bias, border)
    _warp_yuv(tuple(whole), tuple(colour), matrices, tuple(tone), out)
    return out


def _tone(scale: float, bias: float, border: Border) -> Tone:
    return Tone(np.float32(scale), np.float32(bias), border == "zero")


def _matrices(frame_from_crop: NDArray[np.float32]) -> NDArray[np.float32]:
    matrices = np.ascontiguousarray(frame_from_crop, np.float32)
    if matrices.shape[-2:] != (2, 3) or matrices.ndim not in (2, 3):
        raise ValueError(f"frame_from_crop must be (B, 2, 3), not {matrices.shape}")
    return matrices.reshape(-1, 2, 3)


def _check_planes(planes: YuvPlanes) -> None:
    height, width = planes.y.shape
    chroma = ((height + 1) // 2, (width + 1) // 2)
    if planes.u.shape != chroma or planes.v.shape != chroma:
        raise ValueError(
            f"chroma planes of {(height, width)} must be {chroma}, "
            f"not {planes.u.shape} and {planes.v.shape}"
        )


def _whole_rows(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The plane with the padding at the end of its rows: C order without a copy.

    The padding of the last row may lie beyond the buffer: columns past the plane's width must
    not be read.
    """
    stride, step = plane.strides
    if not plane.flags.c_contiguous and step == 1 and stride >= plane.shape[1]:
        plane = np.lib.stride_tricks.as_strided(plane, (plane.shape[0], stride), (stride, 1))
    return frozen(plane)  # type: ignore[no-any-return]


def colour_of(full_range: bool, bt709: bool) -> Colour:
    """The colours of a video; chroma is sited as `warp_yuv` says."""
    kr, kb = (0.2126, 0.0722) if bt709 else (0.299, 0.114)
    kg = 1.0 - kr - kb
    luma, chroma = (1.0, 1.0) if full_range else (255.0 / 219.0, 255.0 / 224.0)
    red_v, blue_u = 2.0 * (1.0 - kr) * chroma, 2.0 * (1.0 - kb) * chroma
    black, siting = (0.0, 0.25) if full_range else (16.0, 0.0)
    green_u, green_v = -blue_u * kb / kg, -red_v * kr / kg
    terms = np.array([black, luma, red_v, green_u, green_v, blue_u, siting], np.float32)
    return Colour(*terms)


@inner()
def _row_inside(m: Any, r: Any, count: Any, width: Any, height: Any, margin: Any) -> Any:
    """Whether all samples of a crop row lie at least `margin` pixels inside the image."""
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
    return low_x >= margin and low_y >= margin and high_x < right and high_y < bottom


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
def _rgb_row(image: Any, m: Any, r: Any, across: Any, down: Any, tone: Any, row: Any) -> None:
    """A crop row whose samples all lie inside the image; constant taps unroll its loops."""
    weight, lift = spread4(tone.scale / np.float32(across * down)), spread4(tone.bias)
    stride = np.intp(3 * image.shape[1])
    pixels, out = image.reshape(-1), row.reshape(-1)
    last = row.shape[0] - 1
    u, v = tap_offset(0, across), np.float32(r) + tap_offset(0, down)
    x, y = apply_row(m[0, 0], m[0, 1], m[0, 2], u, v), apply_row(m[1, 0], m[1, 1], m[1, 2], u, v)
    right_x, right_y = m[0, 0] / np.float32(across), m[1, 0] / np.float32(across)
    below_x, below_y = m[0, 1] / np.float32(down), m[1, 1] / np.float32(down)
    for column in range(row.shape[0]):
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
            for channel in range(3):
                row[column, channel] = lane4(total, channel)


@inner(fastmath=True)
def _rgb_row_inside(image: Any, m: Any, r: Any, taps: Any, tone: Any, row: Any) -> None:
    if taps[0] == 1 and taps[1] == 1:
        _rgb_row(image, m, r, 1, 1, tone, row)
    elif taps[0] == 2 and taps[1] == 2:
        _rgb_row(image, m, r, 2, 2, tone, row)
    else:
        _rgb_row(image, m, r, taps[0], taps[1], tone, row)


@inner()
def _rgb_row_border(image: Any, m: Any, r: Any, taps: Any, tone: Any, row: Any) -> None:
    """A crop row that may leave the image."""
    height, width = image.shape[0], image.shape[1]
    across, down = taps
    scale, bias, zero = tone
    weight = scale / np.float32(across * down)
    for column in range(row.shape[0]):
        red = green = blue = ZERO
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
def _warp_rgb(image: Any, matrices: Any, tone: Any, out: Any) -> None:
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
            if _row_inside(m, r, size, width - 1, height, GUARD):
                _rgb_row_inside(image, m, r, taps, tone, row)
            else:
                _rgb_row_border(image, m, r, taps, tone, row)


@maths
def _yuv_row(planes: Any, colour: Any, m: Any, r: Any, taps: Any, tone: Any, row: Any) -> None:
    """A crop row whose samples all lie inside the planes; constant taps unroll its loops."""
    luma, chroma_u, chroma_v, _ = planes
    black, gain, red_v, green_u, green_v, blue_u, siting = colour
    scale, bias, _ = tone
    across, down, across_c, down_c = taps
    weight, weight_c = ONE / np.float32(across * down), ONE / np.float32(across_c * down_c)
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
    for column in range(row.shape[0]):
        light = cb = cr = ZERO
        for j in range(down):
            px = x + dx * np.float32(column) + below_x * np.float32(j)
            py = y + dy * np.float32(column) + below_y * np.float32(j)
            for _ in range(across):
                light += plane_bilinear(luma, px, py)
                px += right_x
                py += right_y
        for j in range(down_c):
            px = x_c + dx_c * np.float32(column) + below_cx * np.float32(j)
            py = y_c + dy_c * np.float32(column) + below_cy * np.float32(j)
            for _ in range(across_c):
                cb += plane_bilinear(chroma_u, px, py)
                cr += plane_bilinear(chroma_v, px, py)
                px += right_cx
                py += right_cy
        light, cb, cr = light * weight - black, cb * weight_c - NEUTRAL, cr * weight_c - NEUTRAL
        row[column, 0] = scale * yuv_red(light, cr, gain, red_v) + bias
        row[column, 1] = scale * yuv_green(light, cb, cr, gain, green_u, green_v) + bias
        row[column, 2] = scale * yuv_blue(light, cb, gain, blue_u) + bias


@inner(fastmath=True)
def _yuv_row_inside(
    planes: Any, colour: Any, m: Any, r: Any, taps: Any, tone: Any, row: Any
) -> None:
    across, down, across_c, down_c = taps
    once = across_c == 1 and down_c == 1
    if once and across == 1 and down == 1:
        _yuv_row(planes, colour, m, r, (1, 1, 1, 1), tone, row)
    elif once and across == 2 and down == 2:
        _yuv_row(planes, colour, m, r, (2, 2, 1, 1), tone, row)
    else:
        _yuv_row(planes, colour, m, r, taps, tone, row)


@inner()
def _yuv_row_border(
    planes: Any, colour: Any, m: Any, r: Any, taps: Any, tone: Any, row: Any
) -> None:
    """A crop row that may leave the planes."""
    luma, chroma_u, chroma_v, width = planes
    black, gain, red_v, green_u, green_v, blue_u, siting = colour
    scale, bias, zero = tone
    across, down, across_c, down_c = taps
    height = luma.shape[0]
    width_c = (width + 1) // 2
    weight, weight_c = ONE / np.float32(across * down), ONE / np.float32(across_c * down_c)
    for column in range(row.shape[0]):
        y = cb = cr = inside = ZERO
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
def _warp_yuv(planes: Any, colour: Any, matrices: Any, tone: Any, out: Any) -> None:
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
            taps_along(HALF * m[0, 0], HALF * m[1, 0]),
            taps_along(HALF * m[0, 1], HALF * m[1, 1]),
        )
        for r in range(size):
            row = out[k, r]
            if _row_inside(m, r, size, planes.width, height, CHROMA_REACH):
                _yuv_row_inside(planes, colour, m, r, taps, tone, row)
            else:
                _yuv_row_border(planes, colour, m, r, taps, tone, row)
