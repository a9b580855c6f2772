"""Detection schedules: which frames a detector sees, and what faces may start from it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from streamprn.engines.detectors import best_of_overlapping
from streamprn.records import Detection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamprn.faces.still import StillPicture
    from streamprn.records import FrameImage

log = logging.getLogger("streamprn.faces")


class Detector(Protocol):
    """A face detector; one object serves one thread at a time."""

    def detect(
        self, image: FrameImage, *, min_score: float = 0.5, quarter_turns: int = 0
    ) -> list[Detection]:
        """The faces of the whole picture, which is turned by quarters before it is searched."""

    def detect_tiled(self, image: FrameImage, *, min_score: float = 0.5) -> list[Detection]:
        """The same with overlapping tiles, for faces too small for the whole picture's pass."""


class DetectionSchedule(Protocol):
    """Decides for each frame of one stream whether to detect, and does it."""

    def detect(
        self, image: FrameImage, *, tracked: int, uncertain: bool, full: bool
    ) -> Sequence[Detection] | None:
        """Detections, or None where this frame is left out.

        Args:
            image: the frame.
            tracked: how many faces are followed.
            uncertain: a followed face was missed in the last frame.
            full: no further face would be followed.
        """

    def stop(self) -> None:
        """Let what runs in the background end; does not wait."""

    def close(self) -> None:
        """End what runs in the background; returns when it has ended."""


@dataclass(frozen=True, slots=True)
class DetectionIntervals:
    """How often a detector sees a frame.

    Attributes:
        interval_frames: frames between two passes while a face is followed.
        idle_interval_frames: the same while none is.
        min_score: least score of a detection.
        turned_passes: every so many passes the frame is searched once more, turned by one, two or
            three quarters, which come in turn; while none is followed, and four times as rarely
            while one is. 0: never.
    """

    interval_frames: int = 10
    idle_interval_frames: int = 1
    min_score: float = 0.5
    turned_passes: int = 5


class IntervalDetection:
    """Detects every so many frames, and at once when a face was missed.

    Detectors find faces within 45 degrees or so of upright, so now and then the frame is turned.

    Args:
        detector: may be shared by the schedules of one thread.
        intervals: see `DetectionIntervals`.
        still: where given, a picture in which nobody was is not searched while it stands still.
    """

    def __init__(
        self, detector: Detector, intervals: DetectionIntervals, still: StillPicture | None = None
    ) -> None:
        self._detector = detector
        self._intervals = intervals
        self._still = still
        self._since = intervals.idle_interval_frames
        self._passes = 0

    def detect(
        self, image: FrameImage, *, tracked: int, uncertain: bool, full: bool
    ) -> Sequence[Detection] | None:
        """See `DetectionSchedule.detect`."""
        self._since += 1
        if not self._due(tracked, uncertain, full):
            return None
        self._since = 0
        still = self._still
        if still is not None and not tracked and still.is_known_empty(image):
            return ()
        least = self._intervals.min_score
        found = self._detector.detect(image, min_score=least)
        for turns in self._turns(tracked, bool(found)):
            turned = self._detector.detect(image, min_score=least, quarter_turns=turns)
            found = best_of_overlapping([*found, *turned])
        if still is not None:
            still.note(image, empty=not (found or tracked))
        return found

    def _turns(self, tracked: int, found: bool) -> Sequence[int]:
        """By how many quarters to turn the frame for further looks in this pass."""
        self._passes += 1
        every = self._intervals.turned_passes * (4 if tracked else 1)
        if self._passes == 1 and every and not found:
            return range(1, 4)
        if not every or self._passes % every:
            return ()
        return (1 + self._passes // every % 3,)

    def _due(self, tracked: int, uncertain: bool, full: bool) -> bool:
        if uncertain or not tracked:
            return self._since >= self._intervals.idle_interval_frames
        return not full and self._since >= self._intervals.interval_frames

    def stop(self) -> None:
        """Nothing runs in the background."""

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

    def detect(
        self, image: FrameImage, *, tracked: int, uncertain: bool, full: bool
    ) -> Sequence[Detection] | None:
        """See `DetectionSchedule.detect`."""
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

    def stop(self) -> None:
        """Nothing runs in the background."""

    def close(self) -> None:
        """Nothing runs in the background."""
