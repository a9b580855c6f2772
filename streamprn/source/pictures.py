"""Still pictures: one file, or the files of a folder in natural order."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import av

from streamprn.config.address import IMAGE_SUFFIXES, SourceKind
from streamprn.errors import SourceError
from streamprn.source.decode import EXIF_ORIENTATIONS, Orientation
from streamprn.source.opening import describe_error, open_video

__all__ = ["exif_orientation", "list_pictures", "read_picture"]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamprn.config import Address, SourceConfig


def list_pictures(address: Address) -> Sequence[Path]:
    """Return the image itself, or a folder's images so that `img2` comes before `img10`."""
    path = Path(address.uri)
    if address.kind is SourceKind.IMAGE:
        return [path]
    try:
        found = [one for one in path.iterdir() if one.suffix.lower() in IMAGE_SUFFIXES]
    except OSError as error:
        raise SourceError(f"cannot list it: {error.strerror}", uri=address.safe_uri) from error
    if not found:
        kinds = " ".join(sorted(IMAGE_SUFFIXES))
        raise SourceError(
            "the folder holds no images", uri=address.safe_uri, hint=f"known: {kinds}"
        )
    return sorted(found, key=lambda one: _natural(one.name))


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def read_picture(
    config: SourceConfig, address: Address, path: Path
) -> tuple[av.VideoFrame, Orientation | None]:
    """Decode the first picture of an image file.

    Returns:
        The frame, and its orientation where the file has an EXIF tag.

    Raises:
        SourceError: it is missing, empty, damaged, or no image.
    """
    if not path.is_file():
        raise SourceError("no such file", uri=str(path))
    container, stream = open_video(config, address, str(path))
    with container:
        try:
            for frame in container.decode(stream):
                return frame, exif_orientation(path)
        except (av.FFmpegError, ValueError) as error:
            raise describe_error(error, address, str(path)) from None
    raise SourceError("holds no readable picture", uri=str(path), hint="it may be damaged")


# What stands before the TIFF header in JPEG, PNG and WebP files; the two latter with a length.
_EXIF_MARKS = (b"Exif\0\0", b"eXIf", b"EXIF")
_EXIF_REACH = 1 << 18


def exif_orientation(path: Path) -> Orientation | None:
    """Read the EXIF orientation (tag 0x0112) of a JPEG, PNG or WebP file, if it has one.

    FFmpeg applies it to the display matrix, whose mirrored cases PyAV does not show.
    """
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp"):
        return None
    with path.open("rb") as file:
        data = file.read(_EXIF_REACH)
    for mark in _EXIF_MARKS:
        at = data.find(mark)
        for skip in (0, 4):
            tiff = data[at + len(mark) + skip :]
            if at >= 0 and tiff[:4] in (b"II*\0", b"MM\0*"):
                return EXIF_ORIENTATIONS.get(_tag_0112(tiff))
    return None


def _tag_0112(tiff: bytes) -> int:
    """Return the orientation of the first directory of a TIFF header, 0 where there is none."""
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(count):
            at = directory + 2 + 12 * entry
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, at)
            if (tag, kind) == (0x0112, 3):
                return int(value)
    except struct.error:
        pass
    return 0
