"""How long every stage took, counted frame by frame for /metrics."""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from streamprn.records import FrameResult, Kind

__all__ = ["Histogram", "StreamTimings", "Timings"]

#: Upper bounds of the buckets, seconds: finest where latencies of a frame lie.
LATENCY_BOUNDS_S = (
    0.002, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024, 0.033, 0.05, 0.066, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
)  # fmt: skip
#: Of a stage; few, since there are ten stages of every stream in each scrape.
STAGE_BOUNDS_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.033, 0.1, 0.5)
NS = 1e-9


class Histogram:
    """Counts durations by bucket. One thread observes; readers may see a frame's half of it.

    Args:
        bounds_s: upper bounds of the buckets, seconds, ascending.

    Attributes:
        counts: for each bound those at or below it and above the one before; last, those above all.
        sum_s: of all durations.
    """

    __slots__ = ("_bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self._bounds_s, seconds)] += 1
        self.sum_s += seconds

    def lines(self, name: str, labels: str) -> list[str]:
        """Its lines for Prometheus.

        Args:
            name: of the figure.
            labels: written out, without what needs to be escaped.
        """
        total, found = 0, []
        # One copy, so that the count is that of the buckets.
        for bound, count in zip((*self._bounds_s, "+Inf"), [*self.counts], strict=True):
            total += count
            found.append(f'{name}_bucket{{{labels},le="{bound}"}} {total}.0\n')
        found.append(f"{name}_count{{{labels}}} {total}.0\n")
        found.append(f"{name}_sum{{{labels}}} {self.sum_s!r}\n")
        return found


class StreamTimings:
    """Of one stream.

    Attributes:
        latency: from capture to publication.
        stages: by the name of the stage.
        published_ns: when the last frame was, monotonic.
    """

    __slots__ = ("latency", "published_ns", "stages")

    def __init__(self) -> None:
        self.latency = Histogram(LATENCY_BOUNDS_S)
        self.stages: dict[str, Histogram] = {}
        self.published_ns = 0


class Timings:
    """A sink that counts how long every stage of every frame took; costs some microseconds."""

    #: Nothing is computed for it.
    wanted: frozenset[Kind] = frozenset()

    def __init__(self) -> None:
        self._streams: dict[str, StreamTimings] = {}

    @property
    def streams(self) -> Mapping[str, StreamTimings]:
        """By name."""
        return self._streams.copy()

    def take(self, result: FrameResult, published_ns: int) -> None:
        """See `ResultSink`."""
        name = result.frame.stream
        timings = self._streams.get(name)
        if timings is None:
            timings = self._streams[name] = StreamTimings()
        timings.latency.observe((published_ns - result.frame.captured_ns) * NS)
        timings.published_ns = published_ns
        stages = timings.stages
        for stage, duration_ns in result.spans_ns.items():
            histogram = stages.get(stage)
            if histogram is None:
                histogram = stages[stage] = Histogram(STAGE_BOUNDS_S)
            histogram.observe(duration_ns * NS)

    def forget(self, stream: str) -> None:
        """See `StreamSink`."""
        self._streams.pop(stream, None)

    def close(self) -> None:
        """See `ResultSink`."""

    def age_s(self, stream: str) -> float | None:
        """How long ago a stream's last frame was published; None before the first."""
        timings = self._streams.get(stream)
        return None if timings is None else (time.monotonic_ns() - timings.published_ns) * NS

    def keep(self, names: Collection[str]) -> None:
        """Let go of streams that are no more."""
        for name in [name for name in self._streams if name not in names]:
            self._streams.pop(name, None)
