"""Crops of many frames in one call of the engine, and where to look in their next frames."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamprn.kernels import warp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamprn.engines.protocol import Engine, Surface
    from streamprn.records import FrameImage, Roi

#: One crop costs less from the decoder's planes; with more, one conversion to RGB does.
MAX_PLANE_CROPS = 2


@dataclass(frozen=True, slots=True)
class View:
    """One region of one frame for the engine to look at."""

    image: FrameImage
    roi: Roi


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the engine saw in one view.

    Attributes:
        roi: the region that was looked at last (another than asked for after a second crop).
        next_roi: the region that fits the face.
        score: 0..1, NaN where the engine gives none.
        surface: the face itself, in crop pixels.
        frame_from_crop: `(2, 3)` float32, from there to the frame.
    """

    roi: Roi
    next_roi: Roi
    score: float
    surface: Surface
    frame_from_crop: NDArray[np.float32]

    def restore(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vertices `(N, 3)` float32 in frame pixels, z with minimum 0; and their box `(4,)`."""
        return self.surface.restore(self.frame_from_crop)


@dataclass(slots=True)
class RegressTimes:
    """Nanoseconds that one call spent on cropping, in the engine, and on finding the next ROIs."""

    crop_ns: int = 0
    network_ns: int = 0
    aim_ns: int = 0


class Regressor:
    """Runs an engine on views of frames.

    Args:
        engine: see `streamprn.engines.protocol.Engine`.
        recrop_threshold: crop once more where the face turned out to be elsewhere by this part of
            the ROI's side.
        min_score: no second crop below this score.
    """

    def __init__(self, engine: Engine, *, recrop_threshold: float, min_score: float) -> None:
        self._engine = engine
        self._recrop_threshold = recrop_threshold
        self._min_score = min_score
        size = engine.crop.size
        self._crops = np.zeros((engine.max_batch, size, size, 3), np.float32)

    def regress(self, views: Sequence[View]) -> tuple[list[Sighting], RegressTimes]:
        """Look at every view; sightings in the order of the views, and the time it took.

        Raises:
            BackendError: the runtime failed.
        """
        times = RegressTimes()
        found = self._look(views, times, may_retry=True)
        again = {index: one for index, one in enumerate(found) if isinstance(one, View)}
        closer = self._look(list(again.values()), times, may_retry=False)
        for index, one in zip(again, closer, strict=True):
            found[index] = one
        return [one for one in found if isinstance(one, Sighting)], times

    def _look(
        self, views: Sequence[View], times: RegressTimes, *, may_retry: bool
    ) -> list[Sighting | View]:
        """Every view in as many calls of the engine as it takes; see `_run`."""
        step = self._engine.max_batch
        return [
            one
            for start in range(0, len(views), step)
            for one in self._run(views[start : start + step], times, may_retry=may_retry)
        ]

    def _run(
        self, views: Sequence[View], times: RegressTimes, *, may_retry: bool
    ) -> list[Sighting | View]:
        """One call of the engine: sightings, or the views to look at instead."""
        began = time.perf_counter_ns()
        matrices = [self._engine.crop.frame_from_crop(view.roi) for view in views]
        crops = self._cut(views, matrices)
        cut = time.perf_counter_ns()
        inference = self._engine.infer(crops)
        inferred = time.perf_counter_ns()
        scores = inference.scores.tolist()
        found = [
            self._aim(view, matrix, surface, score, may_retry)
            for view, matrix, surface, score in zip(
                views, matrices, inference.surfaces, scores, strict=True
            )
        ]
        times.crop_ns += cut - began
        times.network_ns += inferred - cut
        times.aim_ns += time.perf_counter_ns() - inferred
        return found

    def _cut(
        self, views: Sequence[View], matrices: Sequence[NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        crops = self._crops[: len(views)]
        rule = self._engine.crop
        for index, (view, matrix) in enumerate(zip(views, matrices, strict=True)):
            out = crops[index : index + 1]
            image = view.image
            same_frame = sum(other.image is image for other in views)
            if image.planes is not None and not image.has_rgb and same_frame <= MAX_PLANE_CROPS:
                warp.warp_yuv(image.planes, matrix, rule.size, out)
            else:
                warp.warp_rgb(image.rgb, matrix, rule.size, out)
        return crops

    def _aim(
        self,
        view: View,
        matrix: NDArray[np.float32],
        surface: Surface,
        score: float,
        may_retry: bool,
    ) -> Sighting | View:
        """The sighting with the ROI that fits it, or the view to look at instead."""
        next_roi = self._engine.crop.next_roi(view.roi, *surface.outline())
        if may_retry and self._wants_retry(view.roi, next_roi, score):
            return View(view.image, next_roi)
        return Sighting(view.roi, next_roi, score, surface, matrix)

    def _wants_retry(self, roi: Roi, next_roi: Roi, score: float) -> bool:
        change = roi.change_to(next_roi)
        is_face = math.isnan(score) or score >= self._min_score
        return is_face and self._recrop_threshold < change < 1.0
