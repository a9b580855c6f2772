"""Bounds on what pictures and videos may take, held before memory is taken."""

from __future__ import annotations

import ctypes
import io
import logging
import threading
from typing import TYPE_CHECKING, Final

import av
import av._core

from streamprn.pixels import check_pixels, size_by_header
from streamprn.source.growth import PIXEL_BYTES

if TYPE_CHECKING:
    from av.video.stream import VideoStream

__all__ = ["check_picture", "limit_memory", "limit_stream", "make_room", "probing"]

#: The largest single block that FFmpeg may take: a picture of 8K in 16-bit RGBA has 265 MB.
MAX_BLOCK_BYTES: Final = 384 << 20
#: The same while nothing but cameras and streams is read. A packet that never ends, as of an MJPEG
#: stream without boundaries, fails there.
LIVE_BLOCK_BYTES: Final = 96 << 20
_log = logging.getLogger("streamprn.source")


class _Bound:
    """The largest block that FFmpeg may take, in the whole process: it knows no other bound."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0

    def allow(self, most: int) -> bool:
        """Let FFmpeg take blocks of so many bytes, if that is more than before."""
        with self._lock:
            if most <= self._bytes:
                return True
            try:
                # The symbol is in the library that PyAV's own module is linked with.
                ctypes.CDLL(av._core.__file__).av_max_alloc(ctypes.c_size_t(most))
            except (OSError, AttributeError) as error:
                _log.debug("FFmpeg's memory is not bounded: %s", error)
                return False
            self._bytes = most
            return True


_bound = _Bound()


def limit_memory(most: int = MAX_BLOCK_BYTES) -> bool:
    """Bound what FFmpeg takes at a time, in the whole process; whether that could be done.

    Of several bounds the largest counts.
    """
    return _bound.allow(most)


def make_room(width: int, height: int) -> None:
    """Let FFmpeg take blocks as large as a picture of that size in any format needs."""
    needed = width * height * PIXEL_BYTES
    if needed > LIVE_BLOCK_BYTES:
        limit_memory(min(needed, MAX_BLOCK_BYTES))


def probing(most: int, *, live: bool = False) -> dict[str, str]:
    """Options for `av.open` that keep FFmpeg from decoding a larger picture to look at it.

    Args:
        most: pixels of a picture.
        live: it is a camera or a stream, whose packets are small.
    """
    limit_memory(LIVE_BLOCK_BYTES if live else MAX_BLOCK_BYTES)
    return {"max_pixels": str(most)}


def limit_stream(stream: VideoStream, shown: str, most: int) -> None:
    """Refuse a video whose header says too many pixels, and let its decoder refuse them later.

    Raises:
        InputError: a picture of it has more than `most` pixels.
    """
    context = stream.codec_context
    check_pixels(context.width, context.height, shown, most)
    make_room(context.width, context.height)
    context.options = {**context.options, "max_pixels": str(most)}


def check_picture(data: bytes, name: str, most: int | None = None) -> None:
    """Refuse an encoded picture with too many pixels, by its header.

    Args:
        data: the whole file.
        name: what the error calls it.
        most: pixels allowed; None takes `streamprn.pixels.most_pixels()`.

    Raises:
        InputError: it has more.
    """
    width, height = size_by_header(data) or _probed_size(data)
    check_pixels(width, height, name, most)


def _probed_size(data: bytes) -> tuple[int, int]:
    """The size of a picture of a rarer kind; 0 where it cannot be told."""
    limit_memory()
    try:
        with av.open(io.BytesIO(data)) as container:
            context = container.streams.video[0].codec_context
            return (context.width, context.height) if context is not None else (0, 0)
    except (av.FFmpegError, ValueError, OSError, IndexError):
        return 0, 0
