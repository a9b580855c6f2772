"""Writing a clip picture by picture; every picture keeps its time."""

from __future__ import annotations

import contextlib
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.apps.files import PartialFile
from streamprn.apps.video import ClipReader
from streamprn.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from streamprn.apps.sound import Sound
    from streamprn.apps.video import Clip
    from streamprn.records import UInt8

WRITABLE_SUFFIXES = (".mp4", ".mov", ".mkv")
_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
# Ticks a second, at least, of what is written: no time is off by more than this.
_TICKS = 90_000


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
