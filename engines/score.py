"""A score that means something: how probable it is that the mesh lies on the face.

A network's own score says that there is a face, not that its points are right: of faces that are
upside down it can be certain and be wrong. So the network looks again, at the region turned a
little to either side. Points that are right stay where they are in the picture; invented ones move
with the region. How far the looks differ tells more than anything else that was measured
(docs/score.md). Two more looks, at the region grown and shrunk, find most of the wrong meshes on
which the turned ones agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from streamprn.engines.head import HeadFit
    from streamprn.engines.protocol import CropRule, ScoreRule
    from streamprn.records import Roi

    Float32 = NDArray[np.float32]

#: How far the first two of the second looks are turned, radians.
TURNS = (math.radians(20.0), math.radians(-20.0))
#: How much larger the other two are.
SIZES = (1.25, 0.8)
#: Second looks at a face.
LOOKS = len(TURNS) + len(SIZES)
# When a face was checked before: how much its mesh or the network's score may get worse.
_WORSE_RESIDUAL = 1.25
_WORSE_DOUBT = 2.0
_MORE_DOUBT = 0.05


@dataclass(frozen=True, slots=True)
class Look:
    """What the network said of one region.

    Attributes:
        roi: the region.
        landmarks: `(68, 3)` float32, crop pixels.
        fit: of these landmarks.
        own: the network's own score, NaN where it gives none.
    """

    roi: Roi
    landmarks: Float32
    fit: HeadFit
    own: float

    def in_frame(self, crop: CropRule) -> Float32:
        """`(68, 2)` float32, frame pixels."""
        matrix = crop.frame_from_crop(self.roi)
        return self.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]


@dataclass(frozen=True, slots=True)
class Check:
    """What the second looks at a face said; kept with it while it is followed.

    Attributes:
        difference: of the turned looks, see `difference`.
        resized: of those at a larger and a smaller region.
        residual: `HeadFit.residual` at that time.
        own: the network's own score at that time.
        own_mean: that, and those of the turned looks, on average; NaN where there is none.
    """

    difference: float
    resized: float
    residual: float
    own: float
    own_mean: float

    @classmethod
    def of(cls, crop: CropRule, first: Look, others: Sequence[Look]) -> Check:
        """What the looks at `second_regions` say of the first one."""
        turned, resized = others[: len(TURNS)], others[len(TURNS) :]
        return cls(
            difference=difference(crop, first, turned),
            resized=difference(crop, first, resized),
            residual=first.fit.residual,
            own=first.own,
            own_mean=sum(look.own for look in (first, *turned)) / (1 + len(turned)),
        )

    def score(self, rule: ScoreRule, own: float) -> float:
        """Of the face in a frame: no more than its network says now, or said at turned regions.

        Args:
            rule: of the engine.
            own: the network's own score in that frame, 0..1; NaN where it gives none.
        """
        score = rule.probability(own, self.difference, self.resized)
        return min([score, *(one for one in (own, self.own_mean) if not math.isnan(one))])

    def still_holds(self, look: Look) -> bool:
        """Whether a later look is no worse, so that nobody has to look again."""
        if look.fit.residual > _WORSE_RESIDUAL * self.residual:
            return False
        doubt = _WORSE_DOUBT * (1.0 - self.own) + _MORE_DOUBT
        return math.isnan(look.own) or 1.0 - look.own <= doubt


def second_regions(roi: Roi) -> list[Roi]:
    """Where to look again: the region that fits the face, turned to either side, grown, shrunk."""
    resized = (replace(roi, side=roi.side * size) for size in SIZES)
    return [*(roi.turned(turn) for turn in TURNS), *resized]


def difference(crop: CropRule, first: Look, others: Iterable[Look]) -> float:
    """How far the 68 points of other looks lie from those of the first, as a part of the head.

    The largest of the mean distances, over the size of the head; infinite where it is not a number.
    """
    points = first.in_frame(crop)
    size = first.fit.size * crop.depth_scale(first.roi)
    far = [
        float(np.linalg.norm(other.in_frame(crop) - points, axis=1).mean()) / size
        for other in others
    ]
    return max(far) if all(map(math.isfinite, far)) else math.inf
