"""Pictures with the faces drawn in, for whoever looks; nothing is done while nobody does.

The finish loop hands over a frame now and then, after it was published. Drawing and encoding
happen in the server's threads, one picture at a time, so that they take one processor at most.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from streamprn.apps.overlays import draw_landmarks, draw_pose, label, pose_text
from streamprn.errors import FaceLostError
from streamprn.serve.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from streamprn.engines.topology import Topology
    from streamprn.records import Float32, FrameImage, FrameResult, Kind, Pose

__all__ = ["Preview", "Previews", "Shot", "Viewer", "draw"]

JPEG_QUALITY = 82
NS_PER_S = 1_000_000_000
_NOTHING_HIDDEN = np.ones(68, np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnFace:
    """What is drawn of a face; see `records.Face`."""

    id: int
    score: float
    box_xyxy: Float32
    landmarks: Float32
    pose: Pose
    topology: Topology
    visible_landmarks: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A frame and its faces.

    Attributes:
        seq: of the frame, in its stream.
        wall_ns: when it was taken.
        image: the frame.
        faces: found in it.
    """

    seq: int
    wall_ns: int
    image: FrameImage
    faces: tuple[DrawnFace, ...]


class Preview:
    """The newest picture of one stream that somebody looks at.

    Attributes:
        viewers: how many look.
    """

    def __init__(self, interval_ns: int) -> None:
        self.viewers = 0
        self._interval_ns = interval_ns
        self._due_ns = 0
        self._changed = threading.Condition()
        self._encoding = threading.Lock()
        self._shot: Shot | None = None
        self._jpegs: dict[bool, tuple[Shot, bytes]] = {}

    def is_due(self, now_ns: int) -> bool:
        """Whether another frame is wanted now."""
        if now_ns < self._due_ns:
            return False
        # On a grid of its own, so that a camera's pace does not halve that of the pictures.
        self._due_ns = max(self._due_ns + self._interval_ns, now_ns - self._interval_ns // 2)
        return True

    def offer(self, shot: Shot) -> None:
        """A new frame; the one before is let go."""
        with self._changed:
            self._shot = shot
            self._changed.notify_all()

    @property
    def shot(self) -> Shot | None:
        """The newest frame, None before the first."""
        return self._shot

    def shot_after(self, before: Shot | None, timeout_s: float) -> Shot | None:
        """The newest frame, once there is another one than `before`; None where none comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._shot is not before, timeout_s)
            return self._shot if self._shot is not before else None

    def jpeg(self, shot: Shot, *, overlay: bool) -> bytes:
        """The picture as JPEG; made once for all who look at the same frame."""
        with self._encoding:
            known = self._jpegs.get(overlay)
            if known is None or known[0] is not shot:
                known = self._jpegs[overlay] = shot, draw(shot, overlay=overlay)
            return known[1]


class Viewer:
    """One client that looks at a stream; a context manager."""

    def __init__(self, previews: Previews, stream: str) -> None:
        self._previews = previews
        self._stream = stream

    def __enter__(self) -> Preview:
        return self._previews.join(self._stream)

    def __exit__(self, *_: object) -> None:
        self._previews.leave(self._stream)


class Previews:
    """A sink that keeps the newest frame of every stream that somebody looks at.

    Args:
        topology: of the faces.
        fps: most frames a second of one stream.
        max_viewers: of all streams together.
    """

    #: What is drawn is computed in `take`, for the streams that are looked at alone.
    wanted: frozenset[Kind] = frozenset()

    def __init__(self, topology: Callable[[], Topology], fps: float, max_viewers: int) -> None:
        self._topology = topology
        self._interval_ns = round(NS_PER_S / fps)
        self._max_viewers = max_viewers
        self._lock = threading.Lock()
        self._previews: dict[str, Preview] = {}

    @property
    def viewers(self) -> int:
        """Of all streams."""
        with self._lock:
            return sum(preview.viewers for preview in self._previews.values())

    def viewer(self, stream: str) -> Viewer:
        """Somebody who looks at a stream, from entering it to leaving it."""
        return Viewer(self, stream)

    def join(self, stream: str) -> Preview:
        """Count one more viewer.

        Raises:
            ProblemError: there are as many as may be.
        """
        with self._lock:
            if sum(preview.viewers for preview in self._previews.values()) >= self._max_viewers:
                raise ProblemError(
                    "busy",
                    f"{self._max_viewers} viewers are served already",
                    "try again later, or raise http.max_viewers",
                )
            preview = self._previews.setdefault(stream, Preview(self._interval_ns))
            preview.viewers += 1
            return preview

    def leave(self, stream: str) -> None:
        """Count one viewer less; after the last one nothing is kept."""
        with self._lock:
            preview = self._previews[stream]
            preview.viewers -= 1
            if not preview.viewers:
                del self._previews[stream]

    def take(self, result: FrameResult, published_ns: int) -> None:
        """See `ResultSink`."""
        if not self._previews:
            return
        preview = self._previews.get(result.frame.stream)
        if preview is None or not preview.is_due(time.monotonic_ns()):
            return
        image = result.frame.image
        if image.device is not None:
            # The GPU belongs to the threads of the engine.
            _ = image.rgb
        topology = self._topology()
        try:
            faces = tuple(
                DrawnFace(
                    face.id,
                    face.score,
                    face.box_xyxy,
                    face.landmarks,
                    face.pose,
                    topology,
                    _NOTHING_HIDDEN,
                )
                for face in result.faces
            )
        except FaceLostError:
            return
        preview.offer(Shot(result.frame.seq, result.frame.wall_ns, image, faces))

    def close(self) -> None:
        """See `ResultSink`."""


def draw(shot: Shot, *, overlay: bool) -> bytes:
    """A frame as JPEG.

    Args:
        shot: the frame and its faces.
        overlay: draw landmarks, head and pose of every face.
    """
    canvas = shot.image.rgb
    if overlay and shot.faces:
        canvas = np.ascontiguousarray(canvas).copy()
        for face in shot.faces:
            draw_landmarks(canvas, face)
            draw_pose(canvas, face)
            x, y = float(face.box_xyxy[0]), float(face.box_xyxy[1]) - 6.0
            label(canvas, f"{face.id}: {pose_text(face)}", (x, max(y, 16.0)))
    bgr = np.ascontiguousarray(canvas[:, :, ::-1])
    done, data = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    if not done:
        raise RuntimeError(f"a picture of {shot.image.width}x{shot.image.height} px has no JPEG")
    return data.tobytes()
