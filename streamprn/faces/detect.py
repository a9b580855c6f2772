"""When to look for faces, and looking: in the frame itself, and tile by tile in the background."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from streamprn.records import Detection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamprn.records import FrameImage

log = logging.getLogger("streamprn.faces.detect")


class Detector(Protocol):
    """A face detector; one object serves one thread at a time."""

    def detect(self, image: FrameImage, *, min_score: float = 0.5) -> list[Detection]:
        """The faces of the whole picture."""

    def detect_tiled(self, image: FrameImage, *, min_score: float = 0.5) -> list[Detection]:
        """The same with overlapping tiles, for faces too small for the whole picture's pass."""


class Finder(Protocol):
    """Gives each frame of one stream the detections that it should start faces from."""

    def find(
        self, image: FrameImage, *, tracked: int, uncertain: bool, full: bool
    ) -> Sequence[Detection] | None:
        """Detections, or None where nobody looked.

        Args:
            image: the frame.
            tracked: how many faces are followed.
            uncertain: a followed face was missed in the last frame.
            full: no further face would be followed.
        """

    def close(self) -> None:
        """End what runs in the background."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """Frames between detector passes, with and without a tracked face, and the least score."""

    interval_frames: int = 10
    idle_interval_frames: int = 1
    min_score: float = 0.5


class CadencedFinder:
    """Runs a detector every so many frames, and at once when a face was missed."""

    def __init__(self, detector: Detector, cadence: Cadence) -> None:
        self._detector = detector
        self._cadence = cadence
        self._since = cadence.idle_interval_frames

    def find(
        self, image: FrameImage, *, tracked: int, uncertain: bool, full: bool
    ) -> Sequence[Detection] | None:
        """See `Finder.find`."""
        self._since += 1
        if not self._due(tracked, uncertain, full):
            return None
        self._since = 0
        return self._detector.detect(image, min_score=self._cadence.min_score)

    def _due(self, tracked: int, uncertain: bool, full: bool) -> bool:
        if uncertain or not tracked:
            return self._since >= self._cadence.idle_interval_frames
        return not full and self._since >= self._cadence.interval_frames

    def close(self) -> None:
        """Nothing runs in the background."""


class KnownBoxes:
    """Faces at places that the user gave: every box is offered in every frame.

    Args:
        boxes_xyxy: each `(x0, y0, x1, y1)` in frame pixels.
    """

    def __init__(self, boxes_xyxy: Sequence[Sequence[float]]) -> None:
        none = np.zeros((0, 2), np.float32)
        self._detections = tuple(
            Detection(1.0, np.array(box, np.float32), none) for box in boxes_xyxy
        )
        self._size_wh = (0, 0)

    def find(
        self, image: FrameImage, *, tracked: int, uncertain: bool, full: bool
    ) -> Sequence[Detection] | None:
        """See `Finder.find`."""
        if (image.width, image.height) != self._size_wh:
            self._size_wh = (image.width, image.height)
            self._warn_of_boxes_outside()
        return None if tracked >= len(self._detections) else self._detections

    def _warn_of_boxes_outside(self) -> None:
        width, height = self._size_wh
        for detection in self._detections:
            x0, y0, x1, y1 = detection.box_xyxy.tolist()
            if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
                log.warning(
                    "the box %g,%g,%g,%g lies outside the %dx%d frame: it will find no face",
                    *(x0, y0, x1, y1, width, height),
                )

    def close(self) -> None:
        """Nothing runs in the background."""


class TiledSearch:
    """A finder that adds a tiled pass, in a thread of its own with a detector of its own.

    The hot path never waits for it: a frame is handed over when the thread is free, and what it
    found joins the detections of a later frame. A face has moved on by then; the engine's mesh
    catches it, or the candidate is dropped.

    Args:
        quick: the finder of the hot path.
        open_detector: makes the thread's own detector.
        min_score: of a detection.
        interval_frames: frames between two tiled passes at the least.
    """

    def __init__(
        self,
        quick: Finder,
        open_detector: Callable[[], Detector],
        *,
        min_score: float,
        interval_frames: int,
    ) -> None:
        self._quick = quick
        self._open_detector = open_detector
        self._min_score = min_score
        self._interval_frames = interval_frames
        self._since = interval_frames
        self._changed = threading.Condition()
        self._image: FrameImage | None = None
        self._found: list[Detection] = []
        self._busy = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="tiled-search", daemon=True)
        self._thread.start()

    def find(
        self, image: FrameImage, *, tracked: int, uncertain: bool, full: bool
    ) -> Sequence[Detection] | None:
        """See `Finder.find`."""
        quick = self._quick.find(image, tracked=tracked, uncertain=uncertain, full=full)
        self._since += 1
        with self._changed:
            late, self._found = self._found, []
            if not full and not self._busy and self._since >= self._interval_frames:
                self._image, self._busy, self._since = image, True, 0
                self._changed.notify()
        if quick is None and not late:
            return None
        return [*(quick or ()), *late]

    def close(self) -> None:
        """End the thread; returns when it has ended."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()
        self._quick.close()

    def _run(self) -> None:
        detector: Detector | None = None
        while (image := self._next_image()) is not None:
            found: list[Detection] = []
            try:
                detector = detector or self._open_detector()
                found = detector.detect_tiled(image, min_score=self._min_score)
            except Exception:
                log.exception("the tiled search failed on a frame")
            with self._changed:
                self._found, self._busy = found, False

    def _next_image(self) -> FrameImage | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._image is not None)
            image, self._image = self._image, None
            return None if self._stopping else image
