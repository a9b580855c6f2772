"""Reading a clip picture by picture, and writing one, with the sound of the first."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from streamprn.records import UInt8

_OTHER_RATE = Fraction(25)
WRITABLE_SUFFIXES = (".mp4", ".mov", ".mkv")


class ClipReader:
    """The pictures of a video file, upright, in order; a context manager.

    Attributes:
        rate: pictures a second.
        count: how many pictures the file says it has, 0 where it does not say.

    Raises:
        InputError: it is no video file, or has no picture track.
    """

    def __init__(self, path: Path) -> None:
        import av

        if not path.is_file():
            raise InputError(f"{path}: no such file", hint="check the path")
        try:
            self._container = av.open(str(path))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a readable video", hint="does it play?") from error
        self.path = path
        from streamprn.errors import SourceError
        from streamprn.source.tracks import pick_stream

        try:
            stream = self._stream = pick_stream(self._container, str(path))
        except SourceError as error:
            self._container.close()
            raise InputError(
                f"{path}: has no picture track", hint="give a video with pictures"
            ) from error
        stream.thread_type = "AUTO"
        self.rate = Fraction(stream.average_rate or stream.guessed_rate or _OTHER_RATE)
        self.count = int(stream.frames or 0)

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def frames(self, every: int = 1) -> Iterator[tuple[int, UInt8]]:
        """Number and picture `(H, W, 3)` uint8 of every `every`-th frame.

        Raises:
            InputError: the file is damaged from its first frame on. Damage further on ends it.
        """
        import av

        from streamprn.source.decode import orientation_of

        index = 0
        try:
            for index, frame in enumerate(self._container.decode(self._stream)):
                if index % every == 0:
                    rgb = orientation_of(frame).apply(frame.to_ndarray(format="rgb24"))
                    yield index, np.ascontiguousarray(rgb)
        except av.FFmpegError as error:
            if index == 0:
                raise InputError(
                    f"{self.path}: not a readable video: {error.strerror}", hint="does it play?"
                ) from error


class ClipWriter:
    """Writes pictures of one size as H.264; a context manager.

    The file appears under its name only when it is complete.

    Args:
        path: `.mp4`, `.mov` or `.mkv`.
        rate: pictures a second.
        sound_from: a clip whose sound is copied, or None.
    """

    def __init__(self, path: Path, rate: Fraction, sound_from: Path | None = None) -> None:
        import av

        self.path = path
        if path.suffix.lower() not in WRITABLE_SUFFIXES:
            raise InputError(
                f"{path}: no video can be written in this format",
                hint=f"use a name ending in {', '.join(WRITABLE_SUFFIXES)}",
            )
        self._partial = path.with_name(f"{path.stem}.part{path.suffix}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self._partial), "w")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: cannot be written", hint="check the folder and the free space"
            ) from error
        self._stream: Any = self._container.add_stream(
            "libx264", rate=rate, options={"crf": "18", "preset": "veryfast"}
        )
        self._stream.pix_fmt = "yuv420p"
        self._sound = _Sound(sound_from, self._container) if sound_from is not None else None
        self._sized = False

    def __enter__(self) -> ClipWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(keep=kind is None)

    def write(self, rgb: UInt8) -> None:
        """Append a picture `(H, W, 3)` uint8; an odd last row or column is left out."""
        import av

        height, width = rgb.shape[0] & ~1, rgb.shape[1] & ~1
        if not self._sized:
            self._stream.width, self._stream.height = width, height
            self._sized = True
        elif (self._stream.width, self._stream.height) != (width, height):
            raise InputError(f"{self.path}: the clip changes its size in the middle")
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(rgb[:height, :width]), format="rgb24"
        )
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self, *, keep: bool = True) -> None:
        """Finish the file, or with `keep=False` remove it."""
        if keep and self._sized:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
            if self._sound is not None:
                self._sound.copy()
        elif self._sound is not None:
            self._sound.close()
        self._container.close()
        if keep and self._sized:
            self._partial.replace(self.path)
        else:
            self._partial.unlink(missing_ok=True)


class _Sound:
    """Copies the first sound track of a file, packet by packet."""

    def __init__(self, path: Path, output: Any) -> None:
        import av

        self._input = av.open(str(path))
        self._output = output
        self._tracks: tuple[Any, Any] | None = None
        if self._input.streams.audio:
            track = self._input.streams.audio[0]
            self._tracks = (track, output.add_stream_from_template(track))

    def copy(self) -> None:
        """Copy all of it and close the input."""
        if self._tracks is not None:
            track, copied = self._tracks
            for packet in self._input.demux(track):
                if packet.dts is not None:
                    packet.stream = copied
                    self._output.mux(packet)
        self.close()

    def close(self) -> None:
        """Close the input."""
        self._input.close()
