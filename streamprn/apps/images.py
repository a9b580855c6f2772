"""Reading and writing pictures: whatever a camera, a scanner or a web page left in a folder."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from streamprn.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import UInt8

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".avif"}
    | {".ppm", ".pgm", ".pnm", ".pbm"}
)
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv"}
)
_READABLE = "JPEG, PNG, TIFF, WebP, BMP, GIF, PNM"


def read_image(path: Path, *, max_size: int | None = None) -> UInt8:
    """Read a picture as `(H, W, 3)` uint8 sRGB, upright (EXIF rotation applied).

    Grey becomes RGB, 16 bits become 8, CMYK is converted, and transparency is laid over white.

    Args:
        path: the file.
        max_size: shrink so that the longer side has at most this many pixels.

    Raises:
        InputError: there is no such file, it is empty, or it is no picture.
    """
    rgb = decode_image(_read_bytes(path), str(path))
    return rgb if max_size is None else shrink(rgb, max_size)


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a picture", hint="give one file")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file", hint="check the path") from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}", hint="check its permissions"
        ) from error
    if not data:
        raise InputError(f"{path}: the file is empty", hint="fetch or save it again")
    return data


def decode_image(data: bytes, name: str = "picture") -> UInt8:
    """Decode an encoded picture to `(H, W, 3)` uint8 RGB; see `read_image`."""
    buffer = np.frombuffer(data, np.uint8)
    try:
        raw = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
        if raw is None or raw.size == 0:
            raise InputError(f"{name}: not a readable picture", hint=f"known are {_READABLE}")
        if raw.ndim == 3 and raw.shape[2] == 4 and raw.dtype in (np.uint8, np.uint16):
            # IMREAD_UNCHANGED ignores EXIF orientation, which formats with alpha seldom carry.
            return _over_white(raw)
        if raw.dtype not in (np.uint8, np.uint16):
            return _from_other(raw)
        bgr: NDArray[Any] = np.asarray(cv2.imdecode(buffer, cv2.IMREAD_COLOR))
    except cv2.error as error:
        raise InputError(
            f"{name}: not a readable picture: {error.err}", hint=f"known are {_READABLE}"
        ) from error
    return np.ascontiguousarray(bgr[:, :, ::-1])


def _over_white(raw: NDArray[Any]) -> UInt8:
    top = float(np.iinfo(raw.dtype).max)
    alpha = raw[:, :, 3:].astype(np.float32) / top
    rgb = raw[:, :, 2::-1].astype(np.float32) / top
    return np.round(255.0 * (rgb * alpha + 1.0 - alpha)).astype(np.uint8)


def _from_other(raw: NDArray[Any]) -> UInt8:
    """Floating-point and wide integer pictures: 0..1, or their own range where they exceed it."""
    values = np.nan_to_num(raw.astype(np.float32), posinf=0.0, neginf=0.0)
    values = values[:, :, None] if values.ndim == 2 else values[:, :, 2::-1]
    top = float(values.max())
    values = np.clip(values / (top if top > 1.0 else 1.0), 0.0, 1.0)
    rgb = np.round(255.0 * values).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(rgb, (*rgb.shape[:2], 3)))


def shrink(rgb: UInt8, max_size: int) -> UInt8:
    """Scale down, with area averaging, so that the longer side is at most `max_size` pixels."""
    height, width = rgb.shape[:2]
    longest = max(height, width)
    if longest <= max_size:
        return rgb
    size_wh = (
        max(round(width * max_size / longest), 1),
        max(round(height * max_size / longest), 1),
    )
    return np.asarray(cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def write_image(
    path: Path, image: NDArray[np.uint8] | NDArray[np.uint16], quality: int = 92
) -> None:
    """Write grey `(H, W)` or RGB `(H, W, 3)`; the suffix chooses the format (PNG: 8 or 16 bit).

    The file appears under its name only when it is complete.

    Raises:
        InputError: the suffix is unknown, or the folder cannot be written.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        data = encode_image(image, path.suffix.lower(), quality)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise InputError(
            f"{path}: cannot be written: {error.strerror}",
            hint="check the folder and the free space",
        ) from error
    except cv2.error as error:
        raise InputError(
            f"{path}: unknown picture format {path.suffix!r}", hint="use .png or .jpg"
        ) from error


def encode_png(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """The picture as the bytes of a PNG file; see `write_image`."""
    return encode_image(image, ".png")


def encode_image(
    image: NDArray[np.uint8] | NDArray[np.uint16], suffix: str, quality: int = 92
) -> bytes:
    """The picture as the bytes of a file of that suffix; see `write_image`."""
    # Level 1 is four times as fast as the default and the files are a tenth larger.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1] if suffix == ".png" else []
    if suffix in (".jpg", ".jpeg"):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    bgr = image if image.ndim == 2 else image[:, :, ::-1]
    _, data = cv2.imencode(suffix, np.ascontiguousarray(bgr), options)
    return bytes(data)


def linear_from_srgb(values: NDArray[Any]) -> NDArray[np.float32]:
    """The sRGB transfer function (IEC 61966-2-1): encoded 0..1 to linear light 0..1, any shape."""
    values = np.asarray(values, np.float32)
    low = values <= 0.04045
    high = ((np.maximum(values, 0.0) + 0.055) / 1.055) ** 2.4
    return np.where(low, values / 12.92, high).astype(np.float32)


def srgb_from_linear(values: NDArray[Any]) -> NDArray[np.float32]:
    """The inverse of `linear_from_srgb`; negative light counts as none."""
    values = np.maximum(np.asarray(values, np.float32), 0.0)
    low = values <= 0.0031308
    return np.where(low, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055).astype(np.float32)
