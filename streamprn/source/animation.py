"""Clips in formats of pictures that FFmpeg does not play: animated WebP, and AVIF sequences."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import TYPE_CHECKING

import cv2
import numpy as np

from streamprn.errors import InputError
from streamprn.pixels import over_white
from streamprn.source.limits import check_picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamprn.records import UInt8

__all__ = ["animation_pictures"]

# Browsers show what asks for no time at all for a tenth of a second.
_UNTIMED_MS = 100
_AT_ONCE = 32
_BACKGROUND, _NO_BLEND = 1, 2


def animation_pictures(data: bytes, name: str) -> Iterator[tuple[UInt8 | None, Fraction]]:
    """The pictures `(H, W, 3)` uint8 of an animation, over white, and the seconds of each.

    A picture that is damaged is None, and keeps its time.

    Args:
        data: the whole file, WebP or AVIF.
        name: what errors call it.

    Raises:
        InputError: this OpenCV is too old for AVIF sequences.
    """
    check_picture(data, name)
    return _webp(data) if data[:4] == b"RIFF" else _avif(data, name)


def _avif(data: bytes, name: str) -> Iterator[tuple[UInt8, Fraction]]:
    """A few pictures at a time are decoded, since all would not fit into memory."""
    if not hasattr(cv2, "imdecodeanimation"):
        raise InputError(
            f"{name}: an animation, which OpenCV {cv2.__version__} cannot read",
            hint="pip install --upgrade opencv-python-headless",
        )
    buffer = np.frombuffer(data, np.uint8)
    start, found = 0, _AT_ONCE
    while found == _AT_ONCE:
        try:
            good, part = cv2.imdecodeanimation(buffer, start, _AT_ONCE)
        except cv2.error:
            return
        found = len(part.frames) if good else 0
        for picture, ms in zip(part.frames[:found], part.durations[:found], strict=True):
            yield _rgb_over_white(np.asarray(picture, np.uint8)), _seconds(int(ms))
        start += found


def _seconds(ms: int) -> Fraction:
    return Fraction(ms if ms > 0 else _UNTIMED_MS, 1000)


def _rgb_over_white(bgr: UInt8) -> UInt8:
    """OpenCV's BGR or BGRA as RGB."""
    order = [2, 1, 0, 3][: bgr.shape[2]]
    shown = np.ascontiguousarray(bgr[:, :, order])
    return over_white(shown) if shown.shape[2] == 4 else shown


# --- WebP -----------------------------------------------------------------------------------------
# The container of RFC 9649. OpenCV blends it over black and drops its alpha, so only the single
# pictures are decoded by it, and laid over each other here.


def _webp(data: bytes) -> Iterator[tuple[UInt8 | None, Fraction]]:
    canvas: UInt8 | None = None
    for kind, body in _chunks(data, 12):
        if kind == b"VP8X":
            width, height = (1 + _three(body, at) for at in (4, 7))
            canvas = np.zeros((height, width, 4), np.uint8)
        elif kind == b"ANMF" and canvas is not None and len(body) >= 16:
            x, y = 2 * _three(body, 0), 2 * _three(body, 3)
            duration = _seconds(_three(body, 12))
            picture = _decode_part(body[16:])
            if picture is None:
                yield None, duration
                continue
            place = canvas[y : y + picture.shape[0], x : x + picture.shape[1]]
            picture = picture[: place.shape[0], : place.shape[1]]
            flags = body[15]
            place[:] = picture if flags & _NO_BLEND else _blended(place, picture)
            yield _rgb_over_white(canvas), duration
            if flags & _BACKGROUND:
                place[:] = 0


def _three(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _chunks(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _decode_part(chunks: bytes) -> UInt8 | None:
    """One picture of an animation as BGRA `(H, W, 4)`; None where it is damaged."""
    kinds = [kind for kind, _ in _chunks(chunks, 0)]
    head = b""
    if b"ALPH" in kinds:
        size = next((_size(body) for kind, body in _chunks(chunks, 0) if kind == b"VP8 "), None)
        if size is None:
            return None
        width, height = ((one - 1).to_bytes(3, "little") for one in size)
        head = b"VP8X" + struct.pack("<II", 10, 0x10) + width + height
    body = b"WEBP" + head + chunks
    file = b"RIFF" + struct.pack("<I", len(body)) + body
    try:
        found = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if found is None or found.ndim != 3:
        return None
    if found.shape[2] == 3:
        found = cv2.cvtColor(found, cv2.COLOR_BGR2BGRA)
    return np.asarray(found, np.uint8)


def _size(vp8: bytes) -> tuple[int, int]:
    """Width and height of a VP8 key frame (RFC 6386, 9.1)."""
    width, height = struct.unpack_from("<HH", vp8.ljust(10, b"\0"), 6)
    return max(width & 0x3FFF, 1), max(height & 0x3FFF, 1)


def _blended(below: UInt8, above: UInt8) -> UInt8:
    """Lay one BGRA picture over another; neither is premultiplied."""
    over = above[:, :, 3:].astype(np.float32) / 255.0
    under = below[:, :, 3:].astype(np.float32) / 255.0 * (1.0 - over)
    alpha = over + under
    colour = above[:, :, :3] * over + below[:, :, :3] * under
    mixed = np.where(alpha > 0, colour / np.maximum(alpha, 1e-6), 0.0)
    return np.round(np.concatenate([mixed, 255.0 * alpha], axis=2)).astype(np.uint8)
