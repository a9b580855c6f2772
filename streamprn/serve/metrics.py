"""What Prometheus reads: figures of streams, loops, publisher and process.

All but the histograms is read when somebody asks: a scrape costs the frames nothing.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from streamprn.records import SourceState
from streamprn.serve.timings import NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client.core import Metric

    from streamprn.live.pipeline import Pipeline
    from streamprn.live.stream import Stream
    from streamprn.serve.liveness import Liveness
    from streamprn.serve.timings import Timings

__all__ = ["Metrics"]

_STREAM = ["stream"]
_EOF = b"# EOF\n"
#: What the counters of the publisher count; see `PublishCounters`.
_PUBLISHED = {
    "messages": "Messages sent",
    "bytes": "Bytes of those messages",
    "overruns": "Times that a subscriber's queue was full, from when on it misses messages",
    "ignored": "Messages from subscribers that were no usable subscription",
}


class Metrics(Collector):
    """Everything under /metrics.

    Args:
        pipeline: entered.
        timings: one of its sinks.
        liveness: of the pipeline.
        about: labels of `streamprn_info`.
    """

    def __init__(
        self, pipeline: Pipeline, timings: Timings, liveness: Liveness, about: Mapping[str, str]
    ) -> None:
        self._pipeline = pipeline
        self._timings = timings
        self._liveness = liveness
        self._about = dict(about)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The page and its content type.

        Args:
            accept: the header of the request: Prometheus' own text, or OpenMetrics.
        """
        encode, content_type = choose_encoder(accept)
        page = encode(self._registry)
        head, end = (page[: -len(_EOF)], _EOF) if page.endswith(_EOF) else (page, b"")
        return head + self._histograms().encode() + end, content_type

    def describe(self) -> Iterable[Metric]:
        """Nothing before somebody asks; see `Collector`."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        streams = list(self._pipeline.streams)
        self._timings.keep([stream.name for stream in streams])
        yield from self._of_engine()
        yield from self._of_streams(streams)
        yield from self._of_loops()
        yield from self._of_publisher()
        yield from self._of_recordings()
        yield from self._of_time()

    def _of_engine(self) -> Iterable[Metric]:
        yield InfoMetricFamily("streamprn", "Version, engine and backend", self._about)
        alive = self._liveness.health == "alive"
        yield _gauge("alive", "1 while the engine is warm and its loops get on", alive)
        count = len(self._pipeline.streams)
        yield _gauge("streams", "Streams that there are", count)
        yield _gauge("threads", "Python threads of the process", threading.active_count())

    def _of_streams(self, streams: list[Stream]) -> Iterable[Metric]:
        frames = _counter("frames", "Frames published", _STREAM)
        faces = _counter("faces", "Faces published, added up over frames", _STREAM)
        dropped = _counter(
            "dropped_frames",
            "Frames left out: late (a newer one replaced it), max_fps (to keep that setting)",
            ["stream", "cause"],
        )
        corrupt = _counter("corrupt", "Frames or packets that could not be decoded", _STREAM)
        reconnects = _counter("reconnects", "Connections after a failure", _STREAM)
        state = _gauges("stream_state", "1 for the state that the source is in", "stream", "state")
        required = _gauges("stream_required", "1 where /readyz waits for the stream", "stream")
        for stream in streams:
            name, counters = [stream.name], stream.reader.counters
            frames.add_metric(name, stream.statistics.frames)
            faces.add_metric(name, stream.statistics.faces)
            dropped.add_metric([*name, "late"], counters.dropped)
            dropped.add_metric([*name, "max_fps"], counters.skipped)
            corrupt.add_metric(name, counters.corrupt)
            reconnects.add_metric(name, counters.reconnects)
            required.add_metric(name, stream.source.required)
            now = stream.reader.status.state
            for one in SourceState:
                state.add_metric([*name, str(one)], one is now)
        return frames, faces, dropped, corrupt, reconnects, state, required

    def _of_loops(self) -> Iterable[Metric]:
        frames = _counter("loop_frames", "Frames that went through a loop", ["loop"])
        turns = _counter("loop_turns", "Turns of a loop", ["loop"])
        busy = _counter("loop_busy_seconds", "Time that a loop was at work", ["loop"])
        waiting = _gauges("queue_frames", "Frames that wait for a loop", "loop")
        oldest = _gauges("queue_age_seconds", "How long the oldest of them has waited", "loop")
        for name, loop in self._pipeline.statistics().items():
            frames.add_metric([name], loop.frames)
            turns.add_metric([name], loop.turns)
            busy.add_metric([name], loop.busy_ns * NS)
            waiting.add_metric([name], loop.waiting)
            oldest.add_metric([name], loop.oldest_age_ns * NS)
        return frames, turns, busy, waiting, oldest

    def _of_publisher(self) -> Iterable[Metric]:
        counters = self._pipeline.publisher.counters
        for field in dataclasses.fields(counters):
            text = _PUBLISHED.get(field.name, f"PublishCounters.{field.name}")
            family = _counter(f"publish_{field.name}", text, [])
            family.add_metric([], getattr(counters, field.name))
            yield family

    def _of_recordings(self) -> Iterable[Metric]:
        """Nothing where nothing is recorded."""
        for recorder in self._pipeline.recorders:
            now = recorder.statistics()
            for name, text, value in (
                ("record_frames", "Frames written to recordings", now.frames),
                ("record_bytes", "Bytes of those frames", now.bytes),
                ("record_lost_frames", "Frames that are missing: disk full or too slow", now.lost),
                ("record_segments", "Files of recordings begun", now.segments),
                ("record_stops", "Times that recording had to stop", now.stops),
            ):
                family = _counter(name, text, [])
                family.add_metric([], value)
                yield family
            waiting = "Bytes that wait for the disk"
            yield _gauge("record_waiting_bytes", waiting, now.waiting_bytes)
            yield _gauge("recording", "1 while frames are written, 0 while not", not now.trouble)

    def _of_time(self) -> Iterable[Metric]:
        age = _gauges("last_frame_age_seconds", "Time since the last frame published", "stream")
        for name in self._timings.streams:
            age_s = self._timings.age_s(name)
            if age_s is not None:
                age.add_metric([name], age_s)
        yield age

    def _histograms(self) -> str:
        """All histograms as both formats write them.

        They are nine tenths of the page. The client's own encoder takes ten times as long for a
        line, and meanwhile holds the interpreter that frames need.
        """
        latency, stages = (
            _head("latency_seconds", "From capture to publication"),
            _head("stage_seconds", "Time of one stage"),
        )
        for name, timings in self._timings.streams.items():
            latency += timings.latency.lines("streamprn_latency_seconds", f'stream="{name}"')
            for stage, histogram in timings.stages.copy().items():
                labels = f'stream="{name}",stage="{stage}"'
                stages += histogram.lines("streamprn_stage_seconds", labels)
        return "".join((*latency, *stages))


def _head(name: str, text: str) -> list[str]:
    full = f"streamprn_{name}"
    return [f"# HELP {full} {text}\n# TYPE {full} histogram\n"]


def _counter(name: str, text: str, labels: list[str]) -> CounterMetricFamily:
    return CounterMetricFamily(f"streamprn_{name}", text, labels=labels)


def _gauges(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"streamprn_{name}", text, labels=labels)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"streamprn_{name}", text, value=value)
