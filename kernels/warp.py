"""Cutting face crops out of a frame: affine warp, bilinear, anti-aliased, from RGB or 4:2:0 planes.

Pixel centres stand at integers: crop pixel `(column, row)` samples the frame at
`frame_from_crop @ (column, row, 1)`. Where a crop pixel covers more than 1.5 frame pixels, it is
the mean of 2 x 2 to 4 x 4 bilinear samples, no more than two frame pixels apart, so that a large
face does not alias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from streamprn.kernels._jit import frozen, output
from streamprn.kernels._warp_rgb import warp_rgb_loop
from streamprn.kernels._warp_yuv import Planes, warp_yuv_loop
from streamprn.kernels.maths.sample import Colour, Tone

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import YuvPlanes

Border = Literal["zero", "replicate"]


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
    warp_rgb_loop(frozen(image), matrices, tuple(_tone(scale, bias, border)), out)
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
    y, u, v = (whole_rows(plane) for plane in (planes.y, planes.u, planes.v))
    whole = Planes(y, u, v, planes.y.shape[1])
    colour = colour_of(planes.full_range, planes.bt709)
    tone = _tone(scale, bias, border)
    warp_yuv_loop(tuple(whole), tuple(colour), matrices, tuple(tone), out)
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


def whole_rows(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
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
