"""Encoded pictures as upright RGB, by OpenCV, and by FFmpeg where OpenCV knows no such format."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from streamprn.errors import InputError
from streamprn.pixels import most_pixels, over_white
from streamprn.source.limits import check_picture, probing
from streamprn.source.orientation import UPRIGHT, stored_orientation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import UInt8

__all__ = ["decode_still", "decode_with_alpha"]

_READABLE = "JPEG, PNG, TIFF, WebP, AVIF, BMP, GIF, PNM"


def decode_still(data: bytes, name: str = "picture", max_pixels: int | None = None) -> UInt8:
    """Decode a picture to `(H, W, 3)` uint8 sRGB, upright, over white where it is transparent.

    Grey becomes RGB, 16 bits become 8, CMYK is converted, and EXIF orientation or its like is
    applied. The density that a file names does not count: pixels of pictures are square.

    Args:
        data: the whole file.
        name: what errors call it.
        max_pixels: that it may have; None takes `streamprn.pixels.most_pixels()`.

    Raises:
        InputError: it is no picture, or has too many pixels.
    """
    rgb, alpha = decode_with_alpha(data, name, max_pixels)
    return rgb if alpha is None else over_white(np.dstack([rgb, alpha]))


def decode_with_alpha(
    data: bytes, name: str = "picture", max_pixels: int | None = None
) -> tuple[UInt8, UInt8 | None]:
    """As `decode_still`, and the opacity `(H, W)` uint8; None where all is opaque."""
    check_picture(data, name, max_pixels)
    buffer = np.frombuffer(data, np.uint8)
    try:
        # Grey with alpha and the like: whatever it is, it comes as 1, 3 or 4 channels.
        raw = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise InputError(
            f"{name}: not a readable picture: {error.err}", hint=f"known are {_READABLE}"
        ) from error
    if raw is None or raw.size == 0:
        return _by_ffmpeg(data, name, max_pixels or most_pixels()), None
    # OpenCV turns TIFF itself, whatever it is told.
    turn = UPRIGHT if data[:2] in (b"II", b"MM") else stored_orientation(data)
    picture = np.ascontiguousarray(turn.apply(_as_8_bits(raw)))
    if picture.shape[2] == 4:
        alpha = np.ascontiguousarray(picture[:, :, 3])
        opaque = alpha.min() == 255
        return np.ascontiguousarray(picture[:, :, :3]), None if opaque else alpha
    return picture, None


def _as_8_bits(raw: NDArray[Any]) -> UInt8:
    """OpenCV's grey, BGR or BGRA of any depth as RGB or RGBA `(H, W, C)` uint8."""
    if raw.ndim == 2:
        raw = np.repeat(raw[:, :, None], 3, axis=2)
    order = [2, 1, 0, 3][: raw.shape[2]] if raw.shape[2] >= 3 else [0, 0, 0, 1]
    raw = raw[:, :, order]
    if raw.dtype == np.uint8:
        return np.asarray(raw)
    if raw.dtype == np.uint16:
        return np.asarray((raw.astype(np.uint32) + 128) // 257, np.uint8)
    # Floating-point and wide integer pictures: 0..1, or their own range where they exceed it.
    values = np.nan_to_num(raw[:, :, :3].astype(np.float32), posinf=0.0, neginf=0.0)
    top = float(values.max())
    values = np.clip(values / (top if top > 1.0 else 1.0), 0.0, 1.0)
    return np.asarray(np.round(255.0 * values), np.uint8)


def _by_ffmpeg(data: bytes, name: str, most: int) -> UInt8:
    import av

    from streamprn.source.decode import to_image

    try:
        with av.open(io.BytesIO(data), options=probing(most)) as container:
            if container.streams.video and not container.streams.audio:
                for frame in container.decode(video=0):
                    return to_image(frame).rgb
    except (av.FFmpegError, ValueError, OSError):
        pass
    raise InputError(f"{name}: not a readable picture", hint=f"known are {_READABLE}")
