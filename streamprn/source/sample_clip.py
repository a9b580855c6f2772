"""Short clips of a real face whose motion is known exactly: for the demo, the benchmark, the tests.

The public-domain picture of the astronaut Eileen Collins (NASA; shipped by scikit-image) is warped
into every frame by a 2x3 transform, and the transforms come back as the ground truth.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

#: The middle of the face in the picture and its rough width, pixels.
FACE_CENTRE_XY = (224.0, 120.0)
FACE_WIDTH = 110.0
BACKGROUND = (96, 100, 104)


@functools.cache
def astronaut() -> NDArray[np.uint8]:
    """The picture, `(512, 512, 3)` uint8 RGB, read-only.

    Raises:
        InputError: scikit-image is not installed.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise InputError(
            "the sample picture comes with scikit-image, which is not installed",
            hint="pip install scikit-image, or use a video of your own: streamprn run VIDEO",
        ) from error
    image = np.array(data.astronaut(), np.uint8)
    image.flags.writeable = False
    return image


def place(cx: float, cy: float, scale: float = 1.0, roll_deg: float = 0.0) -> NDArray[np.float64]:
    """The transform that puts the face at (cx, cy), enlarged by `scale`, turned by `roll_deg`.

    Returns:
        `(2, 3)` float64: frame pixels from picture pixels. `roll_deg` is clockwise on the screen.
    """
    c = scale * math.cos(math.radians(roll_deg))
    s = scale * math.sin(math.radians(roll_deg))
    turn = np.array([[c, -s], [s, c]])
    shift = np.array([cx, cy]) - turn @ FACE_CENTRE_XY
    return np.column_stack([turn, shift])


def draw(transforms: Iterable[NDArray[np.float64]], width: int, height: int) -> NDArray[np.uint8]:
    """Draw the picture once for every transform: `(height, width, 3)` uint8 RGB.

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
        transforms: for each frame, one `(2, 3)` transform for each picture in it (frame pixels
            from picture pixels).
        present: for each frame, whether its faces lie inside the frame.
    """

    path: Path
    width: int
    height: int
    fps: int
    frames: int
    transforms: Sequence[Sequence[NDArray[np.float64]]]
    present: Sequence[bool] = field(default=())

    @property
    def uri(self) -> str:
        """The path as text."""
        return str(self.path)

    def roll_deg(self, frame: int, face: int = 0) -> float:
        """Turn of a face in a frame relative to the picture, clockwise on the screen."""
        matrix = self.transforms[frame][face]
        return math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))


def encode(
    path: Path,
    images: Iterable[NDArray[np.uint8]],
    *,
    fps: int = 30,
    gop: int = 15,
    b_frames: int = 0,
    crf: int = 18,
    rotation: int = 0,
) -> Path:
    """Encode RGB images `(H, W, 3)` as H.264 (`yuv420p`, limited range).

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


def wander(t: int, width: int, height: int) -> list[NDArray[np.float64]]:
    """The motion of `make_clip` at frame t: one face that wanders, grows, shrinks and rolls.

    It returns to its start after 90 frames, so that the clip loops without a jump.
    """
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


def make_clip(
    path: Path,
    motion: Callable[[int], list[NDArray[np.float64]]] | None = None,
    *,
    frames: int = 90,
    width: int = 640,
    height: int = 480,
    fps: int = 30,
    **encoding: int,
) -> Clip:
    """Write a clip.

    Args:
        path: the file, ending in `.mp4`.
        motion: transforms of every face at a frame's number; `wander` by default.
        frames: how many.
        width: pixels, even.
        height: pixels, even.
        fps: frames per second.
        **encoding: see `encode`.
    """
    move = motion or (lambda t: wander(t, width, height))
    transforms = [move(t) for t in range(frames)]
    encode(path, (draw(one, width, height) for one in transforms), fps=fps, **encoding)
    present = [all(_inside(one, width, height) for one in each) for each in transforms]
    return Clip(path, width, height, fps, frames, transforms, present)


def _inside(transform: NDArray[np.float64], width: int, height: int) -> bool:
    half = FACE_WIDTH / 2 * math.hypot(transform[0, 0], transform[1, 0])
    x, y = transform @ (*FACE_CENTRE_XY, 1.0)
    return bool(half < x < width - half and half < y < height - half)
