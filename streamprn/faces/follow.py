"""Following the faces of one stream: frame and time in, faces out, in the caller's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamprn.engines.predict import View
from streamprn.faces.identity import Identities, Verdict
from streamprn.faces.still import StillFaces
from streamprn.faces.track import FaceTracker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamprn.engines.predict import Prediction, Predictor
    from streamprn.faces.detect import DetectionSchedule
    from streamprn.faces.smooth import Smoother
    from streamprn.faces.still import KeptFace
    from streamprn.faces.track import Track, TrackRules
    from streamprn.records import Face, FrameImage

__all__ = ["Follower"]


class Follower:
    """The faces of one stream, with stable ids.

    `follow` does everything for one frame. Who predicts for several streams at once takes the
    steps one by one: `views`, then the predictor, then `faces`, then `detect_further`.

    Args:
        predictor: may be shared by any number of followers.
        detection: see `DetectionSchedule`; owned by this follower.
        rules: see `TrackRules`.
        smoother: calms the vertices, or None.
        first_id: of the first face.
    """

    def __init__(
        self,
        predictor: Predictor,
        detection: DetectionSchedule,
        rules: TrackRules,
        smoother: Smoother | None = None,
        first_id: int = 1,
    ) -> None:
        self.smoother = smoother
        self.detection = detection
        self._predictor = predictor
        self._tracker = FaceTracker(predictor.crop, rules, first_id)
        self._identities = Identities(predictor, self._tracker) if rules.remember_s else None
        still = rules.still_change > 0 and predictor.may_keep_faces
        self._still = StillFaces(rules.still_change) if still else None
        self._looked_at: list[Track] = []
        # Of those the faces that need no look in this frame.
        self._kept: dict[int, KeptFace] = {}
        self._detected = False
        self._rules = rules
        self._since_search = rules.search_frames

    @property
    def next_id(self) -> int:
        """The id that the next new face gets."""
        return self._tracker.next_id

    @property
    def full(self) -> bool:
        """Whether as many faces are followed as the rules allow."""
        return self._tracker.full

    def follow(self, image: FrameImage, at_ns: int) -> list[Face]:
        """The faces of the next frame, in the order of their birth.

        Args:
            image: the frame.
            at_ns: when it was taken, on any time line that goes forward.

        Raises:
            BackendError: the runtime failed.
        """
        with self._predictor.lock:
            self._detect(image)
            predictions, _ = self._predictor.predict(self._views(image))
            faces = self.faces(image, predictions, at_ns)
        return self.smooth(faces, image, at_ns)

    def views(self, image: FrameImage) -> list[View]:
        """The regions of the next frame to predict.

        The detector sees the frame now only where nothing would come of it otherwise; else
        `detect_further` is the time for it.
        """
        tracker = self._tracker
        self._detected = not tracker.tracks or tracker.uncertain
        if self._detected:
            self._detect(image)
        return self._views(image)

    def _views(self, image: FrameImage) -> list[View]:
        self._looked_at = list(self._tracker.tracks)
        self._since_search += 1
        search = self._since_search > self._rules.search_frames
        if search and not all(track.confirmed for track in self._looked_at):
            self._since_search = 0
        self._kept = {
            index: kept
            for index, track in enumerate(self._looked_at)
            if self._still is not None
            and not self._is_due(track)
            and (kept := self._still.of(track, image)) is not None
        }
        return [
            self._view(image, track, search)
            for index, track in enumerate(self._looked_at)
            if index not in self._kept
        ]

    def _is_due(self, track: Track) -> bool:
        """Whether to look again; faces found together are not all checked in one frame."""
        return (track.frames + 7 * track.id) % self._rules.check_frames == 0

    def _view(self, image: FrameImage, track: Track, search: bool) -> View:
        return View(
            image,
            track.roi,
            check=track.check,
            check_again=self._is_due(track) or track.misses > 0,
            search=search and not track.confirmed,
        )

    def faces(self, image: FrameImage, predictions: Sequence[Prediction], at_ns: int) -> list[Face]:
        """The faces of the frame, not smoothed.

        Args:
            image: the frame.
            predictions: of its `views`, in their order.
            at_ns: when it was taken, on any time line that goes forward.
        """
        size_wh = (image.width, image.height)
        tracker, tracks, kept = self._tracker, self._looked_at, self._kept
        new = iter(predictions)
        predictions = [
            kept[index].prediction if index in kept else next(new) for index in range(len(tracks))
        ]
        verdicts = {}
        if self._identities is not None:
            verdicts = self._identities.judge(image, at_ns, tracks, predictions)
        faces = []
        for index, (track, one) in enumerate(zip(tracks, predictions, strict=True)):
            verdict = verdicts.get(index, Verdict.SHOWN)
            if verdict is Verdict.HIDDEN:
                tracker.miss(track)
            elif tracker.observe(
                track, one.score, one.next_roi, size_wh, one.check,
                confirm=verdict is not Verdict.UNKNOWN,
            ):  # fmt: skip
                faces.append(self._face(index, track, image, one))
        tracker.settle()
        if self._still is not None:
            self._still.forget_all_but({track.id for track in tracker.tracks})
        return sorted(faces, key=lambda face: face.id)

    def _face(self, index: int, track: Track, image: FrameImage, one: Prediction) -> Face:
        """The face of a track in this frame, the same object as before where it stands still."""
        kept = self._kept.get(index)
        if kept is None and self._still is not None:
            kept = self._still.keep(track, image, one)
        make = one.face if kept is None else kept.face
        return make(id=track.id, score=track.score)

    def smooth(self, faces: list[Face], image: FrameImage, at_ns: int) -> list[Face]:
        """The faces of a frame as its subscribers get them."""
        return faces if self.smoother is None else self.smoother.smooth(faces, image, at_ns)

    def detect_further(self, image: FrameImage) -> None:
        """Detect further faces, once the followed ones are on their way to the subscribers."""
        if not self._detected:
            self._detect(image)

    def _detect(self, image: FrameImage) -> None:
        tracker = self._tracker
        detections = self.detection.detect(
            image, tracked=len(tracker.tracks), uncertain=tracker.uncertain, full=tracker.full
        )
        if detections is not None:
            tracker.see(detections)

    def close(self) -> None:
        """End what its detection runs in the background."""
        self.detection.close()
