"""What a file is by its content: its suffix may be missing, odd or wrong."""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

__all__ = ["Content", "is_clip", "judge", "judge_file"]

#: What tells the content of a file is within its first bytes.
REACH = 1 << 16


class Content(StrEnum):
    """What a file holds.

    `ANIMATION` is a clip in a format of pictures that FFmpeg does not play: animated WebP, and AVIF
    sequences; `streamprn.source.animation` does. `CLIP` is a video, or a GIF or PNG with several
    pictures. `OTHER` may be anything.
    """

    PICTURE = "picture"
    CLIP = "clip"
    ANIMATION = "animation"
    OTHER = "other"


_PICTURES = (
    b"\xff\xd8\xff",  # JPEG
    b"II*\0",  # TIFF
    b"MM\0*",
    b"II+\0",  # BigTIFF
    b"MM\0+",
    b"\0\0\0\x0cjP  ",  # JPEG 2000
    b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cJXL ",
    b"\xff\x0a",
    b"#?RADIANCE",
    b"v/1\x01",  # OpenEXR
)
_VIDEOS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"OggS",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMV
    b"\0\0\x01\xba",  # MPEG
    b"\0\0\x01\xb3",
)
# They hold pictures one after the other, each of which looks like a picture.
_STREAMS_OF_PICTURES = frozenset({".mjpeg", ".mjpg"})
_TS_PACKET = 188
_HEIF_PICTURES = (b"avif", b"heic", b"heix", b"mif1")
_HEIF_CLIPS = (b"avis", b"hevc", b"msf1")


def is_clip(path: Path, picture_suffixes: Container[str]) -> bool:
    """Whether to take a file for a clip rather than a picture.

    Args:
        path: the file.
        picture_suffixes: what tells a picture where the content tells nothing; in lower case.
    """
    suffix = path.suffix.lower()
    content = judge_file(path)
    if content is Content.OTHER:
        return suffix not in picture_suffixes
    return content is not Content.PICTURE or suffix in _STREAMS_OF_PICTURES


def judge_file(path: Path) -> Content:
    """Judge a file; `OTHER` where it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(REACH)
            # Only a second picture makes a GIF a clip, and it may come late.
            return judge(head + file.read() if head[:4] == b"GIF8" else head)
    except OSError:
        return Content.OTHER


def judge(data: bytes) -> Content:
    """Judge the first `REACH` bytes of a file; of a GIF, all of it."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        animated = 0 <= data.find(b"acTL") < _position(data, b"IDAT")
        return Content.CLIP if animated else Content.PICTURE
    if data[:4] == b"GIF8":
        return Content.CLIP if _gif_pictures(data) > 1 else Content.PICTURE
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        animated = data[12:16] == b"VP8X" and len(data) > 20 and bool(data[20] & 2)
        return Content.ANIMATION if animated else Content.PICTURE
    if data[4:8] == b"ftyp":
        return _of_brand(data[8:12])
    if data.startswith(_PICTURES) or _is_pnm(data) or _is_bmp(data):
        return Content.PICTURE
    avi = data[:4] == b"RIFF" and data[8:11] == b"AVI"
    return Content.CLIP if avi or data.startswith(_VIDEOS) or _is_ts(data) else Content.OTHER


def _of_brand(brand: bytes) -> Content:
    if brand in _HEIF_CLIPS:
        return Content.ANIMATION
    return Content.PICTURE if brand in _HEIF_PICTURES else Content.CLIP


def _position(data: bytes, mark: bytes) -> int:
    at = data.find(mark)
    return at if at >= 0 else len(data)


def _is_ts(data: bytes) -> bool:
    """MPEG-TS; in `.mts` files each packet has four bytes more before it."""
    return len(data) > 5 * _TS_PACKET and any(
        all(data[first + step * n] == 0x47 for n in range(4))
        for first, step in ((0, _TS_PACKET), (4, _TS_PACKET + 4))
    )


def _is_pnm(data: bytes) -> bool:
    return data[:1] == b"P" and data[1:2] in b"1234567Ff" and data[2:3].isspace()


def _is_bmp(data: bytes) -> bool:
    """The size of the header behind the mark, since "BM" may begin anything."""
    return data[:2] == b"BM" and data[14:18] in (
        struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124)
    )


def _gif_pictures(data: bytes) -> int:
    """How many pictures a GIF holds, at most 2 are counted."""
    if len(data) < 13:
        return 0
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    count = 0
    while at < len(data) and count < 2:
        if data[at] == 0x2C and at + 10 < len(data):
            count += 1
            packed = data[at + 9]
            at = _after_blocks(data, at + 11 + (3 << (packed & 7) + 1 if packed & 0x80 else 0))
        elif data[at] == 0x21:
            at = _after_blocks(data, at + 2)
        else:
            break
    return count


def _after_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1
