"""Regions of frames in, faces out: crops, the network, and the region that fits each face."""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from streamprn.engines.geometry import FaceGeometry
from streamprn.engines.head import HeadShape
from streamprn.engines.score import LOOKS, Check, Look, second_regions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamprn.engines.geometry import Expressions
    from streamprn.engines.protocol import CropRule, ScoreRule
    from streamprn.engines.topology import Topology
    from streamprn.errors import BackendError
    from streamprn.records import Face, Float32, FrameImage, Roi

#: Where else a face may be whose region was wrong: upside down, or lying on either side.
QUARTERS = (math.pi, 0.5 * math.pi, -0.5 * math.pi)


@dataclass(frozen=True, slots=True)
class View:
    """One region of one frame for the network to see.

    Attributes:
        image: the frame.
        roi: the region.
        check: what second looks at this face said in an earlier frame, or None for a new one.
        check_again: look again even where `check` still holds.
        search: where the face turns out to be wrong, look in the region turned by quarters too.
    """

    image: FrameImage
    roi: Roi
    check: Check | None = None
    check_again: bool = False
    search: bool = False


class MakeFace(Protocol):
    """Makes the face of a prediction once it is known whose it is."""

    def __call__(self, *, id: int, score: float) -> Face:
        """The face of track `id`, with the `score` of that track."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the network made of one view.

    Attributes:
        next_roi: the region that fits the face.
        score: 0..1, NaN where the engine gives none; see `score.ScoreRule`.
        face: makes the face, given `id` and `score`; its vertices are made later.
        look: what the network said.
        check: what second looks said, now or earlier; None where nobody looked again.
    """

    next_roi: Roi
    score: float
    face: MakeFace
    look: Look
    check: Check | None = None


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
        score_rule: how scores are made; None leaves the network's own.
    """

    def __init__(
        self,
        topology: Topology,
        crop: CropRule,
        refine: RefineRule,
        texture_size: int = 256,
        expressions: Expressions | None = None,
        *,
        score_rule: ScoreRule | None = None,
    ) -> None:
        self.topology = topology
        self.crop = crop
        self.refine = refine
        self.score_rule = score_rule
        self.head = HeadShape(topology)
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
    def may_keep_faces(self) -> bool:
        """Whether a face may be kept for long: on a device it would take the place of others."""
        return False

    @property
    def failure(self) -> BackendError | None:
        """Why no further face can be predicted, or None."""
        return None

    def predict(self, views: Sequence[View]) -> tuple[list[Prediction], PredictTimes]:
        """`begin` and `finish` in one."""
        return self.finish(self.begin(views, beside=False))

    def begin(self, views: Sequence[View], *, beside: bool = True) -> Pending:
        """Start to predict, as far as that goes without waiting.

        Args:
            views: to predict.
            beside: whether the caller has something else to do before `finish`; a computation in
                another thread costs a little more.

        Raises:
            BackendError: the device failed.
        """
        del beside
        return Pending(views, time.perf_counter_ns(), self)

    def is_done(self, pending: Pending) -> bool:
        """Whether there is no use in looking for other frames before `finish`."""
        del pending
        return True

    @property
    def frames_at_once(self) -> int | None:
        """Of how many frames the views of one prediction should be at most, or None for any."""
        return None

    def cancel(self, pending: Pending) -> None:
        """Give a prediction up; returns when the device no longer works on it."""
        del pending

    def finish(self, pending: Pending) -> tuple[list[Prediction], PredictTimes]:
        """Predictions in the order of the views, and the time they took.

        Raises:
            BackendError: the runtime failed.
        """
        times = PredictTimes()
        views = pending.views
        predictions = self.checked(views, self._refined(self._first(pending, times), times), times)
        lost = [
            index
            for index, (view, one) in enumerate(zip(views, predictions, strict=True))
            if view.search and self.score_rule is not None and not self._is_face(one.score)
        ]
        if lost and self.crop.rotate:
            turned = [
                View(views[k].image, views[k].roi.turned(turn)) for k in lost for turn in QUARTERS
            ]
            found = self._run(turned, times, may_refine=True)
            others = self.checked(turned, self._refined(found, times), times)
            for place, index in enumerate(lost):
                part = others[place * len(QUARTERS) : (place + 1) * len(QUARTERS)]
                predictions[index] = max([predictions[index], *part], key=lambda one: one.score)
        return predictions, times

    def _is_face(self, score: float) -> bool:
        return math.isnan(score) or score >= self.refine.min_score

    def look(self, views: Sequence[View]) -> list[Prediction]:
        """Predict once, without refining and without second looks; scores are the network's own.

        Raises:
            BackendError: the runtime failed.
        """
        return self._refined(self._run(views, PredictTimes(), may_refine=False), PredictTimes())

    def _refined(self, found: list[Prediction | View], times: PredictTimes) -> list[Prediction]:
        """Predict the views among what was found."""
        again = {index: one for index, one in enumerate(found) if isinstance(one, View)}
        if again:
            refined = self._run(list(again.values()), times, may_refine=False)
            for index, one in zip(again, refined, strict=True):
                found[index] = one
        return [one for one in found if isinstance(one, Prediction)]

    def checked(
        self,
        views: Sequence[View],
        predictions: list[Prediction],
        times: PredictTimes | None = None,
    ) -> list[Prediction]:
        """The same predictions with scores by the `score_rule`, after second looks where needed.

        Raises:
            BackendError: the runtime failed.
        """
        times = PredictTimes() if times is None else times
        rule = self.score_rule
        if rule is None:
            return predictions
        doubtful = [
            index
            for index, (view, one) in enumerate(zip(views, predictions, strict=True))
            if _is_doubtful(view, one) and self._is_face(one.look.own)
        ]
        checks = self._second_looks([(views[k].image, predictions[k]) for k in doubtful], times)
        new = dict(zip(doubtful, checks, strict=True))
        return [
            _scored(one, new.get(index, view.check), rule)
            for index, (view, one) in enumerate(zip(views, predictions, strict=True))
        ]

    def _second_looks(
        self, doubtful: Sequence[tuple[FrameImage, Prediction]], times: PredictTimes
    ) -> list[Check]:
        """Look again at faces, each in the region that fits it, and see what that says."""
        views = [
            View(image, roi) for image, one in doubtful for roi in second_regions(one.next_roi)
        ]
        looks = [
            one.look for one in self._refined(self._run(views, times, may_refine=False), times)
        ]
        return [
            Check.of(self.crop, one.look, looks[LOOKS * index : LOOKS * (index + 1)])
            for index, (_, one) in enumerate(doubtful)
        ]

    def _seen(
        self, view: View, outline: tuple[Float32, Float32], own: float, may_refine: bool
    ) -> View | tuple[Roi, Look]:
        """What follows from the outline of a face: the next region, or a view to refine it."""
        box, landmarks = outline
        fit = self.head.fit(landmarks)
        next_roi = self.crop.next_roi(view.roi, box, landmarks, fit.turn)
        if may_refine and self.refine.applies(view.roi, next_roi, own):
            return replace(view, roi=next_roi)
        return next_roi, Look(view.roi, landmarks, fit, own)

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


def _is_doubtful(view: View, found: Prediction) -> bool:
    if not found.next_roi.is_finite:
        return False
    return view.check is None or view.check_again or not view.check.still_holds(found.look)


def _scored(found: Prediction, check: Check | None, rule: ScoreRule) -> Prediction:
    if check is None:
        return found
    return replace(found, score=check.score(rule, found.look.own), check=check)
