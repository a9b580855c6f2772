"""Which of the video streams of a file or connection is meant: one rule for all that read any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from av.stream import Disposition

from streamprn.errors import SourceError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["check_number", "pick_stream"]

_NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


def pick_stream(container: InputContainer, shown: str, wanted: int | None = None) -> VideoStream:
    """The video stream to read.

    Covers, thumbnails and single pictures are passed over where there is a film; of several films
    the one that is marked as the default counts, then the largest, then the first.

    Args:
        container: opened for reading.
        shown: what to call it in an error.
        wanted: the number of the stream among the video streams, from 0, covers included (FFmpeg's
            `v:N`); None for the rule.

    Raises:
        SourceError: there is no video, no stream of this number, or no decoder for it.
    """
    streams: list[VideoStream] = list(container.streams.video)
    if wanted is not None:
        check_number(wanted, len(streams), shown)
        chosen = streams[wanted]
    else:
        films = [one for one in streams if not one.disposition & _NO_FILM]
        if not films:
            hint = "it may be an audio file" if not streams else "it has a cover picture only"
            raise SourceError("holds no video", uri=shown, hint=hint)
        moving = any(one.frames > 1 for one in films)
        chosen = min(films, key=lambda one: _rank(one, moving))
    if chosen.codec_context is None:
        raise SourceError("FFmpeg has no decoder for its video", uri=shown)
    return chosen


def check_number(wanted: int | None, count: int, shown: str) -> None:
    """Raise `SourceError` where `shown` has `count` video streams, but none of number `wanted`."""
    if wanted is not None and wanted >= count:
        streams = f"{count} video stream{'s' if count != 1 else ''}"
        raise SourceError(
            f"has {streams}, and no number {wanted}", uri=shown, hint="they are counted from 0"
        )


def _rank(stream: VideoStream, moving: bool) -> tuple[bool, bool, bool, int, int]:
    """The less the better."""
    context = stream.codec_context
    return (
        context is None,
        moving and stream.frames == 1,
        not stream.disposition & Disposition.default,
        -(context.width * context.height) if context is not None else 0,
        stream.index,
    )
