"""Still pictures: one file, or the files of a folder in natural order."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import av

from streamprn.config.address import IMAGE_SUFFIXES, SourceKind
from streamprn.errors import InputError, SourceError
from streamprn.source.animation import animation_pictures
from streamprn.source.content import Content, judge, judge_file
from streamprn.source.limits import check_picture
from streamprn.source.opening import describe_error, open_video
from streamprn.source.orientation import UPRIGHT, Orientation, stored_orientation
from streamprn.source.stills import decode_still
from streamprn.source.tracks import check_number

_log = logging.getLogger("streamprn.source")

__all__ = ["content_of", "list_pictures", "read_animation", "read_picture"]

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from fractions import Fraction

    from streamprn.config import Address, SourceConfig


def content_of(address: Address) -> Content:
    """Whether a finite source is a clip, an animation, or pictures, by the content of its file."""
    if address.kind in (SourceKind.PIPE, SourceKind.LAVFI):
        return Content.CLIP
    if address.kind not in (SourceKind.FILE, SourceKind.IMAGE):
        return Content.PICTURE
    content = judge_file(Path(address.uri))
    if content is Content.OTHER:
        return Content.CLIP if address.kind is SourceKind.FILE else Content.PICTURE
    return content


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
    try:
        check_picture(data, str(path), config.max_pixels)
    except InputError as error:
        what = error.what.removeprefix(f"{path}: ")
        raise SourceError(what, uri=str(path), hint=error.hint) from None
    if _beyond_ffmpeg(data):
        if judge(data) is Content.ANIMATION:
            _log.warning("%s: an animation, of which the first picture is shown", path.name)
        return _by_opencv(data, path, config.max_pixels), UPRIGHT
    container, stream = open_video(config, address, str(path))
    with container:
        try:
            for frame in container.decode(stream):
                return frame, stored_orientation(data)
        except (av.FFmpegError, ValueError) as error:
            raise describe_error(error, address, str(path)) from None
    raise SourceError("holds no readable picture", uri=str(path), hint="it may be damaged")


def read_animation(
    config: SourceConfig, address: Address
) -> Iterator[tuple[av.VideoFrame | None, Fraction]]:
    """The pictures of an animation, None for damaged ones, and the seconds of each.

    Raises:
        SourceError: the file cannot be read, or holds one video stream while another is wanted.
        InputError: this OpenCV is too old for it.
    """
    try:
        data = Path(address.uri).read_bytes()
    except OSError as error:
        raise describe_error(error, address) from None
    check_number(config.video_stream, 1, address.safe_uri)
    for rgb, duration in animation_pictures(data, address.safe_uri):
        frame = None if rgb is None else av.VideoFrame.from_ndarray(rgb, format="rgb24")
        yield frame, duration


def _beyond_ffmpeg(data: bytes) -> bool:
    """Animations that FFmpeg does not decode, and AVIF, whose alpha it does not see."""
    return judge(data) is Content.ANIMATION or data[4:12] == b"ftypavif"


def _by_opencv(data: bytes, path: Path, most: int) -> av.VideoFrame:
    try:
        rgb = decode_still(data, str(path), most)
    except InputError:
        raise SourceError(
            "holds no readable picture", uri=str(path), hint="it may be damaged"
        ) from None
    return av.VideoFrame.from_ndarray(rgb, format="rgb24")
