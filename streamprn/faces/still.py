"""What stands still is not looked at again: a region equal to its last one, within noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamprn.kernels import blocks

if TYPE_CHECKING:
    from collections.abc import Set

    import numpy as np
    from numpy.typing import NDArray

    from streamprn.engines.predict import Prediction
    from streamprn.faces.track import Track
    from streamprn.records import Face, FrameImage, Roi

__all__ = ["KeptFace", "StillFaces", "StillPicture"]

#: Fewer blocks tell too little of a face.
LEAST_BLOCKS = 6
#: Searches of a still, empty picture that are left out in a row.
MOST_PASSED = 14


@dataclass(frozen=True, slots=True)
class _Blocks:
    """A part of a frame: where its blocks begin, their sums, and the size of the frame."""

    x: int
    y: int
    sums: NDArray[np.int32]
    size_wh: tuple[int, int]

    def again(self, image: FrameImage) -> _Blocks | None:
        """The same part of another frame; None where it is of another size or kind."""
        plane = _luma(image)
        if plane is None or self.size_wh != (image.width, image.height):
            return None
        return replace(self, sums=blocks.sums(plane, self.x, self.y, self.sums.shape))

    def differs(self, other: _Blocks, change: float, least: float = 0.0) -> bool:
        """Whether a block of the same part of `other` differs by more than noise.

        Args:
            other: of another frame.
            change: part of the contrast that is noise.
            least: grey levels that are noise whatever the contrast.
        """
        largest, contrast = blocks.change(self.sums, other.sums)
        return largest > max(change * contrast, least * blocks.SIDE**2)


@dataclass(slots=True)
class KeptFace:
    """What the network made of a region, and the face once it was made."""

    prediction: Prediction
    part: _Blocks
    _face: Face | None = None

    def face(self, id: int, score: float) -> Face:
        """The face of a track: the same object as long as the track's id and score stay."""
        face = self._face
        if face is None or face.id != id or face.score != score:
            face = self._face = self.prediction.face(id=id, score=score)
        return face


class StillFaces:
    """The faces of one stream, kept while their regions stand still.

    A region stands still as long as no block of 8 x 8 pixels of its luma differs from the frame in
    which the network saw it by more than a part of the region's contrast, which is the standard
    deviation of all its blocks. Slow motion adds up, because the frame to compare with stays.
    Frames without planes in host memory are never still.

    Args:
        change: that part, above 0.
    """

    def __init__(self, change: float) -> None:
        self._change = change
        self._kept: dict[int, KeptFace] = {}
        self._now: dict[int, _Blocks] = {}

    def of(self, track: Track, image: FrameImage) -> KeptFace | None:
        """The face of a track where its region looks as it did; else None."""
        kept = self._kept.get(track.id)
        if kept is None or track.misses or track.roi != kept.prediction.look.roi:
            return None
        now = kept.part.again(image)
        if now is None:
            return None
        if kept.part.differs(now, self._change):
            self._now[track.id] = now
            return None
        return kept

    def keep(self, track: Track, image: FrameImage, prediction: Prediction) -> KeptFace | None:
        """Remember what was predicted of a followed face in a frame; None where it cannot be.

        Args:
            track: of the face, with its id; the same frame was given to `of`.
            image: the frame.
            prediction: of the track.
        """
        known, part = self._kept.pop(track.id, None), self._now.pop(track.id, None)
        if part is None or known is None or known.prediction.look.roi != prediction.look.roi:
            part = _blocks(image, prediction.look.roi)
        if part is None:
            return None
        kept = self._kept[track.id] = KeptFace(prediction, part)
        return kept

    def forget_all_but(self, ids: Set[int]) -> None:
        """Let go of the faces that are no longer followed."""
        for gone in self._kept.keys() - ids:
            del self._kept[gone]
            self._now.pop(gone, None)


class StillPicture:
    """A whole picture in which nobody was, for as long as it stands still.

    Args:
        change: as of `StillFaces`; where the picture has little contrast, 200 times as many grey
            levels count as noise: a face that comes is more.
    """

    def __init__(self, change: float) -> None:
        self._change = change
        self._empty: _Blocks | None = None
        self._passed = 0

    def is_known_empty(self, image: FrameImage) -> bool:
        """Whether a search would find nobody, as in the frame before; not for ever."""
        if self._empty is None or self._passed >= MOST_PASSED:
            return False
        now = self._empty.again(image)
        if now is None or self._empty.differs(now, self._change, 200 * self._change):
            return False
        self._passed += 1
        return True

    def note(self, image: FrameImage, *, empty: bool) -> None:
        """Remember a frame that was searched.

        Args:
            image: the frame.
            empty: whether nobody was found.
        """
        self._passed = 0
        self._empty = None
        plane = _luma(image) if empty else None
        if plane is not None:
            down, across = (side // blocks.SIDE for side in plane.shape)
            sums = blocks.sums(plane, 0, 0, (down, across))
            self._empty = _Blocks(0, 0, sums, (image.width, image.height))


def _blocks(image: FrameImage, roi: Roi) -> _Blocks | None:
    """The upright square around a region as far as it lies in the frame, in whole blocks."""
    plane = _luma(image)
    if plane is None or not roi.is_finite:
        return None
    height, width = plane.shape
    half = 0.5 * roi.side
    x, y = max(int(roi.cx - half), 0), max(int(roi.cy - half), 0)
    across = (min(int(roi.cx + half), width) - x) // blocks.SIDE
    down = (min(int(roi.cy + half), height) - y) // blocks.SIDE
    if min(across, down) < LEAST_BLOCKS:
        return None
    return _Blocks(x, y, blocks.sums(plane, x, y, (down, across)), (image.width, image.height))


def _luma(image: FrameImage) -> NDArray[np.uint8] | None:
    """Luma of a frame whose planes are in host memory."""
    return None if image.planes is None else image.planes.y
