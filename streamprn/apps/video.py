"""Reading a clip picture by picture; every picture has its time."""

from __future__ import annotations

import contextlib
import stat
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.apps.files import NamelessFile
from streamprn.errors import InputError, SourceError
from streamprn.pixels import most_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from streamprn.records import UInt8

_OTHER_RATE = Fraction(25)
# Formats whose packets have places in a sequence, but whose pictures have no times of their own.
_UNSTAMPED = frozenset({"avi", "h264", "hevc", "m4v", "mpegvideo", "mjpeg"})
# After so many errors in a row a file has no readable rest.
_MOST_ERRORS = 32
_NOT_A_VIDEO = "does it play? known are videos, GIF, APNG, animated WebP and AVIF"


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """One picture of a clip.

    Attributes:
        index: its number, from 0 on; broken pictures have none.
        rgb: `(H, W, 3)` uint8, upright, square pixels.
        time: seconds from the start of the file, which is that of its sound or its pictures,
            whichever is earlier.
        duration: seconds that the file gives it, 0 where it does not say.
    """

    index: int
    rgb: UInt8
    time: Fraction
    duration: Fraction


class Clip:
    """What both kinds of clips offer; a context manager.

    Attributes:
        path: of the file.
        rate: pictures a second, on average.
        count: how many pictures the file says it has, 0 where it does not say.
        broken: pictures that could not be decoded so far, and are left out.
        start: seconds on the file's own time line that its times are counted from.
        notes: what its user should know before any work, a sentence each.
    """

    def __init__(self, path: Path) -> None:
        _check_file(path)
        self.path = path
        self.rate = _OTHER_RATE
        self.count = 0
        self.broken = 0
        self.start = Fraction(0)
        self.notes: list[str] = []

    def frames(self, every: int = 1) -> Iterator[ClipFrame]:
        """Every `every`-th picture; once only.

        Raises:
            InputError: not one picture can be decoded.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file", hint="check the path") from error
    except (OSError, ValueError) as error:
        raise _cannot_read(path, error) from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise InputError(f"{path}: is {kind}, not a clip", hint="give one file")


def _cannot_read(path: Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or error
    return InputError(f"{path}: cannot be read: {reason}", hint="check path and permissions")


def open_clip(path: Path, video_stream: int | None = None) -> Clip:
    """Open a clip of any kind, judged by its content.

    Args:
        path: the file.
        video_stream: see `streamprn.source.tracks.pick_stream`.

    Raises:
        InputError: there is no such file, it is no clip, or it has no such video stream.
    """
    from streamprn.source.content import Content, judge_file

    if path.is_file() and judge_file(path) is Content.ANIMATION:
        return AnimationReader(path, video_stream)
    return ClipReader(path, video_stream)


class ClipReader(Clip):
    """The pictures of a file that FFmpeg plays.

    Args:
        path: the file.
        video_stream: see `streamprn.source.tracks.pick_stream`.

    Raises:
        InputError: it cannot be read, is no video file, or has no such video stream, or no decoder
            for it.
    """

    def __init__(self, path: Path, video_stream: int | None = None) -> None:
        import av

        from streamprn.source.limits import probing

        super().__init__(path)
        with contextlib.ExitStack() as on_error:
            try:
                self._file = NamelessFile(path)
            except OSError as error:
                raise _cannot_read(path, error) from error
            on_error.callback(self._file.close)
            try:
                self._container = av.open(self._file, options=probing(most_pixels()))
            except (av.FFmpegError, OSError, ValueError) as error:
                raise InputError(f"{path}: not a readable video", hint=_NOT_A_VIDEO) from error
            on_error.callback(self._container.close)
            self._open_track(video_stream)
            on_error.pop_all()

    def _open_track(self, video_stream: int | None) -> None:
        from streamprn.source.limits import limit_stream
        from streamprn.source.tracks import pick_stream

        try:
            stream = pick_stream(self._container, str(self.path), video_stream)
        except SourceError as error:
            raise InputError(error.what, hint=error.hint) from error
        limit_stream(stream, str(self.path), most_pixels())
        stream.thread_type = "AUTO"
        self._stream = stream
        names = self._container.format.name.split(",")
        self._slots: deque[Fraction] | None = deque() if _UNSTAMPED & set(names) else None
        self.rate = Fraction(stream.average_rate or stream.guessed_rate or _OTHER_RATE)
        self.count = int(stream.frames or 0)
        start = self._container.start_time
        self.start = Fraction(start, 1_000_000) if start is not None else Fraction(0)
        form = stream.codec_context.format
        transparent = form is not None and any(one.is_alpha for one in form.components)
        if (transparent and stream.codec_context.name != "gif") or (
            stream.metadata.get("alpha_mode") == "1"
        ):
            self.notes.append(f"{self.path}: transparent parts come out white")

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        self._file.close()

    def frames(self, every: int = 1) -> Iterator[ClipFrame]:
        """See `Clip.frames`; a broken picture is left out and counted."""
        from streamprn.source.decode import OrientationMemory, aspect_of, to_image

        orientations = OrientationMemory()
        last: ClipFrame | None = None
        for index, frame in enumerate(self._decoded()):
            time, duration = self._when(frame, last)
            last = ClipFrame(index, np.empty((0, 0, 3), np.uint8), time, duration)
            if index % every == 0:
                image = to_image(
                    frame, orientation=orientations.of(frame), aspect=aspect_of(self._stream)
                )
                yield ClipFrame(index, image.rgb, time, duration)
        if last is None:
            raise InputError(
                f"{self.path}: not a readable video: none of its pictures can be decoded",
                hint=_NOT_A_VIDEO,
            )

    def _when(self, frame: Any, last: ClipFrame | None) -> tuple[Fraction, Fraction]:
        """Time and duration; a missing or repeated stamp follows the one before."""
        base = Fraction(frame.time_base or self._stream.time_base or 1 / self.rate)
        duration = Fraction(frame.duration or 0) * base
        if self._slots is None:
            time = None if frame.pts is None else frame.pts * base - self.start
        else:
            # Stored in the order of decoding, shown in another one: the n-th takes the n-th place.
            time = self._slots.popleft() - self.start if self._slots else None
        if last is not None and (time is None or time <= last.time):
            time = last.time + (last.duration or 1 / self.rate)
        return time if time is not None else Fraction(0), duration

    def _decoded(self) -> Iterator[Any]:
        import av

        errors = 0
        while errors < _MOST_ERRORS:
            try:
                for packet in self._container.demux(self._stream):
                    errors = 0
                    yield from self._decoded_of(packet)
                return
            except av.FFmpegError:
                # What comes after the damage may be readable.
                errors += 1
        self.broken += 1

    def _decoded_of(self, packet: Any) -> Iterator[Any]:
        import av

        if self._slots is not None and packet.size and packet.dts is not None:
            self._slots.append(packet.dts * Fraction(packet.time_base))
        try:
            frames = packet.decode()
        except av.EOFError:
            return
        except av.FFmpegError:
            self._leave_one_out()
            return
        for frame in frames:
            if frame.is_corrupt:
                self._leave_one_out()
            else:
                yield frame

    def _leave_one_out(self) -> None:
        self.broken += 1
        if self._slots:
            self._slots.popleft()


class AnimationReader(Clip):
    """The pictures of an animated WebP or AVIF file, which FFmpeg does not play.

    Args:
        path: the file.
        video_stream: it has one, of number 0.

    Raises:
        InputError: it cannot be decoded, or this OpenCV is too old for it.
    """

    def __init__(self, path: Path, video_stream: int | None = None) -> None:
        from streamprn.source.animation import animation_pictures
        from streamprn.source.tracks import check_number

        super().__init__(path)
        try:
            check_number(video_stream, 1, str(path))
            self._data = path.read_bytes()
        except SourceError as error:
            raise InputError(error.what, hint=error.hint) from error
        except OSError as error:
            raise _cannot_read(path, error) from error
        first = next(animation_pictures(self._data, str(path)), None)
        if first is None:
            raise InputError(f"{path}: not a readable animation", hint=_NOT_A_VIDEO)
        self.rate = 1 / first[1]

    def frames(self, every: int = 1) -> Iterator[ClipFrame]:
        """See `Clip.frames`; a broken picture is left out and counted."""
        from streamprn.source.animation import animation_pictures

        time = Fraction(0)
        index = 0
        for rgb, duration in animation_pictures(self._data, str(self.path)):
            if rgb is None:
                self.broken += 1
            else:
                if index % every == 0:
                    yield ClipFrame(index, rgb, time, duration)
                index += 1
            time += duration
        if index == 0:
            raise InputError(
                f"{self.path}: not a readable animation: none of its pictures can be decoded",
                hint=_NOT_A_VIDEO,
            )
