"""Faces of frames in host memory: crops cut on the CPU, any engine, faces on the host."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from streamprn.engines.face import HostFace
from streamprn.engines.predict import Prediction, Predictor, RefineRule, View
from streamprn.engines.protocol import StartingEngine
from streamprn.kernels import warp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamprn.engines.geometry import Expressions
    from streamprn.engines.predict import Pending, PredictTimes
    from streamprn.engines.protocol import Engine, Inference, Started
    from streamprn.records import Float32

#: Crops cost less from the decoder's planes; with more of one frame, one conversion to RGB does.
MAX_PLANE_CROPS = 8
#: Frames of different streams in one batch while others are computed: what OpenVINO takes together.
FRAMES_AT_ONCE = 4


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
        refine, rule = refine or RefineRule(), engine.score_rule
        super().__init__(
            engine.topology, engine.crop, refine, texture_size, expressions, score_rule=rule
        )
        self.engine = engine
        size = engine.crop.size
        self._crops = np.zeros((engine.max_batch, size, size, 3), np.float32)
        self._starter = engine if _computes_beside(engine) else None
        # Crops that no computation reads now.
        self._free: list[Float32] = []

    @property
    def backend(self) -> str:
        """The engine's runtime, in words."""
        return self.engine.backend

    @property
    def may_keep_faces(self) -> bool:
        """Yes: they are in host memory."""
        return True

    @property
    def in_flight(self) -> int:
        """Two where the runtime computes beside this thread: one is cut and read meanwhile."""
        return 1 if self._starter is None else 2

    @property
    def frames_at_once(self) -> int | None:
        """As many as the engine computes fastest together, where there may be others meanwhile."""
        return None if self._starter is None else FRAMES_AT_ONCE

    def begin(self, views: Sequence[View], *, beside: bool = True) -> Pending:
        """See `Predictor.begin`: one batch is cut and started, more wait for `finish`."""
        pending = super().begin(views)
        if beside and self._starter is not None and 1 <= len(views) <= self.engine.max_batch:
            buffer = self._free.pop() if self._free else np.zeros_like(self._crops)
            batch = self._cut_batch(views, buffer)
            pending.ticket = _Ticket(self._starter.start(batch.crops), buffer, batch)
        return pending

    def cancel(self, pending: Pending) -> None:
        """See `Predictor.cancel`."""
        ticket, pending.ticket = pending.ticket, None
        if ticket is not None:
            ticket.started.cancel()
            self._free.append(ticket.buffer)

    def warm_up(self) -> None:
        """See `Engine.warm_up`."""
        self.engine.warm_up()

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()

    def _first(self, pending: Pending, times: PredictTimes) -> list[Prediction | View]:
        """See `Predictor._first`."""
        ticket, pending.ticket = pending.ticket, None
        if ticket is None:
            return super()._first(pending, times)
        try:
            inference = ticket.started.inference()
        finally:
            self._free.append(ticket.buffer)
        return self._read(pending.views, ticket.batch, inference, times, may_refine=True)

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
        batch = self._cut_batch(views, self._crops)
        inference = self.engine.infer(batch.crops)
        return self._read(views, batch, inference, times, may_refine=may_refine)

    def _cut_batch(self, views: Sequence[View], buffer: Float32) -> _Batch:
        began = time.perf_counter_ns()
        matrices = [self.crop.frame_from_crop(view.roi) for view in views]
        crops = self._cut(views, matrices, buffer)
        cut = time.perf_counter_ns()
        return _Batch(crops, matrices, cut - began, cut)

    def _read(
        self,
        views: Sequence[View],
        batch: _Batch,
        inference: Inference,
        times: PredictTimes,
        *,
        may_refine: bool,
    ) -> list[Prediction | View]:
        """What the engine has just said of the views."""
        inferred = time.perf_counter_ns()
        found: list[Prediction | View] = []
        for view, matrix, surface, score in zip(
            views, batch.matrices, inference.surfaces, inference.scores.tolist(), strict=True
        ):
            seen = self._seen(view, surface.outline(), score, may_refine)
            if isinstance(seen, View):
                found.append(seen)
                continue
            next_roi, look = seen
            face = partial(
                HostFace,
                roi=view.roi,
                image=view.image,
                geometry=self.geometry,
                restore=partial(surface.restore, matrix),
                place=partial(surface.mesh_points, matrix),
            )
            found.append(Prediction(next_roi, score, face, look))
        times.crop_ns += batch.cut_ns
        times.network_ns += inferred - batch.began_ns
        times.refine_ns += time.perf_counter_ns() - inferred
        return found

    def _cut(self, views: Sequence[View], matrices: Sequence[Float32], buffer: Float32) -> Float32:
        crops = buffer[: len(views)]
        for index, (view, matrix) in enumerate(zip(views, matrices, strict=True)):
            out = crops[index : index + 1]
            image = view.image
            same_frame = sum(other.image is image for other in views)
            if image.planes is not None and not image.has_rgb and same_frame <= MAX_PLANE_CROPS:
                warp.warp_yuv(image.planes, matrix, self.crop.size, out)
            else:
                warp.warp_rgb(image.rgb, matrix, self.crop.size, out)
        return crops


@dataclass(frozen=True, slots=True)
class _Batch:
    """Crops, where they were cut, how long that took, and when the engine got them."""

    crops: Float32
    matrices: Sequence[Float32]
    cut_ns: int
    began_ns: int


@dataclass(frozen=True, slots=True)
class _Ticket:
    """A batch that the engine is at work on, and the buffer in which its crops are."""

    started: Started
    buffer: Float32
    batch: _Batch


def _computes_beside(engine: Engine) -> TypeGuard[StartingEngine]:
    return isinstance(engine, StartingEngine) and engine.can_start
