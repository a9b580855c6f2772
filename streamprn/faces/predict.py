"""Crops of many frames in one call of the engine, and where to look in their next frames."""

from __future__ import annotations

import contextlib
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from streamprn.errors import BackendError
from streamprn.kernels import warp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamprn.engines.device.chain import DeviceChain, DeviceFace, Ticket
    from streamprn.engines.protocol import CropRule, Engine, Surface
    from streamprn.records import FrameImage, ResidentFace, Roi

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
        resident: the same face, where its vertices are still on a GPU.
    """

    roi: Roi
    next_roi: Roi
    score: float
    surface: Surface
    frame_from_crop: NDArray[np.float32]
    resident: ResidentFace | None = None

    def restore(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vertices `(N, 3)` float32 in frame pixels, z with minimum 0; and their box `(4,)`."""
        return self.surface.restore(self.frame_from_crop)


@dataclass(slots=True)
class RegressTimes:
    """Nanoseconds that one call spent on cropping, in the engine, and on finding the next ROIs.

    `device_ns` holds what a GPU says of its own stages, by name; they are part of `network_ns`.
    """

    crop_ns: int = 0
    network_ns: int = 0
    aim_ns: int = 0
    device_ns: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Pending:
    """Views that a looker has begun to look at; its `finish` or `drop` takes it once.

    Attributes:
        views: their sightings come in this order.
        began_ns: when, by `time.perf_counter_ns`.
        ticket: the batch that is on its way on a device, where one is.
    """

    views: Sequence[View]
    began_ns: int
    ticket: Ticket | None = None


class Looker(ABC):
    """Looks at views of frames, and once more where a face turned out to be elsewhere.

    Args:
        rule: the engine's.
        recrop_threshold: crop once more where the face turned out to be elsewhere by this part of
            the ROI's side.
        min_score: no second crop below this score.
    """

    def __init__(self, rule: CropRule, *, recrop_threshold: float, min_score: float) -> None:
        self._rule = rule
        self._recrop_threshold = recrop_threshold
        self._min_score = min_score

    @property
    def depth(self) -> int:
        """How many looks may be begun before the first of them is finished."""
        return 1

    def regress(self, views: Sequence[View]) -> tuple[list[Sighting], RegressTimes]:
        """Look at every view: `begin` and `finish` in one."""
        return self.finish(self.begin(views))

    def begin(self, views: Sequence[View]) -> Pending:
        """Start to look at views, as far as that goes without waiting.

        Raises:
            BackendError: the device failed.
        """
        return Pending(views, time.perf_counter_ns())

    def is_done(self, pending: Pending) -> bool:
        """Whether `finish` would not have to wait for a device."""
        del pending
        return True

    def drop(self, pending: Pending) -> None:
        """Forget what was begun, once the device is through with it."""
        del pending

    def finish(self, pending: Pending) -> tuple[list[Sighting], RegressTimes]:
        """Sightings in the order of the views, and the time it took.

        Raises:
            BackendError: the runtime failed.
        """
        times = RegressTimes()
        found = self._first(pending, times)
        again = {index: one for index, one in enumerate(found) if isinstance(one, View)}
        closer = self._look(list(again.values()), times, may_retry=False)
        for index, one in zip(again, closer, strict=True):
            found[index] = one
        return [one for one in found if isinstance(one, Sighting)], times

    def _first(self, pending: Pending, times: RegressTimes) -> list[Sighting | View]:
        """Every view once: sightings, or the views to look at instead."""
        return self._look(pending.views, times, may_retry=True)

    @abstractmethod
    def _look(
        self, views: Sequence[View], times: RegressTimes, *, may_retry: bool
    ) -> list[Sighting | View]:
        """Every view in as many batches as it takes: sightings, or the views to look at instead."""

    def _aim(
        self, view: View, matrix: NDArray[np.float32], surface: Surface, score: float, retry: bool
    ) -> Sighting | View:
        """The sighting with the ROI that fits it, or the view to look at instead."""
        next_roi = self._rule.next_roi(view.roi, *surface.outline())
        if retry and self._wants_retry(view.roi, next_roi, score):
            return View(view.image, next_roi)
        return Sighting(view.roi, next_roi, score, surface, matrix)

    def _wants_retry(self, roi: Roi, next_roi: Roi, score: float) -> bool:
        change = roi.change_to(next_roi)
        is_face = math.isnan(score) or score >= self._min_score
        return is_face and self._recrop_threshold < change < 1.0


class Regressor(Looker):
    """Cuts crops on the CPU and gives them to an engine.

    Args:
        engine: see `streamprn.engines.protocol.Engine`.
        recrop_threshold: see `Looker`.
        min_score: see `Looker`.
    """

    def __init__(self, engine: Engine, *, recrop_threshold: float, min_score: float) -> None:
        super().__init__(engine.crop, recrop_threshold=recrop_threshold, min_score=min_score)
        self._engine = engine
        size = engine.crop.size
        self._crops = np.zeros((engine.max_batch, size, size, 3), np.float32)

    def _look(
        self, views: Sequence[View], times: RegressTimes, *, may_retry: bool
    ) -> list[Sighting | View]:
        """See `Looker._look`."""
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


class DeviceRegressor(Looker):
    """Gives frames and regions to a device chain, which cuts the crops itself.

    As many batches are in flight as the chain has slots: those of one call, and those that were
    begun with frames of different streams. Of one stream only one can be, as where to look in a
    frame depends on what was seen in the one before.

    Args:
        chain: see `streamprn.engines.device.chain.DeviceChain`.
        recrop_threshold: see `Looker`.
        min_score: see `Looker`.
    """

    def __init__(self, chain: DeviceChain, *, recrop_threshold: float, min_score: float) -> None:
        rule = chain.spec.crop
        super().__init__(rule, recrop_threshold=recrop_threshold, min_score=min_score)
        self._chain = chain

    @property
    def depth(self) -> int:
        """One look for each slot of the chain."""
        return self._chain.slots

    def begin(self, views: Sequence[View]) -> Pending:
        """See `Looker.begin`: one batch goes on its way at once, more wait for `finish`."""
        pending = super().begin(views)
        if 1 <= len(views) <= self._chain.max_batch and self._chain.free_slots:
            pending.ticket = self._submit(views)
        return pending

    def is_done(self, pending: Pending) -> bool:
        """See `Looker.is_done`; of a device that failed `finish` says so at once."""
        with contextlib.suppress(BackendError):
            return pending.ticket is None or self._chain.is_done(pending.ticket)
        return True

    def drop(self, pending: Pending) -> None:
        """See `Looker.drop`."""
        if pending.ticket is not None:
            # A device that failed has said so, or will be asked again.
            with contextlib.suppress(BackendError):
                self._chain.collect(pending.ticket)

    def _first(self, pending: Pending, times: RegressTimes) -> list[Sighting | View]:
        if pending.ticket is None:
            return super()._first(pending, times)
        faces = self._collect(pending.ticket, times)
        return self._sight_all(pending.views, faces, pending.began_ns, times, may_retry=True)

    def _look(
        self, views: Sequence[View], times: RegressTimes, *, may_retry: bool
    ) -> list[Sighting | View]:
        """See `Looker._look`."""
        began = time.perf_counter_ns()
        faces = self._faces(views, times)
        return self._sight_all(views, faces, began, times, may_retry=may_retry)

    def _sight_all(
        self,
        views: Sequence[View],
        faces: Sequence[DeviceFace],
        began: int,
        times: RegressTimes,
        *,
        may_retry: bool,
    ) -> list[Sighting | View]:
        seen = time.perf_counter_ns()
        found = [
            self._sight(view, face, may_retry) for view, face in zip(views, faces, strict=True)
        ]
        times.network_ns += seen - began
        times.aim_ns += time.perf_counter_ns() - seen
        return found

    def _faces(self, views: Sequence[View], times: RegressTimes) -> list[DeviceFace]:
        chain, faces = self._chain, []
        waiting: deque[Ticket] = deque()
        try:
            for start in range(0, len(views), chain.max_batch):
                if waiting and not chain.free_slots:
                    faces += self._collect(waiting.popleft(), times)
                waiting.append(self._submit(views[start : start + chain.max_batch]))
            while waiting:
                faces += self._collect(waiting.popleft(), times)
        finally:
            for ticket in waiting:
                # What failed first is what is raised; the slots must become free all the same.
                with contextlib.suppress(BackendError):
                    chain.collect(ticket)
        return faces

    def _submit(self, views: Sequence[View]) -> Ticket:
        images = list({id(view.image): view.image for view in views}.values())
        place = {id(image): index for index, image in enumerate(images)}
        return self._chain.submit(images, [(place[id(view.image)], view.roi) for view in views])

    def _collect(self, ticket: Ticket, times: RegressTimes) -> list[DeviceFace]:
        faces = self._chain.collect(ticket)
        for stage, milliseconds in self._chain.times_ms.items():
            times.device_ns[stage] = times.device_ns.get(stage, 0) + round(1e6 * milliseconds)
        return faces

    def _sight(self, view: View, face: DeviceFace, may_retry: bool) -> Sighting | View:
        matrix = self._rule.frame_from_crop(view.roi)
        one = self._aim(view, matrix, face, face.score, may_retry)
        return replace(one, resident=face) if isinstance(one, Sighting) else one
