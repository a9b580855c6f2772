"""Still pictures: one file, or the files of a folder in natural order."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import av

from streamprn.config.address import IMAGE_SUFFIXES, SourceKind
from streamprn.errors import InputError, SourceError
from streamprn.source.content import Content, judge, judge_file
from streamprn.source.opening import describe_error, open_video
from streamprn.source.orientation import UPRIGHT, Orientation, stored_orientation
from streamprn.source.stills import decode_still

_log = logging.getLogger("streamprn.source")

__all__ = ["list_pictures", "plays_as_video", "read_picture"]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamprn.config import Address, SourceConfig


def plays_as_video(address: Address) -> bool:
    """Whether a finite source is a clip rather than pictures, by the content of its file."""
    if address.kind is SourceKind.LAVFI:
        return True
    if address.kind not in (SourceKind.FILE, SourceKind.IMAGE):
        return False
    content = judge_file(Path(address.uri))
    if content is Content.OTHER:
        return address.kind is SourceKind.FILE
    return content is Content.CLIP


def list_pictures(address: Address) -> Sequence[Path]:
    """Return the image itself, or a folder's images so that `img2` comes before `img10`."""
    path = Path(address.uri)
    if address.kind is not SourceKind.FOLDER:
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
) -> tuple[av.VideoFrame, Orientation]:
    """Decode the first picture of an image file.

    Returns:
        The frame, and the orientation that the file names.

    Raises:
        SourceError: it is missing, empty, damaged, or no image.
    """
    if not path.is_file():
        raise SourceError("no such file", uri=str(path))
    data = path.read_bytes()
    if _beyond_ffmpeg(data):
        if judge(data) is Content.ANIMATION:
            _log.warning("%s: an animation, of which the first picture is shown", path.name)
        return _by_opencv(data, path), UPRIGHT
    container, stream = open_video(config, address, str(path))
    with container:
        try:
            for frame in container.decode(stream):
                return frame, stored_orientation(data)
        except (av.FFmpegError, ValueError) as error:
            raise describe_error(error, address, str(path)) from None
    raise SourceError("holds no readable picture", uri=str(path), hint="it may be damaged")


def _beyond_ffmpeg(data: bytes) -> bool:
    """Animations that FFmpeg does not decode, and AVIF, whose alpha it does not see."""
    return judge(data) is Content.ANIMATION or data[4:12] == b"ftypavif"


def _by_opencv(data: bytes, path: Path) -> av.VideoFrame:
    try:
        rgb = decode_still(data, str(path))
    except InputError:
        raise SourceError(
            "holds no readable picture", uri=str(path), hint="it may be damaged"
        ) from None
    return av.VideoFrame.from_ndarray(rgb, format="rgb24")
