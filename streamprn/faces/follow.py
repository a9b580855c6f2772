"""From what the engine saw to faces with a life: the step between a tracker and its regressor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamprn.records import NO_VERTICES, RestoredFace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamprn.faces.predict import Sighting
    from streamprn.faces.track import FaceTracker, Track


@dataclass(frozen=True, slots=True)
class FollowedFace:
    """A tracked face that the engine saw in this frame; its vertices are not made yet."""

    id: int
    score: float
    sighting: Sighting

    def restored(self, *, on_host: bool = True) -> RestoredFace:
        """The face with its vertices, which are made now.

        Args:
            on_host: whether the vertices of a face on a GPU shall be downloaded; if not, it stays
                `resident`.
        """
        sighting, resident = self.sighting, self.sighting.resident
        if resident is not None and not on_host:
            box_xyxy, roi = resident.box_xyxy, sighting.roi
            return RestoredFace(self.id, self.score, roi, NO_VERTICES, box_xyxy, resident)
        vertices, box_xyxy = sighting.restore()
        return RestoredFace(self.id, self.score, sighting.roi, vertices, box_xyxy)


def observe(
    tracker: FaceTracker,
    seen: Iterable[tuple[Track, Sighting]],
    frame_size_wh: tuple[int, int],
) -> list[FollowedFace]:
    """Tell a tracker what was seen of its tracks in one frame.

    Args:
        tracker: of the stream; `settle` it once all its tracks were observed.
        seen: its tracks, each with what the engine saw of it.
        frame_size_wh: width and height of the frame.

    Returns:
        Those that are faces.
    """
    return [
        FollowedFace(track.id, track.score, sighting)
        for track, sighting in seen
        if tracker.observe(track, sighting.score, sighting.next_roi, frame_size_wh)
    ]
