"""Reading a clip picture by picture, and writing one: every picture keeps its time."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.apps.animation import animation_pictures
from streamprn.apps.files import NamelessFile, PartialFile
from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from streamprn.records import UInt8

_OTHER_RATE = Fraction(25)
WRITABLE_SUFFIXES = (".mp4", ".mov", ".mkv")
_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
# Ticks a second, at least, of what is written: no time is off by more than this.
_TICKS = 90_000
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
        if not path.is_file():
            raise InputError(f"{path}: no such file", hint="check the path")
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


def open_clip(path: Path) -> Clip:
    """Open a clip of any kind, judged by its content.

    Raises:
        InputError: there is no such file, it is no clip, or it has no picture track.
    """
    from streamprn.source.content import Content, judge_file

    if path.is_file() and judge_file(path) is Content.ANIMATION:
        return AnimationReader(path)
    return ClipReader(path)


class ClipReader(Clip):
    """The pictures of a file that FFmpeg plays.

    Raises:
        InputError: it is no video file, or has no picture track.
    """

    def __init__(self, path: Path) -> None:
        import av

        super().__init__(path)
        with contextlib.ExitStack() as on_error:
            try:
                self._file = NamelessFile(path)
                on_error.callback(self._file.close)
                self._container = av.open(self._file)
            except (av.FFmpegError, OSError, ValueError) as error:
                raise InputError(f"{path}: not a readable video", hint=_NOT_A_VIDEO) from error
            on_error.callback(self._container.close)
            self._open_track()
            on_error.pop_all()

    def _open_track(self) -> None:
        from streamprn.errors import SourceError
        from streamprn.source.tracks import pick_stream

        try:
            stream = pick_stream(self._container, str(self.path))
        except SourceError as error:
            raise InputError(
                f"{self.path}: has no picture track", hint="give a video with pictures"
            ) from error
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

    Raises:
        InputError: it cannot be decoded, or this OpenCV is too old for it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._data = path.read_bytes()
        first = next(animation_pictures(self._data, str(path)), None)
        if first is None:
            raise InputError(f"{path}: not a readable animation", hint=_NOT_A_VIDEO)
        self.rate = 1 / first[1]

    def frames(self, every: int = 1) -> Iterator[ClipFrame]:
        """See `Clip.frames`."""
        time = Fraction(0)
        pictures = animation_pictures(self._data, str(self.path))
        for index, (rgb, duration) in enumerate(pictures):
            if index % every == 0:
                yield ClipFrame(index, rgb, time, duration)
            time += duration


class ClipWriter:
    """Writes pictures of one size as H.264, in BT.709; a context manager.

    The file appears under its name only when it is complete.

    Args:
        path: `.mp4`, `.mov` or `.mkv`.
        rate: pictures a second, on average.
        sound_from: a clip whose sound is kept, or None.

    Attributes:
        notes: what its user should know before any work, a sentence each.

    Raises:
        InputError: the suffix is another one, or the file cannot be written.
    """

    def __init__(self, path: Path, rate: Fraction, sound_from: Clip | None = None) -> None:
        import av

        from streamprn.apps.sound import Sound

        self.path = path
        suffix = path.suffix.lower()
        if suffix not in WRITABLE_SUFFIXES:
            raise InputError(
                f"{path}: no video can be written in this format",
                hint=f"use a name ending in {', '.join(WRITABLE_SUFFIXES)}",
            )
        self.notes: list[str] = []
        self._file = PartialFile(path)
        self._sound: Sound | None = None
        self._rate, self._count, self._end = rate, 0, Fraction(0)
        self._sized = False
        try:
            self._container = av.open(self._file, "w", format=_FORMATS[suffix])
            self._stream: Any = self._container.add_stream(
                "libx264", rate=rate, options={"crf": "18", "preset": "veryfast"}
            )
            self._stream.pix_fmt = "yuv420p"
            self._tick = Fraction(1, rate.numerator * math.ceil(_TICKS / rate.numerator))
            context = self._stream.codec_context
            context.time_base = self._tick
            context.color_primaries = context.color_trc = context.colorspace = 1
            context.color_range = 1
            if sound_from is not None and isinstance(sound_from, ClipReader):
                self._sound = Sound(sound_from.path, self._container, sound_from.start)
                self.notes += self._sound.notes
        except BaseException:
            self._file.discard()
            raise

    def __enter__(self) -> ClipWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(keep=kind is None)

    def write(
        self, rgb: UInt8, time: Fraction | None = None, duration: Fraction = Fraction(0)
    ) -> None:
        """Append a picture.

        Args:
            rgb: `(H, W, 3)` uint8; an odd last row or column is repeated, as H.264 needs.
            time: seconds, later than that of the picture before; None follows the rate.
            duration: seconds that it is shown at least, where it is the last one.

        Raises:
            InputError: its size is not that of the first one, or the disk is full.
        """
        height, width = rgb.shape[0] + rgb.shape[0] % 2, rgb.shape[1] + rgb.shape[1] % 2
        if not self._sized:
            self._stream.width, self._stream.height = width, height
            self._sized = True
        elif (self._stream.width, self._stream.height) != (width, height):
            raise InputError(f"{self.path}: the clip changes its size in the middle")
        at = time if time is not None else self._count / self._rate
        frame = _bt709_frame(
            np.pad(rgb, ((0, height - len(rgb)), (0, width - rgb.shape[1]), (0, 0)), "edge")
        )
        frame.pts, frame.time_base = round(at / self._tick), self._tick
        frame.duration = round((duration or 1 / self._rate) / self._tick)
        self._count += 1
        with self._file.reporting():
            self._mux(self._stream.encode(frame))

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if self._sound is not None and packet.dts is not None:
                self._sound.copy_until(packet.dts * Fraction(packet.time_base))
            self._container.mux(packet)

    def close(self, *, keep: bool = True) -> None:
        """Finish the file, or with `keep=False` remove it.

        Raises:
            InputError: the disk is full.
        """
        import av

        done = False
        try:
            if keep and self._sized:
                with self._file.reporting():
                    self._mux(self._stream.encode(None))
                    if self._sound is not None:
                        self._sound.copy_until(None)
                    self._container.close()
                self._file.keep()
                done = True
        finally:
            if self._sound is not None:
                self._sound.close()
            if not done:
                with contextlib.suppress(OSError, av.FFmpegError, InputError):
                    self._container.close()
                self._file.discard()


def _bt709_frame(rgb: UInt8) -> Any:
    """A picture `(H, W, 3)` uint8 as 4:2:0 of BT.709 in limited range, and tagged so."""
    import av
    from av.video.reformatter import Colorspace

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    coded = frame.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range="MPEG"
    )
    coded.colorspace = coded.color_trc = coded.color_primaries = 1
    coded.color_range = 1
    return coded
