"""Arrays that users hand in as pictures, made RGB: right, or refused in words."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from streamprn.errors import InputError, TooManyPixelsError
from streamprn.limits import MAX_PIXELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import UInt8

__all__ = ["as_rgb", "check_pixels", "limit_pixels", "most_pixels", "over_white", "size_by_header"]

_SHAPES = "(H, W), (H, W, 3) or (H, W, 4)"
# What rounding may leave of 0 and 1.
_SLACK = 1e-3


def as_rgb(image: NDArray[Any], order: Literal["RGB", "BGR"] = "RGB") -> UInt8:
    """A picture of any usual kind as `(H, W, 3)` uint8 RGB, C order; itself where it is that.

    Args:
        image: `(H, W)` or `(H, W, 1)` grey, `(H, W, 3)` colour, or `(H, W, 4)` colour with alpha,
            which is laid over white; uint8, uint16 (0..65535), or floating point (0..1); any
            strides.
        order: of the first three channels; OpenCV's pictures are "BGR".

    Raises:
        InputError: it is none of these.
    """
    if order not in ("RGB", "BGR"):
        raise InputError(f"order {order!r}: must be 'RGB' or 'BGR'")
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"a picture must be a NumPy array, not {type(image).__name__}",
            hint="np.asarray(picture) converts most",
        )
    _check_shape(image)
    values = _as_uint8(image)
    if values.ndim == 2 or values.shape[2] == 1:
        grey = values.reshape(values.shape[:2])
        return np.repeat(grey[:, :, None], 3, axis=2)
    if order == "BGR":
        values = values[:, :, [2, 1, 0, 3][: values.shape[2]]]
    return over_white(values) if values.shape[2] == 4 else np.ascontiguousarray(values)


def _check_shape(image: NDArray[Any]) -> None:
    shape = image.shape
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        planar = len(shape) == 3 and shape[0] in (1, 3, 4)
        raise InputError(
            f"a picture of shape {shape} is none of {_SHAPES}",
            hint="np.moveaxis(picture, 0, 2) puts the channels last" if planar else "",
        )
    if image.size == 0:
        raise InputError(f"a picture of shape {shape} has no pixels")


def _as_uint8(image: NDArray[Any]) -> UInt8:
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        if 0 < (most := int(image.max())) <= 255:
            raise InputError(
                f"a uint16 picture must be in 0..65535, the most in this one is {most}",
                hint="0..255 is picture.astype(np.uint8)",
            )
        return np.asarray((image.astype(np.uint32) + 128) // 257, np.uint8)
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(
            f"a picture of {image.dtype} is none of uint8, uint16 and floating point",
            hint="0..255 is picture.astype(np.uint8)",
        )
    if not np.isfinite(image).all():
        raise InputError("a picture has values that are not finite", hint="np.nan_to_num makes 0")
    low, high = float(image.min()), float(image.max())
    if not (low >= -_SLACK and high <= 1.0 + _SLACK):
        raise InputError(
            f"a floating-point picture must be in 0..1, this one is in {low:g}..{high:g}",
            hint="divide it by 255, or give uint8",
        )
    return np.asarray(np.round(255.0 * np.clip(image, 0.0, 1.0)), np.uint8)


def over_white(rgba: UInt8) -> UInt8:
    """Lay a picture `(H, W, 4)` uint8 over white; returns `(H, W, 3)`."""
    rgb, alpha = rgba[:, :, :3], rgba[:, :, 3:]
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(rgb)
    mixed = rgb.astype(np.uint16) * alpha + 255 * (255 - alpha.astype(np.uint16)) + 127
    return (mixed // 255).astype(np.uint8)


def size_by_header(data: bytes) -> tuple[int, int] | None:
    """Width and height of an encoded picture, by its header; None where that cannot be told."""
    import imagesize

    try:
        width, height = map(int, imagesize.get(io.BytesIO(data)))
    except (ValueError, OSError, struct.error, IndexError, KeyError, OverflowError):
        return None
    return (width, height) if min(width, height) > 0 else None


class _Limit:
    """How many pixels a picture may have in this process."""

    most = MAX_PIXELS


def limit_pixels(most: int) -> None:
    """Set how many pixels a picture that is read may have, for the whole process."""
    _Limit.most = most


def most_pixels() -> int:
    """How many pixels a picture that is read may have."""
    return _Limit.most


def check_pixels(width: int, height: int, name: str, most: int | None = None) -> None:
    """Refuse a picture of more than `most` pixels (None: `most_pixels()`).

    Raises:
        TooManyPixelsError: it has more.
    """
    most = most_pixels() if most is None else most
    if width * height > most:
        raise TooManyPixelsError(
            f"{name}: {width}x{height} px are more than the {most:,} px allowed",
            hint="raise --max-pixels (a source: max_pixels) where it is to be trusted",
        )
