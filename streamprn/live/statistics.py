"""Counters and latencies of one stream, cheap enough for every frame."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW_FRAMES = 512
NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """What became of one stream.

    Attributes:
        stream: its name.
        frames: frames that went through the whole pipeline.
        faces: faces found in them, added up.
        dropped: frames that a newer one replaced before anybody looked.
        corrupt: frames or packets that could not be decoded.
        reconnects: connections after the first.
        fps: frames a second, over the whole run.
        latency_ms: percentiles `p50`, `p90`, `p99`, `max` from capture to publication, over the
            last 512 frames.
        state: the source's last state, with its cause.
        blank: packets without a picture, while the source waited for a key frame.
        asked: how often a key frame was asked for.
        jumps: time stamps that were not believed.
    """

    stream: str
    frames: int
    faces: int
    dropped: int
    corrupt: int
    reconnects: int
    fps: float
    latency_ms: Mapping[str, float]
    state: str
    blank: int = 0
    asked: int = 0
    jumps: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did."""

    streams: tuple[StreamSummary, ...]
    endpoint: str
    backend: str
    seconds: float

    @property
    def frames(self) -> int:
        """Frames of all streams that went through the whole pipeline."""
        return sum(stream.frames for stream in self.streams)


class StreamStatistics:
    """Collects what `StreamSummary` tells; one writer, any number of readers."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.frames = 0
        self.faces = 0
        self._latencies_ns: deque[int] = deque(maxlen=WINDOW_FRAMES)
        self._published_ns: deque[int] = deque(maxlen=WINDOW_FRAMES)
        self._first_ns = 0
        self._lock = threading.Lock()

    def add(self, captured_ns: int, published_ns: int, faces: int) -> None:
        """Count one published frame."""
        with self._lock:
            if not self.frames:
                self._first_ns = published_ns
            self.frames += 1
            self.faces += faces
            self._latencies_ns.append(published_ns - captured_ns)
            self._published_ns.append(published_ns)

    def latency_ms(self) -> dict[str, float]:
        """Percentiles over the last frames; empty before the first."""
        with self._lock:
            values = np.array(self._latencies_ns, np.float64) / NS_PER_MS
        if not values.size:
            return {}
        p50, p90, p99, top = np.percentile(values, (50, 90, 99, 100))
        return {"p50": float(p50), "p90": float(p90), "p99": float(p99), "max": float(top)}

    def fps(self) -> float:
        """Frames a second since the first frame."""
        with self._lock:
            if self.frames < 2:
                return 0.0
            return (self.frames - 1) * NS_PER_S / (self._published_ns[-1] - self._first_ns)

    def recent_fps(self) -> float:
        """Frames a second over the last two seconds."""
        now = time.monotonic_ns()
        with self._lock:
            recent = [at for at in self._published_ns if now - at <= 2 * NS_PER_S]
        if len(recent) < 2:
            return 0.0
        return (len(recent) - 1) * NS_PER_S / max(recent[-1] - recent[0], 1)
