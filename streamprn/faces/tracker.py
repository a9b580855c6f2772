"""Faces in frames of one's own: a notebook, OpenCV, a game."""

from __future__ import annotations

import math
import os
import threading
from typing import TYPE_CHECKING, Self

import numpy as np

from streamprn.config import EngineConfig
from streamprn.engines.detectors import open_detector
from streamprn.engines.failover import open_predictor
from streamprn.engines.predict import Predictor, RefineRule
from streamprn.errors import InputError
from streamprn.faces.detect import DetectionIntervals, IntervalDetection
from streamprn.faces.follow import Follower
from streamprn.faces.smooth import Smoother, Smoothing
from streamprn.faces.track import TrackRules
from streamprn.records import FrameImage

if TYPE_CHECKING:
    from streamprn.faces.detect import Detector
    from streamprn.records import Face, UInt8

__all__ = ["Tracker", "open_engine"]


def open_engine(
    name: str | os.PathLike[str] = "facemesh", *, backend: str = "auto", threads: int = 1
) -> Predictor:
    """Open an engine for any number of trackers.

    Args:
        name: a bundle's name or folder; see `streamprn engine list`.
        backend: "auto", "openvino", "onnxruntime" or "tensorrt".
        threads: CPU threads of the network.

    Returns:
        The engine; `close` frees it.

    Raises:
        ConfigError: a value is out of bounds.
        EngineError: there is no such engine, or it is damaged.
        BackendError: no runtime can be used, or the one asked for cannot.
    """
    settings = EngineConfig(name=os.fspath(name), backend=backend, threads=threads)  # type: ignore[arg-type]
    return open_predictor(settings, RefineRule())


class Tracker:
    """Follows the faces of one sequence of frames, in the caller's thread.

        with Tracker() as tracker:
            for rgb, time_s in frames:
                for face in tracker.process(rgb, time_s):
                    print(face.id, face.pose.yaw, face.landmarks[30])

    A tracker serves one thread at a time, and what it returns is asked in that thread. Several
    trackers may share one engine from several threads; their calls of it take turns.

    Args:
        engine: a bundle's name or folder, or what `open_engine` gave. An engine that the tracker
            has opened is closed with it, another one stays open.
        max_faces: the most faces followed.
        smoothing: True, or the settings of the filter, for calm vertices that come a little later;
            None for vertices as the network gives them.
        min_score: least score of a detection, and of a followed face.
        detect_every: look for further faces every so many frames while some are followed.
        detector: to use instead of the default one; for one tracker at a time.

    Raises:
        InputError: a value is out of bounds.
        EngineError: there is no such engine, or it is damaged.
        BackendError: no runtime can be used.
    """

    def __init__(
        self,
        engine: str | os.PathLike[str] | Predictor = "facemesh",
        *,
        max_faces: int = 4,
        smoothing: Smoothing | bool | None = None,
        min_score: float = 0.5,
        detect_every: int = 10,
        detector: Detector | None = None,
    ) -> None:
        _check(max_faces=max_faces, min_score=min_score, detect_every=detect_every)
        self._own = None if isinstance(engine, Predictor) else open_engine(engine)
        predictor = engine if isinstance(engine, Predictor) else self._own
        assert predictor is not None
        self.engine: Predictor = predictor
        intervals = DetectionIntervals(detect_every, min_score=min_score)
        settings = Smoothing() if smoothing is True else smoothing or None
        self._follower = Follower(
            predictor,
            IntervalDetection(detector or open_detector(), intervals),
            TrackRules(max_faces=max_faces, min_score=min_score),
            None if settings is None else Smoother(settings, predictor.geometry),
        )
        self._last_s = -math.inf
        self._busy = threading.Lock()

    def process(self, rgb: UInt8, time_s: float) -> list[Face]:
        """The faces of the next frame, in the order in which they were first seen.

        Args:
            rgb: `(H, W, 3)` uint8, RGB (OpenCV's pictures are BGR: `picture[:, :, ::-1]`). The
                faces may read it later: give each call an array that does not change.
            time_s: seconds on any time line; later than that of the frame before.

        Raises:
            InputError: the array is no RGB picture, or the time does not go forward.
            BackendError: the runtime failed.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
            raise InputError(
                f"a frame must be (H, W, 3) uint8, not {rgb.shape} {rgb.dtype}",
                hint="convert it: grey by np.dstack([grey] * 3), alpha by rgba[:, :, :3]",
            )
        if not time_s > self._last_s or not math.isfinite(time_s):
            raise InputError(
                f"time_s={time_s} is not later than {self._last_s}, the time of the frame before",
                hint="use a tracker for each sequence of frames",
            )
        if not self._busy.acquire(blocking=False):
            raise InputError(
                "this tracker is at work in another thread", hint="use one tracker for each thread"
            )
        try:
            self._last_s = time_s
            image = FrameImage.from_rgb(np.ascontiguousarray(rgb))
            return self._follower.follow(image, round(1e9 * time_s))
        finally:
            self._busy.release()

    def close(self) -> None:
        """Free an engine that this tracker has opened; a second call does nothing."""
        self._follower.close()
        if self._own is not None:
            self._own.close()
            self._own = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _check(*, max_faces: int, min_score: float, detect_every: int) -> None:
    if max_faces < 1:
        raise InputError(f"max_faces={max_faces} is not 1 or more")
    if detect_every < 1:
        raise InputError(f"detect_every={detect_every} is not 1 or more")
    if not 0 <= min_score <= 1:
        raise InputError(f"min_score={min_score} is not from 0 to 1")
