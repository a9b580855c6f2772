"""Short clips of a real face whose motion is known exactly.

The public-domain picture of an astronaut (scikit-image) is warped into every frame by a 2x3
transform that is a function of the frame number; the transforms come back as the ground truth.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

FACE_CENTRE_XY = (224.0, 120.0)
"""The middle of the face in the astronaut picture, pixels."""
FACE_WIDTH = 110.0
"""Rough width of that face, pixels."""
BACKGROUND = (96, 100, 104)


@functools.cache
def astronaut() -> np.ndarray:
    """The picture, `(512, 512, 3)` uint8 RGB, read-only."""
    from skimage import data

    image = np.ascontiguousarray(data.astronaut())
    image.flags.writeable = False
    return image


def place(cx: float, cy: float, scale: float = 1.0, roll_deg: float = 0.0) -> np.ndarray:
    """The transform that puts the face at (cx, cy), enlarged by `scale`, turned by `roll_deg`.

    Returns `(2, 3)` float64: frame pixels from astronaut pixels. `roll_deg` is clockwise on the
    screen.
    """
    c = scale * math.cos(math.radians(roll_deg))
    s = scale * math.sin(math.radians(roll_deg))
    turn = np.array([[c, -s], [s, c]])
    shift = np.array([cx, cy]) - turn @ FACE_CENTRE_XY
    return np.column_stack([turn, shift])


def transform_points(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a `(2, 3)` transform to points `(N, 2)`."""
    return points @ transform[:, :2].T + transform[:, 2]


def draw(transforms: Iterable[np.ndarray], width: int, height: int) -> np.ndarray:
    """Draw the astronaut once for every transform, side by side, `(height, width, 3)` uint8 RGB.

    Several pictures share the frame: each has a strip of equal width to itself.
    """
    shown = list(transforms)
    frame = np.empty((height, width, 3), np.uint8)
    frame[:] = BACKGROUND
    for index, transform in enumerate(shown):
        left, right = (index * width // len(shown), (index + 1) * width // len(shown))
        picture = cv2.warpAffine(
            astronaut(), transform, (width, height), flags=cv2.INTER_LINEAR, borderValue=BACKGROUND
        )
        frame[:, left:right] = picture[:, left:right]
    return frame


@dataclass(frozen=True)
class Clip:
    """A clip on disk and the truth about it.

    Attributes:
        path: the video file.
        width: pixels.
        height: pixels.
        fps: frames per second.
        frames: number of frames.
        transforms: for each frame, one `(2, 3)` transform for each picture of the astronaut in
            it (frame pixels from astronaut pixels).
        present: for each frame, whether its faces lie inside the frame.
    """

    path: Path
    width: int
    height: int
    fps: int
    frames: int
    transforms: Sequence[Sequence[np.ndarray]]
    present: Sequence[bool] = field(default=())

    @property
    def uri(self) -> str:
        return str(self.path)

    def roll_deg(self, frame: int, face: int = 0) -> float:
        """Turn of a face in a frame relative to the picture, clockwise on the screen."""
        matrix = self.transforms[frame][face]
        return math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))


def encode(
    path: Path,
    images: Iterable[np.ndarray],
    *,
    fps: int = 30,
    gop: int = 15,
    b_frames: int = 0,
    crf: int = 18,
    rotation: int = 0,
) -> Path:
    """Encode RGB images `(H, W, 3)` as H.264 (`yuv420p`, BT.601, limited range).

    Args:
        path: the container; its suffix picks the format.
        images: equal in size, which must be even.
        fps: frames per second.
        gop: frames from one key frame to the next.
        b_frames: B-frames in a row at most.
        crf: quality; smaller is better.
        rotation: display matrix to write, degrees counter-clockwise.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.pix_fmt = "yuv420p"
        stream.options = {
            "preset": "veryfast",
            "crf": str(crf),
            "g": str(gop),
            "bf": str(b_frames),
            "threads": "1",
        }
        for index, image in enumerate(images):
            if index == 0:
                stream.height, stream.width = image.shape[:2]
                if rotation:
                    stream.set_display_rotation(rotation)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


class ClipStore:
    """Makes clips in a folder, each once; a test session needs one.

    Args:
        folder: where the files go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: dict[tuple[object, ...], Clip] = {}

    def moving(
        self, frames: int = 90, width: int = 640, height: int = 480, fps: int = 30, **encoding: int
    ) -> Clip:
        """One face that wanders, grows, shrinks and rolls by up to 20 degrees, smoothly."""

        def motion(t: int) -> list[np.ndarray]:
            phase = 2 * math.pi * t / 90.0
            unit = min(width / 640, height / 480)
            return [
                place(
                    width / 2 + 70 * unit * math.sin(phase),
                    height * 0.48 + 35 * unit * math.sin(2 * phase),
                    unit * (1.5 + 0.25 * math.sin(phase + 1.0)),
                    20.0 * math.sin(phase),
                )
            ]

        return self._clip("moving", motion, frames, width, height, fps, **encoding)

    def still(
        self, frames: int = 30, width: int = 640, height: int = 480, fps: int = 30, **encoding: int
    ) -> Clip:
        """One face that does not move."""
        unit = min(width / 640, height / 480)
        transform = place(width / 2, height * 0.48, 1.5 * unit)
        return self._clip("still", lambda _t: [transform], frames, width, height, fps, **encoding)

    def two_faces(self, frames: int = 60, fps: int = 30, **encoding: int) -> Clip:
        """Two faces, 640x480, left and right, that roll against each other."""

        def motion(t: int) -> list[np.ndarray]:
            phase = 2 * math.pi * t / 60.0
            return [
                place(160 + 10 * math.sin(phase), 230, 1.3, 10 * math.sin(phase)),
                place(480, 240 + 20 * math.sin(phase), 1.5, -10 * math.sin(phase)),
            ]

        return self._clip("two", motion, frames, 640, 480, fps, **encoding)

    def no_face(self, frames: int = 30, fps: int = 30, **encoding: int) -> Clip:
        """A cup of coffee that drifts, 640x480."""
        from skimage import data

        cup = np.ascontiguousarray(data.coffee())

        def images() -> Iterator[np.ndarray]:
            for t in range(frames):
                shift = np.array([[1.1, 0, -20 + t * 0.5], [0, 1.2, -10]])
                yield cv2.warpAffine(cup, shift, (640, 480), borderMode=cv2.BORDER_REPLICATE)

        key = ("no_face", frames, fps, *sorted(encoding.items()))
        if key not in self._made:
            path = encode(self._path(key), images(), fps=fps, **encoding)
            none: list[list[np.ndarray]] = [[] for _ in range(frames)]
            self._made[key] = Clip(path, 640, 480, fps, frames, none, [False] * frames)
        return self._made[key]

    def leaves_and_returns(self, frames: int = 120, fps: int = 30, **encoding: int) -> Clip:
        """A face that slides out of the frame to the right, stays away, and comes back.

        It is wholly inside for the first and the last fifth and wholly outside for the middle one.
        """

        def motion(t: int) -> list[np.ndarray]:
            u = t / (frames - 1)
            away = min(max(min(u - 0.2, 0.8 - u) / 0.2, 0.0), 1.0)
            return [place(320 + 700 * away, 230, 1.4)]

        return self._clip("leaves", motion, frames, 640, 480, fps, **encoding)

    def _path(self, key: tuple[object, ...]) -> Path:
        return self.folder / f"{key[0]}_{len(self._made)}.mp4"

    def _clip(
        self,
        name: str,
        motion: Callable[[int], list[np.ndarray]],
        frames: int,
        width: int,
        height: int,
        fps: int,
        **encoding: int,
    ) -> Clip:
        key = (name, frames, width, height, fps, *sorted(encoding.items()))
        if key not in self._made:
            transforms = [motion(t) for t in range(frames)]
            images = (draw(one, width, height) for one in transforms)
            path = encode(self._path(key), images, fps=fps, **encoding)
            present = [all(_inside(one, width, height) for one in each) for each in transforms]
            self._made[key] = Clip(path, width, height, fps, frames, transforms, present)
        return self._made[key]


def _inside(transform: np.ndarray, width: int, height: int) -> bool:
    half = FACE_WIDTH / 2 * math.hypot(transform[0, 0], transform[1, 0])
    x, y = transform_points(transform, np.array([FACE_CENTRE_XY]))[0]
    return bool(half < x < width - half and half < y < height - half)
