"""Detection tile by tile beside the look loop, for small faces in large frames."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamprn.faces.detect import DetectionSchedule, Detector
    from streamprn.records import Detection, FrameImage

log = logging.getLogger("streamprn.live")


class TiledDetection:
    """Adds a tiled pass to a schedule, in a thread of its own with a detector of its own.

    No frame waits for it: one is handed over when the thread is free, and what it found joins the
    detections of a later frame. A face has moved on by then; the network finds it in the region
    nearby, or the candidate is dropped.

    Args:
        quick: the schedule of the whole picture.
        open_detector: makes the thread's own detector.
        min_score: of a detection.
        interval_frames: frames between two tiled passes at the least.
    """

    def __init__(
        self,
        quick: DetectionSchedule,
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
        self._thread = threading.Thread(target=self._run, name="tiles", daemon=True)
        self._thread.start()

    def detect(
        self, image: FrameImage, *, tracked: int, uncertain: bool, full: bool
    ) -> Sequence[Detection] | None:
        """See `DetectionSchedule.detect`."""
        quick = self._quick.detect(image, tracked=tracked, uncertain=uncertain, full=full)
        self._since += 1
        with self._changed:
            late, self._found = self._found, []
            if not full and not self._busy and self._since >= self._interval_frames:
                self._image, self._busy, self._since = image, True, 0
                self._changed.notify()
        if quick is None and not late:
            return None
        return [*(quick or ()), *late]

    def stop(self) -> None:
        """Let the thread end after the frame that it is busy with; does not wait."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def close(self) -> None:
        """End the thread; returns when it has ended."""
        self.stop()
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
                log.exception("the tiled detection failed on a frame")
            with self._changed:
                self._found, self._busy = found, False

    def _next_image(self) -> FrameImage | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._image is not None)
            image, self._image = self._image, None
            return None if self._stopping else image
