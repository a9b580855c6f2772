"""Regions of frames in, faces out: crops, the network, and the region that fits each face."""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from streamprn.engines.face import HostFace
from streamprn.engines.geometry import FaceGeometry
from streamprn.kernels import warp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamprn.engines.geometry import Expressions
    from streamprn.engines.protocol import CropRule, Engine
    from streamprn.engines.topology import Topology
    from streamprn.errors import BackendError
    from streamprn.records import Face, Float32, FrameImage, Roi

#: One crop costs less from the decoder's planes; with more, one conversion to RGB does.
MAX_PLANE_CROPS = 2


@dataclass(frozen=True, slots=True)
class View:
    """One region of one frame for the network to see."""

    image: FrameImage
    roi: Roi


class MakeFace(Protocol):
    """Makes the face of a prediction once it is known whose it is."""

    def __call__(self, *, id: int, score: float) -> Face:
        """The face of track `id`, with the `score` of that track."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the network made of one view.

    Attributes:
        next_roi: the region that fits the face.
        score: 0..1, NaN where the engine gives none.
        face: makes the face, given `id` and `score`; its vertices are made later.
    """

    next_roi: Roi
    score: float
    face: MakeFace


@dataclass(frozen=True, slots=True)
class RefineRule:
    """When a face is predicted once more, from the region that fits it.

    Attributes:
        threshold: it turned out to be elsewhere by this part of the region's side.
        min_score: never below this score.
    """

    threshold: float = 0.15
    min_score: float = 0.5

    def applies(self, roi: Roi, next_roi: Roi, score: float) -> bool:
        """Whether to predict the face that was found in `roi` once more, in `next_roi`."""
        is_face = math.isnan(score) or score >= self.min_score
        return is_face and self.threshold < roi.change_to(next_roi) < 1.0


@dataclass(slots=True)
class PredictTimes:
    """Nanoseconds that one call spent on cropping, in the network, and on refining the ROIs.

    `device_ns` holds what a GPU says of its own stages, by name; they are part of `network_ns`.
    """

    crop_ns: int = 0
    network_ns: int = 0
    refine_ns: int = 0
    device_ns: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Pending:
    """Views whose prediction has begun; `Predictor.finish` or `cancel` takes it once.

    Attributes:
        views: their predictions come in this order.
        began_ns: when, by `time.perf_counter_ns`.
        owner: who has begun.
        ticket: the batch that a device is at work on, where one is.
    """

    views: Sequence[View]
    began_ns: int
    owner: Predictor
    ticket: Any = None


class Predictor(ABC):
    """Predicts the faces of views; where they are computed is its own affair.

    One thread at a time may call it; `lock` is for those who share it among threads.

    Args:
        topology: the meaning of the vertices.
        crop: how a face becomes the network's input.
        refine: when to look once more.
        texture_size: T, side of UV textures in texels.
        expressions: see `FaceGeometry`.
    """

    def __init__(
        self,
        topology: Topology,
        crop: CropRule,
        refine: RefineRule,
        texture_size: int = 256,
        expressions: Expressions | None = None,
    ) -> None:
        self.topology = topology
        self.crop = crop
        self.refine = refine
        self.geometry = FaceGeometry(topology, texture_size, expressions)
        self.lock = threading.Lock()

    @property
    @abstractmethod
    def backend(self) -> str:
        """What runs the network, in words."""

    @property
    def in_flight(self) -> int:
        """How many predictions may be begun before the first of them is finished."""
        return 1

    @property
    def failure(self) -> BackendError | None:
        """Why no further face can be predicted, or None."""
        return None

    def predict(self, views: Sequence[View]) -> tuple[list[Prediction], PredictTimes]:
        """`begin` and `finish` in one."""
        return self.finish(self.begin(views))

    def begin(self, views: Sequence[View]) -> Pending:
        """Start to predict, as far as that goes without waiting.

        Raises:
            BackendError: the device failed.
        """
        return Pending(views, time.perf_counter_ns(), self)

    def is_done(self, pending: Pending) -> bool:
        """Whether `finish` would not have to wait for a device."""
        del pending
        return True

    def cancel(self, pending: Pending) -> None:
        """Give a prediction up; returns when the device no longer works on it."""
        del pending

    def finish(self, pending: Pending) -> tuple[list[Prediction], PredictTimes]:
        """Predictions in the order of the views, and the time they took.

        Raises:
            BackendError: the runtime failed.
        """
        times = PredictTimes()
        found = self._first(pending, times)
        again = {index: one for index, one in enumerate(found) if isinstance(one, View)}
        refined = self._run(list(again.values()), times, may_refine=False)
        for index, one in zip(again, refined, strict=True):
            found[index] = one
        return [one for one in found if isinstance(one, Prediction)], times

    def _first(self, pending: Pending, times: PredictTimes) -> list[Prediction | View]:
        """Every view once: predictions, or the views to predict instead."""
        return self._run(pending.views, times, may_refine=True)

    @abstractmethod
    def _run(
        self, views: Sequence[View], times: PredictTimes, *, may_refine: bool
    ) -> list[Prediction | View]:
        """Every view, in as many batches as it takes: predictions, or the views to refine."""

    @abstractmethod
    def warm_up(self) -> None:
        """Run once, so that the first face is not late."""

    @abstractmethod
    def close(self) -> None:
        """Free what it holds; it cannot be used after. A second call does nothing."""


class HostPredictor(Predictor):
    """Cuts crops on the CPU and gives them to an engine.

    Args:
        engine: see `streamprn.engines.protocol.Engine`.
        refine: see `Predictor`.
        texture_size: see `Predictor`.
        expressions: see `Predictor`.
    """

    def __init__(
        self,
        engine: Engine,
        refine: RefineRule | None = None,
        texture_size: int = 256,
        expressions: Expressions | None = None,
    ) -> None:
        refine = refine or RefineRule()
        super().__init__(engine.topology, engine.crop, refine, texture_size, expressions)
        self.engine = engine
        size = engine.crop.size
        self._crops = np.zeros((engine.max_batch, size, size, 3), np.float32)

    @property
    def backend(self) -> str:
        """The engine's runtime, in words."""
        return self.engine.backend

    def warm_up(self) -> None:
        """See `Engine.warm_up`."""
        self.engine.warm_up()

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()

    def _run(
        self, views: Sequence[View], times: PredictTimes, *, may_refine: bool
    ) -> list[Prediction | View]:
        """See `Predictor._run`."""
        step = self.engine.max_batch
        return [
            one
            for start in range(0, len(views), step)
            for one in self._batch(views[start : start + step], times, may_refine)
        ]

    def _batch(
        self, views: Sequence[View], times: PredictTimes, may_refine: bool
    ) -> list[Prediction | View]:
        """One call of the engine."""
        began = time.perf_counter_ns()
        matrices = [self.crop.frame_from_crop(view.roi) for view in views]
        crops = self._cut(views, matrices)
        cut = time.perf_counter_ns()
        inference = self.engine.infer(crops)
        inferred = time.perf_counter_ns()
        found: list[Prediction | View] = []
        for view, matrix, surface, score in zip(
            views, matrices, inference.surfaces, inference.scores.tolist(), strict=True
        ):
            next_roi = self.crop.next_roi(view.roi, *surface.outline())
            if may_refine and self.refine.applies(view.roi, next_roi, score):
                found.append(View(view.image, next_roi))
                continue
            face = partial(
                HostFace,
                roi=view.roi,
                image=view.image,
                geometry=self.geometry,
                restore=partial(surface.restore, matrix),
                place=partial(surface.mesh_points, matrix),
            )
            found.append(Prediction(next_roi, score, face))
        times.crop_ns += cut - began
        times.network_ns += inferred - cut
        times.refine_ns += time.perf_counter_ns() - inferred
        return found

    def _cut(self, views: Sequence[View], matrices: Sequence[Float32]) -> Float32:
        crops = self._crops[: len(views)]
        for index, (view, matrix) in enumerate(zip(views, matrices, strict=True)):
            out = crops[index : index + 1]
            image = view.image
            same_frame = sum(other.image is image for other in views)
            if image.planes is not None and not image.has_rgb and same_frame <= MAX_PLANE_CROPS:
                warp.warp_yuv(image.planes, matrix, self.crop.size, out)
            else:
                warp.warp_rgb(image.rgb, matrix, self.crop.size, out)
        return crops
