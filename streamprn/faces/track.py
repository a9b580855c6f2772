"""Follow faces from frame to frame through their own meshes: each has one ROI and one id."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamprn.records import Detection, Roi

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamprn.engines.protocol import CropRule
    from streamprn.engines.score import Check

MIN_ROI_SIDE_PX = 12.0


@dataclass(frozen=True, slots=True)
class TrackRules:
    """When a face is born, followed, cropped again and given up.

    Attributes:
        max_faces: the most faces followed in one stream.
        min_score: engine scores below this count as a miss.
        lost_frames: this many misses in a row end a face.
        max_overlap: two ROIs with a greater intersection over union are one face; see
            `on_one_head`.
        deadband: the ROI stays where it is while its successor differs by less than this part
            of its side, so that a still face gives a still mesh.
        check_frames: the engine looks four times more at a followed face every so many frames, and
            besides when it is new or in doubt.
        search_frames: where a new face turns out to be none, it is looked for upside down and
            lying on its side, but no more often than every so many frames.
        unconfirmed_detections: for engines without a score, this many detector passes in a row
            without the face end it.
        remember_s: a face that comes back within so many seconds gets its id again; with 0 ids
            follow places alone, and faces that pass each other may exchange them.
        still_change: see `streamprn.faces.still.StillFaces`; 0 looks at every face in every frame.
    """

    max_faces: int = 4
    min_score: float = 0.5
    lost_frames: int = 3
    max_overlap: float = 0.4
    deadband: float = 0.02
    check_frames: int = 120
    search_frames: int = 10
    unconfirmed_detections: int = 3
    remember_s: float = 10.0
    still_change: float = 0.0


@dataclass(slots=True)
class Track:
    """One followed face; mutable, owned by its `FaceTracker`.

    `id` is 0 until the engine confirmed the face; `likeness` is that to the looks that are known of
    this id, see `streamprn.faces.identity`.
    """

    roi: Roi
    id: int = 0
    score: float = 0.0
    misses: int = 0
    unconfirmed: int = 0
    frames: int = 0
    check: Check | None = None
    likeness: float = 0.0

    @property
    def confirmed(self) -> bool:
        """Whether the engine has seen a face here."""
        return self.id > 0


class FaceTracker:
    """The faces of one stream.

    Per frame: `see` the detections if there was a detector pass, predict the faces of the
    `tracks`, then `observe` each prediction and `settle`.

    Args:
        crop: rule of the engine.
        rules: see `TrackRules`.
        first_id: of the first face.
    """

    def __init__(self, crop: CropRule, rules: TrackRules, first_id: int = 1) -> None:
        self.crop = crop
        self.rules = rules
        self.tracks: list[Track] = []
        self.next_id = first_id

    @property
    def uncertain(self) -> bool:
        """Whether a detector pass is wanted at once: a followed face was just missed."""
        return any(track.misses for track in self.tracks)

    @property
    def full(self) -> bool:
        """Whether as many faces are followed as the rules allow."""
        return len(self.tracks) >= self.rules.max_faces

    def new_id(self) -> int:
        """An id that no face of this stream has had."""
        self.next_id += 1
        return self.next_id - 1

    def see(self, detections: Iterable[Detection]) -> None:
        """Match detections with the followed faces; the others become candidates.

        Detections are taken best score first, as many as `max_faces` leaves room for. A face that
        was missed in the last frame and is detected elsewhere moves there.
        """
        unmatched = list(self.tracks)
        for track in self.tracks:
            track.unconfirmed += 1
        for detection in sorted(detections, key=lambda found: -found.score):
            roi = self.crop.roi_from_detection(detection)
            match = self._best_match(roi, unmatched)
            if match is not None:
                unmatched.remove(match)
                match.unconfirmed = 0
                if match.misses:
                    match.roi = roi
            elif not self.full and not self._taken(roi, self.tracks):
                self.tracks.append(Track(roi=roi, score=detection.score))

    def observe(
        self,
        track: Track,
        score: float,
        next_roi: Roi,
        frame_size_wh: tuple[int, int],
        check: Check | None = None,
        *,
        confirm: bool = True,
    ) -> bool:
        """Note the score and the next ROI of one track; True when it is a face in this frame.

        Args:
            track: one of `tracks`.
            score: 0..1, NaN where the engine gives none.
            next_roi: where to look in the next frame.
            frame_size_wh: width and height of the frame.
            check: what second looks at it said, now or earlier.
            confirm: whether a new face may get its id now; else it is followed without one.
        """
        track.check = check
        scored = not math.isnan(score)
        seen = (not scored or score >= self.rules.min_score) and is_plausible(
            next_roi, frame_size_wh
        )
        track.frames += 1
        if not seen:
            track.misses += 1
            return False
        if not scored and track.unconfirmed >= self.rules.unconfirmed_detections:
            track.misses = self.rules.lost_frames
            return False
        if not track.confirmed and confirm:
            track.id = self.new_id()
        track.misses = 0
        if scored:
            track.score = score
        if track.roi.change_to(next_roi) > self.rules.deadband:
            track.roi = next_roi
        return track.confirmed

    def miss(self, track: Track) -> None:
        """Note that a track shows another's face."""
        track.frames += 1
        track.misses += 1

    def settle(self) -> None:
        """End what is lost: faces missed too often, candidates never confirmed, doubles.

        Of two on one head the one that looks more like its face stays, or the older one.
        """
        alive = [
            track
            for track in self.tracks
            if track.misses < (self.rules.lost_frames if track.confirmed else 1)
        ]
        kept: list[Track] = []
        for track in sorted(alive, key=lambda one: (not one.confirmed, -one.likeness, one.id)):
            if not self._taken(track.roi, kept):
                kept.append(track)
        self.tracks = sorted(kept, key=lambda one: (not one.confirmed, one.id))

    def _best_match(self, roi: Roi, tracks: Sequence[Track]) -> Track | None:
        best = max(tracks, key=lambda track: roi.overlap(track.roi), default=None)
        if best is None or roi.overlap(best.roi) <= self.rules.max_overlap:
            return None
        return best

    def _taken(self, roi: Roi, tracks: Sequence[Track]) -> bool:
        return any(on_one_head(roi, track.roi, self.rules.max_overlap) for track in tracks)


def is_plausible(roi: Roi, frame_size_wh: tuple[int, int]) -> bool:
    """Whether a face can be there: finite, not tiny, not huge, its centre inside the frame."""
    width, height = frame_size_wh
    return (
        math.isfinite(roi.cx + roi.cy + roi.side + roi.roll)
        and MIN_ROI_SIDE_PX <= roi.side <= 6.0 * max(width, height)
        and -0.1 * width <= roi.cx <= 1.1 * width
        and -0.1 * height <= roi.cy <= 1.1 * height
    )


def on_one_head(one: Roi, other: Roi, max_overlap: float = 0.4) -> bool:
    """Whether the faces of two regions cannot be two: heads do not lie in each other.

    They overlap by more than `max_overlap`, or half of the smaller face lies within the larger
    one; a face is taken as two thirds of its region.
    """
    if one.overlap(other) > max_overlap:
        return True
    small, half = min(one.side, other.side), 0.5 * (one.side + other.side)
    width = min(small, half - 1.5 * abs(one.cx - other.cx))
    height = min(small, half - 1.5 * abs(one.cy - other.cy))
    return min(width, height) > 0 and width * height > 0.5 * small**2
