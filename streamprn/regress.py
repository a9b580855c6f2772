"""Crops of many frames in one call of the engine; position maps restored to their frames."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamprn.kernels import uv, warp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamprn.engines.protocol import Engine
    from streamprn.engines.topology import Topology
    from streamprn.records import FrameImage, Roi

IDENTITY = np.eye(2, 3, dtype=np.float32)
#: One crop costs less from the decoder's planes; with more, one conversion to RGB does.
MAX_PLANE_CROPS = 2
#: Every so many vertices, and the outline, tell the bounds of a face for the next ROI.
BOUNDS_STRIDE = 8


@dataclass(frozen=True, slots=True)
class View:
    """One region of one frame for the engine to look at."""

    image: FrameImage
    roi: Roi


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the engine saw in one view.

    Attributes:
        roi: the region that gave the map (another than asked for after a second crop).
        next_roi: the region that fits the face.
        score: 0..1, NaN where the engine gives none.
        vertices: `(N, 3)` float32 frame pixels, owned by the receiver.
        box_xyxy: `(4,)` their bounds.
    """

    roi: Roi
    next_roi: Roi
    score: float
    vertices: NDArray[np.float32]
    box_xyxy: NDArray[np.float32]


@dataclass(slots=True)
class RegressTimes:
    """Nanoseconds that one call spent on cropping, in the engine, and on restoring."""

    crop_ns: int = 0
    network_ns: int = 0
    restore_ns: int = 0


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
        self._bounds_texel = bounds_texels(engine.topology)
        self._landmark_texel = engine.topology.texel[engine.topology.landmarks]

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
        crops = self._cut(views)
        cut = time.perf_counter_ns()
        inference = self._engine.infer(crops)
        inferred = time.perf_counter_ns()
        found = [
            self._restore(view, position_map, float(score), may_retry)
            for view, position_map, score in zip(
                views, inference.maps, inference.scores, strict=True
            )
        ]
        times.crop_ns += cut - began
        times.network_ns += inferred - cut
        times.restore_ns += time.perf_counter_ns() - inferred
        return found

    def _cut(self, views: Sequence[View]) -> NDArray[np.float32]:
        crops = self._crops[: len(views)]
        rule = self._engine.crop
        for index, view in enumerate(views):
            matrix = rule.frame_from_crop(view.roi)
            out = crops[index : index + 1]
            image = view.image
            same_frame = sum(other.image is image for other in views)
            if image.planes is not None and not image.has_rgb and same_frame <= MAX_PLANE_CROPS:
                warp.warp_yuv(image.planes, matrix, rule.size, out)
            else:
                warp.warp_rgb(image.rgb, matrix, rule.size, out)
        return crops

    def _restore(
        self, view: View, position_map: NDArray[np.float32], score: float, may_retry: bool
    ) -> Sighting | View:
        rule, texel = self._engine.crop, self._engine.topology.texel
        _, box_crop = uv.restore_with_bounds(position_map, self._bounds_texel, IDENTITY)
        landmarks_crop = position_map.reshape(-1, 3)[self._landmark_texel]
        next_roi = rule.next_roi(view.roi, box_crop, landmarks_crop)
        if may_retry and self._wants_retry(view.roi, next_roi, score):
            return View(view.image, next_roi)
        vertices, box = uv.restore_with_bounds(position_map, texel, rule.frame_from_crop(view.roi))
        return Sighting(view.roi, next_roi, score, vertices, box)

    def _wants_retry(self, roi: Roi, next_roi: Roi, score: float) -> bool:
        change = roi.change_to(next_roi)
        is_face = math.isnan(score) or score >= self._min_score
        return is_face and self._recrop_threshold < change < 1.0


def bounds_texels(topology: Topology) -> NDArray[np.int32]:
    """Texels enough to bound a face: the outline of the mask, and every eighth of the others."""
    padded = np.pad(topology.mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    outline = np.flatnonzero((topology.mask & ~inside).reshape(-1))
    return np.union1d(outline, topology.texel[::BOUNDS_STRIDE]).astype(np.int32)
