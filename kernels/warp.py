"""Cutting face crops out of a frame: affine warp, bilinear, anti-aliased, from RGB or 4:2:0 planes.

Pixel centres stand at integers: crop pixel `(column, row)` samples the frame at
`frame_from_crop @ (column, row, 1)`. Where a crop pixel covers more than about 1.5 frame pixels,
it is the mean of up to 4 x 4 bilinear samples (a box filter), so that a large face does not alias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from streamprn.kernels._jit import driver, frozen, output
from streamprn.kernels.maths.affine import apply_row, finite_affine, tap_offset, taps_along
from streamprn.kernels.maths.sample import (
    coverage,
    image_replicate,
    mix,
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
TWO = np.float32(2.0)
HALF = np.float32(0.5)
NEUTRAL = np.float32(128.0)
# Pixels; more than the rounding of a coordinate, so that a row found inside stays inside.
GUARD = np.float32(1 / 64)


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
    _warp_rgb(frozen(image), matrices, np.float32(scale), np.float32(bias), border == "zero", out)
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
    black, *colour = _colour_terms(planes.full_range, planes.bt709)
    siting = 0.25 if planes.full_range else 0.0
    _warp_yuv(
        frozen(planes.y),
        frozen(planes.u),
        frozen(planes.v),
        matrices,
        np.float32(black),
        np.asarray(colour, np.float32),
        np.float32(siting),
        np.float32(scale),
        np.float32(bias),
        border == "zero",
        out,
    )
    return out


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


def _colour_terms(full_range: bool, bt709: bool) -> tuple[float, ...]:
    """Black level, luma gain, and the terms R of V, G of U, G of V, B of U (ITU-R BT.601, 709)."""
    kr, kb = (0.2126, 0.0722) if bt709 else (0.299, 0.114)
    kg = 1.0 - kr - kb
    luma, chroma = (1.0, 1.0) if full_range else (255.0 / 219.0, 255.0 / 224.0)
    red_v, blue_u = 2.0 * (1.0 - kr) * chroma, 2.0 * (1.0 - kb) * chroma
    black = 0.0 if full_range else 16.0
    return black, luma, red_v, -blue_u * kb / kg, -red_v * kr / kg, blue_u


@driver()
def _row_inside(
    x: Any, y: Any, dx: Any, dy: Any, count: Any, width: Any, height: Any, margin: Any
) -> Any:
    """Whether a whole row of samples, and their bilinear neighbours, lie in the image."""
    last = np.float32(count - 1)
    right, bottom = np.float32(width - 1) - margin, np.float32(height - 1) - margin
    x1, y1 = x + dx * last, y + dy * last
    return (
        min(x, x1) >= margin and max(x, x1) < right and min(y, y1) >= margin and max(y, y1) < bottom
    )


@driver()
def _fill(row: Any, value: Any) -> None:
    for column in range(row.shape[0]):
        row[column, 0] = value
        row[column, 1] = value
        row[column, 2] = value


@driver(fastmath=True)
def _add_row_rgb(image: Any, x: Any, y: Any, dx: Any, dy: Any, gain: Any, row: Any) -> None:
    """Add `gain` times the samples of a row that lies inside the image."""
    for column in range(row.shape[0]):
        px = x + dx * np.float32(column)
        py = y + dy * np.float32(column)
        c, r = np.uint32(px), np.uint32(py)
        fx, fy = px - np.float32(c), py - np.float32(r)
        right, below = c + np.uint32(1), r + np.uint32(1)
        for channel in range(3):
            row[column, channel] += gain * mix(
                np.float32(image[r, c, channel]),
                np.float32(image[r, right, channel]),
                np.float32(image[below, c, channel]),
                np.float32(image[below, right, channel]),
                fx,
                fy,
            )


@driver()
def _add_row_rgb_border(
    image: Any, x: Any, y: Any, dx: Any, dy: Any, gain: Any, zero: Any, row: Any
) -> None:
    """Add `gain` times the samples of a row that may leave the image."""
    height, width = image.shape[0], image.shape[1]
    for column in range(row.shape[0]):
        px = x + dx * np.float32(column)
        py = y + dy * np.float32(column)
        weight = gain
        if zero:
            weight *= coverage(px, width) * coverage(py, height)
        if weight != ZERO:
            for channel in range(3):
                row[column, channel] += weight * image_replicate(image, px, py, channel)


@driver()
def _warp_rgb(image: Any, matrices: Any, scale: Any, bias: Any, zero: Any, out: Any) -> None:
    height, width = image.shape[0], image.shape[1]
    size = out.shape[1]
    for k in range(out.shape[0]):
        m = matrices[k]
        finite = finite_affine(matrices, k)
        across, down = taps_along(m[0, 0], m[1, 0]), taps_along(m[0, 1], m[1, 1])
        gain = scale / np.float32(across * down)
        for r in range(size):
            row = out[k, r]
            _fill(row, bias)
            if not finite:
                continue
            for tap in range(across * down):
                u = tap_offset(tap % across, across)
                v = np.float32(r) + tap_offset(tap // across, down)
                x = apply_row(m[0, 0], m[0, 1], m[0, 2], u, v)
                y = apply_row(m[1, 0], m[1, 1], m[1, 2], u, v)
                if _row_inside(x, y, m[0, 0], m[1, 0], size, width, height, GUARD):
                    _add_row_rgb(image, x, y, m[0, 0], m[1, 0], gain, row)
                else:
                    _add_row_rgb_border(image, x, y, m[0, 0], m[1, 0], gain, zero, row)


@driver(fastmath=True)
def _add_row_plane(
    plane: Any, x: Any, y: Any, dx: Any, dy: Any, offset: Any, gain: Any, channel: Any, row: Any
) -> None:
    """Add `gain` times (samples - `offset`) of a plane, for a row that lies inside it."""
    for column in range(row.shape[0]):
        value = plane_bilinear(plane, x + dx * np.float32(column), y + dy * np.float32(column))
        row[column, channel] += gain * (value - offset)


@driver()
def _add_row_plane_border(
    plane: Any, x: Any, y: Any, dx: Any, dy: Any, offset: Any, gain: Any, channel: Any, row: Any
) -> None:
    """As `_add_row_plane`, with the edge pixels repeated for ever."""
    for column in range(row.shape[0]):
        value = plane_replicate(plane, x + dx * np.float32(column), y + dy * np.float32(column))
        row[column, channel] += gain * (value - offset)


@driver()
def _add_row(
    plane: Any, x: Any, y: Any, dx: Any, dy: Any, offset: Any, gain: Any, channel: Any, row: Any
) -> None:
    if _row_inside(x, y, dx, dy, row.shape[0], plane.shape[1], plane.shape[0], GUARD):
        _add_row_plane(plane, x, y, dx, dy, offset, gain, channel, row)
    else:
        _add_row_plane_border(plane, x, y, dx, dy, offset, gain, channel, row)


@driver()
def _cover_row(m: Any, r: Any, across: Any, down: Any, width: Any, height: Any, row: Any) -> None:
    """Multiply a row by the part of each pixel's samples that lies inside the image."""
    for column in range(row.shape[0]):
        total = ZERO
        for tap in range(across * down):
            u = np.float32(column) + tap_offset(tap % across, across)
            v = np.float32(r) + tap_offset(tap // across, down)
            x = apply_row(m[0, 0], m[0, 1], m[0, 2], u, v)
            y = apply_row(m[1, 0], m[1, 1], m[1, 2], u, v)
            total += coverage(x, width) * coverage(y, height)
        total /= np.float32(across * down)
        row[column, 0] *= total
        row[column, 1] *= total
        row[column, 2] *= total


@driver(fastmath=True)
def _convert_row(colour: Any, scale: Any, bias: Any, row: Any) -> None:
    """Luma above black and centred chroma to scaled RGB, in place."""
    gain, red_v, green_u, green_v, blue_u = colour[0], colour[1], colour[2], colour[3], colour[4]
    for column in range(row.shape[0]):
        y, u, v = row[column, 0], row[column, 1], row[column, 2]
        row[column, 0] = scale * yuv_red(y, v, gain, red_v) + bias
        row[column, 1] = scale * yuv_green(y, u, v, gain, green_u, green_v) + bias
        row[column, 2] = scale * yuv_blue(y, u, gain, blue_u) + bias


@driver()
def _add_taps(
    plane: Any,
    m: Any,
    r: Any,
    shrink: Any,
    shift_x: Any,
    shift_y: Any,
    across: Any,
    down: Any,
    offset: Any,
    channel: Any,
    row: Any,
) -> None:
    """Add the box-filtered samples of one plane, whose pixels are `1 / shrink` frame pixels."""
    gain = ONE / np.float32(across * down)
    for tap in range(across * down):
        u = tap_offset(tap % across, across)
        v = np.float32(r) + tap_offset(tap // across, down)
        x = apply_row(m[0, 0], m[0, 1], m[0, 2], u, v) * shrink - shift_x
        y = apply_row(m[1, 0], m[1, 1], m[1, 2], u, v) * shrink - shift_y
        _add_row(plane, x, y, m[0, 0] * shrink, m[1, 0] * shrink, offset, gain, channel, row)


@driver()
def _warp_yuv(
    luma: Any,
    chroma_u: Any,
    chroma_v: Any,
    matrices: Any,
    black: Any,
    colour: Any,
    siting: Any,
    scale: Any,
    bias: Any,
    zero: Any,
    out: Any,
) -> None:
    height, width = luma.shape
    size = out.shape[1]
    quarter = HALF * HALF
    for k in range(out.shape[0]):
        m = matrices[k]
        finite = finite_affine(matrices, k)
        across, down = taps_along(m[0, 0], m[1, 0]), taps_along(m[0, 1], m[1, 1])
        across_c = taps_along(HALF * m[0, 0], HALF * m[1, 0])
        down_c = taps_along(HALF * m[0, 1], HALF * m[1, 1])
        for r in range(size):
            row = out[k, r]
            _fill(row, ZERO)
            if finite:
                _add_taps(luma, m, r, ONE, ZERO, ZERO, across, down, black, 0, row)
                _add_taps(chroma_u, m, r, HALF, siting, quarter, across_c, down_c, NEUTRAL, 1, row)
                _add_taps(chroma_v, m, r, HALF, siting, quarter, across_c, down_c, NEUTRAL, 2, row)
                x = apply_row(m[0, 0], m[0, 1], m[0, 2], ZERO, np.float32(r))
                y = apply_row(m[1, 0], m[1, 1], m[1, 2], ZERO, np.float32(r))
                if zero and not _row_inside(x, y, m[0, 0], m[1, 0], size, width, height, TWO * TWO):
                    _cover_row(m, r, across, down, width, height, row)
            _convert_row(colour, scale, bias, row)
