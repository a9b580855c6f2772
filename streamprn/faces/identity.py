"""Whose face is whose: ids that survive a crossing, and a short absence.

A track follows a place: where one face passes before another, the region of the hidden one settles
on the face in front, and of two tracks on one head one is given up, which may be the wrong one. So
each id remembers what its face looks like, and a track that shows another's face is not its face.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from streamprn.faces.signature import SignatureGrid
from streamprn.faces.track import FaceTracker, is_plausible, on_one_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamprn.engines.predict import Prediction, Predictor
    from streamprn.engines.score import Look
    from streamprn.faces.signature import Signature
    from streamprn.faces.track import Track
    from streamprn.records import FrameImage, Roi

__all__ = ["Identities", "Verdict"]

#: A face that comes is one that left where they are at least so alike; of 6,000 pairs of different
#: people one in a hundred is, of pairs from one video nine in ten are.
SAME = 0.5
#: A followed face is another's where it is more alike to that one by so much.
MARGIN = 0.15
# How often a face is looked at that nobody is near, and how fast the memory of its look follows it.
_EVERY_FRAMES, _FOLLOW = 10, 0.2
# Faces are near whose middles are apart by less than so many of their mean side.
_NEAR = 1.3
# Somebody who was lost is expected near the place for so long.
_HIDDEN_S = 1.5
_MOST_KNOWN = 64
# A face that may be one that left, but is not to be known yet, is awaited for so many frames.
_PATIENCE_FRAMES = 10
# Below this it is none of them, where all of it can be seen.
_STRANGER = 0.0


class Verdict(Enum):
    """What a track shows."""

    SHOWN = auto()
    #: The face of another track: its own is behind it.
    HIDDEN = auto()
    #: A new face, of which too little can be seen to say whether it is one that has left.
    UNKNOWN = auto()


@dataclass(slots=True)
class _Known:
    """What is remembered of an id: its looks from either side, and where it was last."""

    roi: Roi
    seen_ns: int
    looks: dict[int, Signature] = field(default_factory=dict)

    def likeness(self, look: Signature) -> float:
        return max((look.likeness(one) for one in self.looks.values()), default=-1.0)

    def learn(self, look: Signature) -> None:
        old = self.looks.get(look.side)
        self.looks[look.side] = look if old is None else old.mixed(look, _FOLLOW)


class Identities:
    """The ids of one stream.

    Args:
        predictor: whose faces they are.
        tracker: follows them; see `TrackRules.remember_s`.
    """

    def __init__(self, predictor: Predictor, tracker: FaceTracker) -> None:
        self._crop, self._rules, self._tracker = predictor.crop, tracker.rules, tracker
        topology = predictor.topology
        self._grid = SignatureGrid(topology.canonical[topology.landmarks])
        self._known: dict[int, _Known] = {}

    def judge(
        self,
        image: FrameImage,
        at_ns: int,
        tracks: Sequence[Track],
        predictions: Sequence[Prediction],
    ) -> dict[int, Verdict]:
        """Give the tracks of a frame the ids of the faces that they show.

        Args:
            image: the frame.
            at_ns: when it was taken.
            tracks: that were looked at.
            predictions: of the tracks.

        Returns:
            By index of the track; `SHOWN` is left out.
        """
        self._forget(at_ns, tracks)
        size_wh = (image.width, image.height)
        seen = [
            index
            for index, one in enumerate(predictions)
            if not one.score < self._rules.min_score and is_plausible(one.next_roi, size_wh)
        ]
        looks = {
            index: look
            for index in seen
            if self._is_due(tracks[index], tracks, at_ns)
            and (look := self._look(image, predictions[index].look)) is not None
        }
        hidden = self._settle(looks, tracks, predictions, set(seen))
        verdicts = dict.fromkeys(hidden, Verdict.HIDDEN)
        for index in seen:
            track, roi = tracks[index], predictions[index].next_roi
            if index in hidden:
                continue
            if self._is_awaited(track, looks.get(index), roi, size_wh, tracks):
                verdicts[index] = Verdict.UNKNOWN
                continue
            self._note(track, roi, at_ns)
            if index in looks:
                self._learn(track, looks[index], tracks, at_ns)
        return verdicts

    def _is_awaited(
        self,
        track: Track,
        look: Signature | None,
        roi: Roi,
        size_wh: tuple[int, int],
        tracks: Sequence[Track],
    ) -> bool:
        """Whether a new face may be one that left, and more of it may be seen soon."""
        if track.confirmed or look is None or track.frames >= _PATIENCE_FRAMES:
            return False
        live = {one.id for one in tracks}
        gone = [known for number, known in self._known.items() if number not in live]
        if not gone:
            return False
        if max(known.likeness(look) for known in gone) > _STRANGER:
            return True
        others = [one.roi for one in tracks if one is not track]
        return any(_are_near(roi, other) for other in others) or not _is_inside(roi, size_wh)

    def _is_due(self, track: Track, tracks: Sequence[Track], at_ns: int) -> bool:
        """Whether a track's look is taken now: it is new, it is time, or another's is in reach."""
        known = self._known.get(track.id)
        if known is None or not known.looks:
            return True
        if (track.frames + 3 * track.id) % _EVERY_FRAMES == 0 or track.misses:
            return True
        return self._has_company(track, tracks, at_ns)

    def _has_company(self, track: Track, tracks: Sequence[Track], at_ns: int) -> bool:
        places = [one.roi for one in tracks if one is not track and one.confirmed]
        live = {one.id for one in tracks}
        places += [
            one.roi
            for number, one in self._known.items()
            if number not in live and at_ns - one.seen_ns < _HIDDEN_S * 1e9
        ]
        return any(_are_near(track.roi, place) for place in places)

    def _look(self, image: FrameImage, look: Look) -> Signature | None:
        return self._grid.take(image, self._crop.frame_from_crop(look.roi), look)

    def _settle(
        self,
        looks: dict[int, Signature],
        tracks: Sequence[Track],
        predictions: Sequence[Prediction],
        seen: set[int],
    ) -> set[int]:
        """Compare what is seen with what is known; the indices of hidden faces."""
        hidden: set[int] = set()
        settled: set[int] = set()
        holders = {track.id: index for index, track in enumerate(tracks) if track.confirmed}
        # Those that are surest first: what they take is not given to another.
        claims = sorted(
            (
                (known.likeness(look), index, number)
                for index, look in looks.items()
                for number, known in self._known.items()
            ),
            reverse=True,
        )
        for likeness, index, number in claims:
            track, holder = tracks[index], holders.get(number)
            if index in settled or index in hidden:
                continue
            if holder == index:
                track.likeness = likeness
                settled.add(index)
                continue
            own = self._known.get(track.id)
            if likeness < SAME or (
                own is not None and likeness - own.likeness(looks[index]) < MARGIN
            ):
                continue
            if holder is not None and holder in seen:
                one, other = predictions[index].next_roi, predictions[holder].next_roi
                if on_one_head(one, other, self._rules.max_overlap):
                    hidden.add(index)
                    continue
                holders_look = looks.get(holder)
                if (
                    holder in settled
                    or holders_look is None
                    or likeness - self._known[number].likeness(holders_look) < MARGIN
                ):
                    continue
            # The track shows this face; whoever bore its id does not.
            if holder is not None:
                tracks[holder].id = 0
            holders.pop(track.id, None)
            track.id, track.likeness = number, likeness
            holders[number] = index
            settled.add(index)
        return hidden

    def _note(self, track: Track, roi: Roi, at_ns: int) -> None:
        """A track shows its face; a new one gets a new id."""
        if not track.confirmed:
            track.id = self._tracker.new_id()
        known = self._known.setdefault(track.id, _Known(roi, at_ns))
        known.roi, known.seen_ns = roi, at_ns

    def _learn(self, track: Track, look: Signature, tracks: Sequence[Track], at_ns: int) -> None:
        known = self._known[track.id]
        if not known.looks or not self._has_company(track, tracks, at_ns):
            known.learn(look)

    def _forget(self, at_ns: int, tracks: Sequence[Track]) -> None:
        live = {track.id for track in tracks}
        gone = sorted(
            (number for number in self._known if number not in live),
            key=lambda number: self._known[number].seen_ns,
        )
        for place, number in enumerate(gone):
            age_s = (at_ns - self._known[number].seen_ns) / 1e9
            if not 0 <= age_s <= self._rules.remember_s or len(gone) - place > _MOST_KNOWN:
                del self._known[number]


def _are_near(one: Roi, other: Roi) -> bool:
    reach = 0.5 * _NEAR * (one.side + other.side)
    return abs(one.cx - other.cx) < reach and abs(one.cy - other.cy) < reach


def _is_inside(roi: Roi, size_wh: tuple[int, int]) -> bool:
    """Whether all of a face is in the frame."""
    reach, (width, height) = 0.4 * roi.side, size_wh
    return reach <= roi.cx <= width - reach and reach <= roi.cy <= height - reach
