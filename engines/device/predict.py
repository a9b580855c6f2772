"""The device chain as a predictor: frames and regions go to the GPU, faces stay there."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from streamprn.engines.predict import Pending, Prediction, Predictor, PredictTimes, RefineRule, View
from streamprn.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamprn.engines.device.chain import DeviceChain, Ticket
    from streamprn.engines.device.face import DeviceFace
    from streamprn.engines.geometry import Expressions


class DevicePredictor(Predictor):
    """Gives frames and regions to a device chain, which cuts the crops itself.

    As many batches are in flight as the chain has slots: those of one call, and those that were
    begun with frames of different streams. Of one stream only one can be, as where to look in a
    frame depends on what was seen in the one before.

    Args:
        chain: see `DeviceChain`; closed with the predictor.
        refine: see `Predictor`.
        texture_size: see `Predictor`.
        expressions: see `Predictor`.
    """

    def __init__(
        self,
        chain: DeviceChain,
        refine: RefineRule | None = None,
        texture_size: int = 256,
        expressions: Expressions | None = None,
    ) -> None:
        spec, refine = chain.spec, refine or RefineRule()
        super().__init__(
            spec.topology, spec.crop, refine, texture_size, expressions, score_rule=spec.score
        )
        self.chain = chain

    @property
    def backend(self) -> str:
        """See `DeviceChain.backend`."""
        return self.chain.backend

    @property
    def in_flight(self) -> int:
        """One prediction for each slot of the chain."""
        return self.chain.slots

    @property
    def failure(self) -> BackendError | None:
        """The failure of the GPU that a face met, or None."""
        return self.chain.renderer.failure

    def begin(self, views: Sequence[View], *, beside: bool = True) -> Pending:
        """See `Predictor.begin`: one batch goes on its way at once, more wait for `finish`."""
        if self.failure is not None:
            raise self.failure
        pending = super().begin(views, beside=beside)
        if 1 <= len(views) <= self.chain.max_batch and self.chain.free_slots:
            pending.ticket = self._submit(views)
        return pending

    def is_done(self, pending: Pending) -> bool:
        """See `Predictor.is_done`; of a device that failed `finish` says so at once."""
        with contextlib.suppress(BackendError):
            return pending.ticket is None or self.chain.is_done(pending.ticket)
        return True

    def cancel(self, pending: Pending) -> None:
        """See `Predictor.cancel`."""
        if pending.ticket is not None:
            # A device that failed has said so, or will be asked again.
            with contextlib.suppress(BackendError):
                self.chain.collect(pending.ticket)

    def warm_up(self) -> None:
        """See `DeviceChain.warm_up`."""
        self.chain.warm_up()

    def close(self) -> None:
        """See `DeviceChain.close`."""
        self.chain.close()

    def _first(self, pending: Pending, times: PredictTimes) -> list[Prediction | View]:
        if pending.ticket is None:
            return super()._first(pending, times)
        faces = self._collect(pending.ticket, times)
        return self._predictions(pending.views, faces, pending.began_ns, times, may_refine=True)

    def _run(
        self, views: Sequence[View], times: PredictTimes, *, may_refine: bool
    ) -> list[Prediction | View]:
        """See `Predictor._run`."""
        began = time.perf_counter_ns()
        faces = self._faces(views, times)
        return self._predictions(views, faces, began, times, may_refine=may_refine)

    def _predictions(
        self,
        views: Sequence[View],
        faces: Sequence[DeviceFace],
        began: int,
        times: PredictTimes,
        *,
        may_refine: bool,
    ) -> list[Prediction | View]:
        seen = time.perf_counter_ns()
        found = [
            self._prediction(view, face, may_refine)
            for view, face in zip(views, faces, strict=True)
        ]
        times.network_ns += seen - began
        times.refine_ns += time.perf_counter_ns() - seen
        return found

    def _prediction(self, view: View, face: DeviceFace, may_refine: bool) -> Prediction | View:
        seen = self._seen(view, face.outline(), face.score, may_refine)
        if isinstance(seen, View):
            return seen
        next_roi, look = seen
        make = partial(replace, face, image=view.image, geometry=self.geometry)
        return Prediction(next_roi, face.score, make, look)

    def _faces(self, views: Sequence[View], times: PredictTimes) -> list[DeviceFace]:
        chain, faces = self.chain, []
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
        return self.chain.submit(images, [(place[id(view.image)], view.roi) for view in views])

    def _collect(self, ticket: Ticket, times: PredictTimes) -> list[DeviceFace]:
        faces = self.chain.collect(ticket)
        for stage, milliseconds in self.chain.times_ms.items():
            times.device_ns[stage] = times.device_ns.get(stage, 0) + round(1e6 * milliseconds)
        return faces
