"""How a stored picture is turned and mirrored for display: display matrices, EXIF, AVIF boxes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av

    from streamprn.records import UInt8

__all__ = [
    "EXIF_ORIENTATIONS",
    "UPRIGHT",
    "Orientation",
    "OrientationMemory",
    "orientation_of",
    "stored_orientation",
]


@dataclass(frozen=True, slots=True)
class Orientation:
    """How to turn a stored picture for display: first mirror left-right, then turn clockwise."""

    quarter_turns: int = 0
    mirror: bool = False

    @property
    def identity(self) -> bool:
        """Whether the picture is stored as it is shown."""
        return self.quarter_turns == 0 and not self.mirror

    def apply(self, image: UInt8) -> UInt8:
        """Turn an image `(H, W)` or `(H, W, C)` uint8; a view where that is possible."""
        if self.mirror:
            image = image[:, ::-1]
        return np.rot90(image, -self.quarter_turns)


UPRIGHT = Orientation()
# By the value of the EXIF tag 0x0112.
EXIF_ORIENTATIONS = {
    1: UPRIGHT,
    2: Orientation(0, mirror=True),
    3: Orientation(2),
    4: Orientation(2, mirror=True),
    5: Orientation(3, mirror=True),
    6: Orientation(1),
    7: Orientation(1, mirror=True),
    8: Orientation(3),
}


# --- frames of a video ----------------------------------------------------------------------------


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Read the frame's display matrix (container rotation or EXIF orientation).

    The matrix `[[a, b], [c, d]]` maps a stored point (x, y), y down, to (a x + c y, b x + d y)
    (libavutil/display.h); its determinant is negative when the picture is mirrored. Angles other
    than multiples of 90 degrees snap to the nearest.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV 18 refuses all side data of a frame that also carries EXIF, a type new to it
        # ("31 is not a valid Type"). Its `rotation` still works, and cannot tell a mirror.
        return Orientation(round(-frame.rotation / 90.0) % 4)
    if data is None:
        return UPRIGHT
    matrix = np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2].astype(np.float64)
    mirror = bool(np.linalg.det(matrix) < 0)
    if mirror:
        matrix[0] = -matrix[0]
    angle = np.degrees(np.arctan2(matrix[0, 1], matrix[0, 0]))
    return Orientation(round(float(angle) / 90.0) % 4, mirror)


class OrientationMemory:
    """The orientation of a stream's frames, read again only when their rotation changes.

    PyAV caches the side data that `orientation_of` reads in the frame, and they refer to each
    other: such a frame, half a megabyte and more, lives on until the garbage collector runs. So
    only the first frame of a stream is asked.
    """

    def __init__(self) -> None:
        self._rotation: int | None = None
        self._orientation = UPRIGHT

    def of(self, frame: av.VideoFrame) -> Orientation:
        """Return the orientation of a frame."""
        rotation = frame.rotation
        if rotation != self._rotation:
            self._orientation = orientation_of(frame)
            self._rotation = rotation
        return self._orientation


# --- files of pictures ----------------------------------------------------------------------------


def stored_orientation(data: bytes) -> Orientation:
    """The orientation that a JPEG, PNG, WebP, TIFF or AVIF file names, by its content.

    Args:
        data: the whole file.

    Returns:
        Upright where it names none, or where the directory that should tell is damaged.
    """
    if data[4:8] == b"ftyp":
        return _of_heif(data)
    for block in _exif_blocks(data):
        return EXIF_ORIENTATIONS.get(_tag_0112(block), UPRIGHT)
    return UPRIGHT


def _exif_blocks(data: bytes) -> Iterator[bytes]:
    """TIFF structures with EXIF tags, where the format of the file keeps them."""
    if data[:4] in (b"II*\0", b"MM\0*"):
        yield data
    elif data[:2] == b"\xff\xd8":
        yield from _exif_of_jpeg(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        yield from (body for kind, body in _chunks(data, 8, ">I4s", 4) if kind == b"eXIf")
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        for kind, body in _chunks(data, 12, "<4sI", 0):
            if kind == b"EXIF":
                yield body.removeprefix(b"Exif\0\0")


def _exif_of_jpeg(data: bytes) -> Iterator[bytes]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xDA:  # the picture itself
            return
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + length]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            yield body[6:]
        at += 2 + max(length, 2)


def _chunks(data: bytes, at: int, head: str, trailer: int) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of the chunks of a PNG (length first) or WebP file (kind first, even)."""
    size = struct.calcsize(head)
    while at + size <= len(data):
        first, second = struct.unpack_from(head, data, at)
        kind, length = (second, first) if isinstance(second, bytes) else (first, second)
        at += size
        yield kind, data[at : at + length]
        at += length + trailer + (length % 2 if trailer == 0 else 0)


def _tag_0112(tiff: bytes) -> int:
    """Return the orientation of the first directory of a TIFF header, 0 where there is none."""
    if tiff[:4] not in (b"II*\0", b"MM\0*"):
        return 0
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


def _of_heif(data: bytes) -> Orientation:
    """AVIF turns its picture anticlockwise (`irot`), then mirrors it (`imir`); EXIF counts not.

    ISO/IEC 23008-12, 6.5.10 and 6.5.12: axis 0 of a mirror swaps top and bottom, 1 left and right.
    """
    head = data[: max(data.find(b"mdat"), 0) or len(data)]
    turns = max(_property(head, b"irot"), 0) & 3
    axis = _property(head, b"imir")
    if axis < 0:
        return Orientation(-turns % 4)
    # Mirroring after a turn is the turn the other way after mirroring.
    return Orientation((turns + (0 if axis & 1 else 2)) % 4, mirror=True)


def _property(head: bytes, name: bytes) -> int:
    """The value of a property of one byte, -1 where the file has none."""
    at = head.find(b"\0\0\0\x09" + name)
    return head[at + 8] if 0 <= at < len(head) - 8 else -1
