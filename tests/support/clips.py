"""The clips of `sample_clip` that tests use, each made once, and further motions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from streamprn.source.sample_clip import Clip, astronaut, draw, encode, make_clip, place, wander

__all__ = [
    "Clip",
    "ClipStore",
    "astronaut",
    "draw",
    "encode",
    "place",
    "remux",
    "transform_points",
]


def transform_points(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a `(2, 3)` transform to points `(N, 2)`."""
    return points @ transform[:, :2].T + transform[:, 2]


def remux(clip: Path, path: Path, **container: Any) -> Path:
    """Copy a clip's encoded video into another container, which is as `av.open` takes it."""
    with av.open(str(clip)) as source, av.open(str(path), "w", **container) as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
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
            return wander(t, width, height)

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
            self._made[key] = make_clip(
                self._path(key),
                motion,
                frames=frames,
                width=width,
                height=height,
                fps=fps,
                **encoding,
            )
        return self._made[key]
