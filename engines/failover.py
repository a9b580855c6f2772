"""Opening the predictor that a configuration asks for, and the way back from a GPU that fails."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from streamprn.engines.blendshapes import SharedBlendshapes
from streamprn.engines.engine import CPU_RUNTIMES, BundleEngine, open_engine
from streamprn.engines.predict import Pending, Predictor, RefineRule
from streamprn.engines.predict_host import HostPredictor
from streamprn.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamprn.config import EngineConfig
    from streamprn.engines.predict import Prediction, PredictTimes, View

__all__ = ["FailoverPredictor", "open_predictor"]

log = logging.getLogger("streamprn.engines")


class FailoverPredictor(Predictor):
    """Predicts on a GPU until that fails, and on the CPU from then on.

    Args:
        first: on the GPU.
        open_other: opens the one that takes over.
    """

    def __init__(self, first: Predictor, open_other: Callable[[], Predictor]) -> None:
        geometry = first.geometry
        super().__init__(
            first.topology,
            first.crop,
            first.refine,
            geometry.texture_size,
            geometry.expressions,
            score_rule=first.score_rule,
        )
        self._now = first
        self._open_other: Callable[[], Predictor] | None = open_other
        # Closed at the end: faces that were published may still be there.
        self._retired: list[Predictor] = []

    @property
    def backend(self) -> str:
        """What runs the network now, in words."""
        return self._now.backend

    @property
    def in_flight(self) -> int:
        """See `Predictor.in_flight`."""
        return self._now.in_flight

    @property
    def frames_at_once(self) -> int | None:
        """See `Predictor.frames_at_once`."""
        return self._now.frames_at_once

    def begin(self, views: Sequence[View], *, beside: bool = True) -> Pending:
        """See `Predictor.begin`; a GPU that fails here is left."""
        if self._now.failure is not None:
            self._fail_over(self._now.failure)
        try:
            return self._now.begin(views, beside=beside)
        except BackendError as error:
            self._fail_over(error)
            return self._now.begin(views, beside=beside)

    def is_done(self, pending: Pending) -> bool:
        """See `Predictor.is_done`."""
        return pending.owner.is_done(pending)

    def cancel(self, pending: Pending) -> None:
        """See `Predictor.cancel`."""
        pending.owner.cancel(pending)

    def finish(self, pending: Pending) -> tuple[list[Prediction], PredictTimes]:
        """See `Predictor.finish`; views that a GPU failed on are predicted on the CPU."""
        if pending.owner is self._now and self._now.failure is not None:
            self._fail_over(self._now.failure)
        if pending.owner is self._now:
            try:
                return self._now.finish(pending)
            except BackendError as error:
                self._fail_over(error)
        else:
            pending.owner.cancel(pending)
        return self._now.predict(pending.views)

    def warm_up(self) -> None:
        """See `Predictor.warm_up`."""
        self._now.warm_up()

    def close(self) -> None:
        """Close the one in use and those before it."""
        for predictor in (self._now, *self._retired):
            predictor.close()

    def _fail_over(self, failure: BackendError) -> None:
        if self._open_other is None:
            raise failure
        log.warning("the GPU failed, going on on the CPU: %s", failure)
        open_other, self._open_other = self._open_other, None
        other = open_other()
        self._retired.append(self._now)
        self._now = other

    def _run(
        self, views: Sequence[View], times: PredictTimes, *, may_refine: bool
    ) -> list[Prediction | View]:
        """See `Predictor._run`."""
        return self._now._run(views, times, may_refine=may_refine)


def open_predictor(
    settings: EngineConfig, refine: RefineRule | None = None, texture_size: int = 256
) -> Predictor:
    """Open what predicts faces under these settings, warm.

    All of it stays on the GPU where TensorRT is wanted and everything for that is here. Where
    `auto` chose a GPU that fails later, the CPU takes over.

    Args:
        settings: name of the bundle, backend, precision, threads, batch.
        refine: when a face is predicted once more; see `RefineRule`.
        texture_size: T, side of UV textures in texels.

    Raises:
        EngineError: there is no such engine, or it is damaged.
        BackendError: no runtime can be used, or the one asked for cannot.
    """
    refine = refine or RefineRule()

    def on_cpu() -> Predictor:
        return _open_on_cpu(settings, refine, texture_size)

    predictor, on_gpu = _open_best(settings, refine, texture_size)
    if on_gpu and settings.backend == "auto":
        return FailoverPredictor(predictor, on_cpu)
    return predictor


def _open_best(
    settings: EngineConfig, refine: RefineRule, texture_size: int
) -> tuple[Predictor, bool]:
    """The predictor, and whether its network runs on a GPU."""
    from streamprn.engines.gpu_chain import open_device_predictor

    if settings.backend in ("auto", "tensorrt"):
        on_device = open_device_predictor(settings, refine, texture_size)
        if on_device is not None:
            return on_device, True
    engine = open_engine(
        settings.name,
        backend=settings.backend,
        threads=settings.threads,
        max_batch=settings.max_batch,
        precision=settings.precision,
    )
    _warm_up(engine)
    return _on_host(engine, refine, texture_size), engine.on_gpu


def _on_host(engine: BundleEngine, refine: RefineRule, texture_size: int) -> HostPredictor:
    return HostPredictor(engine, refine, texture_size, SharedBlendshapes())


def _warm_up(engine: BundleEngine) -> None:
    try:
        engine.warm_up()
    except BaseException:
        engine.close()
        raise


def _open_on_cpu(settings: EngineConfig, refine: RefineRule, texture_size: int) -> Predictor:
    refused = []
    for backend in CPU_RUNTIMES:
        try:
            engine = open_engine(
                settings.name,
                backend=backend,
                threads=settings.threads,
                max_batch=settings.max_batch,
            )
            _warm_up(engine)
        except BackendError as error:
            refused.append(f"{backend}: {error.what}")
            continue
        return _on_host(engine, refine, texture_size)
    raise BackendError(f"no CPU runtime can be used: {'; '.join(refused)}")
