"""Streams of a recording: played at their own pace, with a time line to jump on."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from streamprn.apps.recordings import RecordedFrame, Recording
from streamprn.view.shown import Moment, StreamState
from streamprn.wire.replay import find

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streamprn.records import Kind, Stamps

__all__ = ["RecordedFeed"]

_TICK_S = 0.02
# A jump ahead of less than this is played, not searched.
_LATE_S = 0.5


class RecordedFeed:
    """See `streamprn.view.shown.Feed`. At the end it starts again.

    A jump back reads the recording from its start: seconds, in a long one.

    Args:
        path: a recording, see `streamprn.wire.replay.find`.

    Attributes:
        length_s: of the longest stream, from its first frame to its last.
        time_s: of the frame on show.

    Raises:
        InputError: there is no recording, or no frame in it.
    """

    def __init__(self, path: Path) -> None:
        self._files = find(path)
        self._frames: dict[str, int] = {}
        self.length_s = 0.0
        for name, files in self._files.items():
            times = [frame.time_s for frame in Recording(files).frames()]
            self._frames[name] = len(times)
            self.length_s = max(self.length_s, times[-1])
        self.time_s = 0.0
        self._shown: RecordedFrame | None = None
        self._stream = ""
        self._trail: list[tuple[Stamps, int]] = []
        self._playing = True
        self._seek: float | None = None
        self._looked_at = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="view-recording", daemon=True)
        self._thread.start()

    def want(self, stream: str, kinds: frozenset[Kind]) -> None:
        """See `Feed`."""
        self._looked_at = bool(kinds)
        if stream in self._files and stream != self._stream:
            self._stream, self._seek = stream, self.time_s

    def moment(self, stream: str) -> Moment | None:
        """See `Feed`."""
        frame = self._shown
        if frame is None or frame.stream != stream:
            return None
        return Moment(
            frame.seq,
            frame.frame_size_wh,
            frame.faces,
            frame.image,
            vertices=frame.vertices,
            textures=frame.textures,
            depth=frame.depth,
            topology=frame.topology,
        )

    def states(self) -> dict[str, StreamState]:
        """See `Feed`."""
        frame = self._shown
        return {
            name: StreamState(
                f"recorded, {count} frames",
                faces=len(frame.faces) if frame is not None and frame.stream == name else 0,
            )
            for name, count in self._frames.items()
        }

    def stamps(self, stream: str) -> list[tuple[Stamps, int]]:
        """See `Feed`."""
        return list(self._trail) if stream == self._stream else []

    def trouble(self) -> str:
        """See `Feed`."""
        return ""

    def play(self, playing: bool) -> None:
        """Go on, or stand still."""
        self._playing = playing

    def seek(self, time_s: float) -> None:
        """Show the frame of this time next."""
        self._seek = time_s

    def close(self) -> None:
        """See `Feed`."""
        self._closing.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._closing.is_set():
            if not (self._stream and self._looked_at):
                self._closing.wait(_TICK_S)
                continue
            start, self._seek = self._seek or 0.0, None
            self._trail.clear()
            self._play_from(start)

    def _play_from(self, start_s: float) -> None:
        """Play the stream from a time on, until its end, a jump, or the end of all."""
        frames = self._from(start_s)
        began = time.monotonic() - start_s
        for frame in frames:
            self._shown, self.time_s = frame, frame.time_s
            self._trail = [*self._trail[-149:], (frame.stamps, 0)]
            while time.monotonic() - began < frame.time_s or not self._playing:
                if self._closing.wait(_TICK_S) or self._seek is not None:
                    return
                if not (self._playing and self._looked_at):
                    began = time.monotonic() - frame.time_s
            if self._seek is not None:
                return
            # What reading is slow for is shown later, not skipped.
            began = max(began, time.monotonic() - frame.time_s - _LATE_S)

    def _from(self, start_s: float) -> Iterator[RecordedFrame]:
        for frame in Recording(self._files[self._stream]).frames():
            if self._closing.is_set() or self._seek is not None:
                return
            if frame.time_s >= start_s:
                yield frame
