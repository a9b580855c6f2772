"""One measured run of the pipeline, with a subscriber in another process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from streamprn.config import Config
from streamprn.errors import StreamPRNError
from streamprn.live.pipeline import Pipeline
from streamprn.pixels import most_pixels
from streamprn.records import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from streamprn.live.pipeline import Summary
    from streamprn.records import FrameResult, SourceStatus

#: In the order of the way of the data. `wait` and `handover` are time spent in queues.
STAGES = (
    "decode",
    "wait",
    "track",
    "crop",
    "network",
    "handover",
    "restore",
    "geometry",
    "publish",
    "subscribe",
)
#: What a GPU says of its own stages stands under this and the stage's name.
DEVICE = "device "
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
NS_PER_MS = 1e6
MIB = 1 << 20
#: A run without a face, or far behind its pace, is given up after this and three times its length.
PATIENCE_S = 6.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        uri: the source, looped where it can be.
        streams: how many copies of it run at once.
        fps: pace of every stream; 0 for as fast as it goes.
        seconds: measured time.
        warmup_s: time before it that does not count.
        kinds: what the subscriber asks for.
        settings: further settings by dotted key.
    """

    uri: str
    streams: int = 1
    fps: float = 30.0
    seconds: float = 10.0
    warmup_s: float = 2.0
    kinds: tuple[Kind, ...] = (Kind.FACE, Kind.MESH)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def paced(self) -> bool:
        """Whether frames are due at fixed times."""
        return self.fps > 0

    def config(self) -> Config:
        """The settings of the run."""
        source = {"uri": self.uri, "realtime": self.paced, "loop": True}
        source["max_pixels"] = most_pixels()
        sources = [source | {"name": f"s{index}"} for index in range(self.streams)]
        if self.paced:
            sources = [one | {"max_fps": self.fps} for one in sources]
        config = Config.from_mapping({"sources": sources, "publish": {"bind": "tcp://127.0.0.1:*"}})
        return config.with_overrides(self.settings)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a run showed.

    Attributes:
        plan: what was measured.
        backend: the runtime in words.
        frames: published in the measured time.
        faces: found in them.
        seconds: from the first to the last of them.
        dropped: frames replaced by newer ones, in the whole run.
        gaps: messages that the subscriber missed, in the whole run.
        stages_ms: milliseconds of each stage, `(frames,)` each; where a GPU tells the time of its
            own stages, also those, of the frames in which it had work: parts of `network`.
        latency_ms: from the moment a frame was due (paced) or read to its publication.
        received_ms: from the same moment to the subscriber's having the message.
        cpu_cores: processor time over time of the pipeline's process, in cores.
        rss_mib: physical memory of the pipeline's process at the end.
        first_face_s: from opening the pipeline to its first published face.
    """

    plan: Plan
    backend: str
    frames: int
    faces: int
    seconds: float
    dropped: int
    gaps: int
    stages_ms: Mapping[str, NDArray[np.float64]]
    latency_ms: NDArray[np.float64]
    received_ms: NDArray[np.float64]
    cpu_cores: float
    rss_mib: float
    first_face_s: float

    @property
    def fps(self) -> float:
        """Frames a second over all streams."""
        return (self.frames - 1) / self.seconds if self.frames > 1 else 0.0

    @property
    def p99_ms(self) -> float:
        """99th percentile of `latency_ms`; infinite without frames."""
        return float(np.percentile(self.latency_ms, 99)) if self.latency_ms.size else float("inf")

    @property
    def held(self) -> bool:
        """Whether the pace was kept: nothing dropped, 98 of 100 due frames published."""
        due = self.plan.fps * self.plan.streams * self.plan.seconds
        return not self.plan.paced or (self.dropped == 0 and self.frames >= 0.98 * due)

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, for a file."""
        return {
            "streams": self.plan.streams,
            "pace_fps": self.plan.fps,
            "kinds": [kind.value for kind in self.plan.kinds],
            "backend": self.backend,
            "frames": self.frames,
            "faces": self.faces,
            "seconds": self.seconds,
            "fps": self.fps,
            "dropped": self.dropped,
            "gaps": self.gaps,
            "cpu_cores": self.cpu_cores,
            "rss_mib": self.rss_mib,
            "first_face_s": self.first_face_s,
            "held": self.held,
            "stages_ms": {name: percentiles(values) for name, values in self.stages_ms.items()},
            "latency_ms": percentiles(self.latency_ms),
            "received_ms": percentiles(self.received_ms),
        }


def percentiles(values: NDArray[np.float64]) -> dict[str, float]:
    """The figures of `PERCENTILES` by name; empty for no values."""
    if not values.size:
        return {}
    found = np.percentile(values, list(PERCENTILES.values()))
    return dict(zip(PERCENTILES, map(float, found), strict=True))


class _Collector:
    """A sink that notes times, and ends the run when the measured time is over."""

    def __init__(self, plan: Plan, stop: threading.Event) -> None:
        self.wanted: frozenset[Kind] = frozenset()
        self.rows: list[tuple[int, int, int, Mapping[str, int]]] = []
        self.first_face_ns = 0
        self.began_ns = 0
        self.cpu_s = 0.0
        self.rss_bytes = 0
        self._plan = plan
        self._stop = stop
        self._process = psutil.Process()
        self._cpu_began = 0.0

    def take(self, result: FrameResult, published_ns: int) -> None:
        """See `streamprn.live.finish.ResultSink`."""
        if not self.first_face_ns:
            if not result.faces:
                return
            self.first_face_ns = published_ns
        since = published_ns - self.first_face_ns
        if since < self._plan.warmup_s * 1e9:
            return
        if not self.began_ns:
            self.began_ns = published_ns
            self._cpu_began = self._cpu()
        if published_ns - self.began_ns >= self._plan.seconds * 1e9:
            if not self._stop.is_set():
                self.cpu_s = self._cpu() - self._cpu_began
                self.rss_bytes = self._process.memory_info().rss
                self._stop.set()
            return
        captured = result.frame.captured_ns
        self.rows.append((captured, published_ns, len(result.faces), result.spans_ns))

    def close(self) -> None:
        """Nothing to free."""

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system


def measure(plan: Plan) -> Measurement:
    """Run a plan.

    Raises:
        StreamPRNError: the source or the engine cannot be used, or no face was found in time.
    """
    stop = threading.Event()
    collector = _Collector(plan, stop)
    opened_ns = time.monotonic_ns()
    patience = threading.Timer(plan.warmup_s + 3 * plan.seconds + PATIENCE_S, stop.set)
    patience.daemon = True
    first = threading.Lock()

    def begin(_: SourceStatus) -> None:
        """Count from the first word of a source: an engine may take long to warm up."""
        if first.acquire(blocking=False):
            patience.start()

    try:
        with (
            Pipeline(plan.config(), sinks=[collector]) as pipeline,
            _Listener(pipeline.endpoint, plan.kinds) as listener,
        ):
            summary = pipeline.run(stop, on_event=begin)
    finally:
        patience.cancel()
    if not collector.rows:
        raise StreamPRNError(
            f"{plan.uri}: no face was published, nothing to measure",
            hint="give a clip with a face in it",
        )
    return _measurement(plan, collector, summary, listener.heard, opened_ns)


class _Listener:
    """The subscriber's process, from its first subscription to its report."""

    def __init__(self, endpoint: str, kinds: Sequence[Kind]) -> None:
        self.heard: dict[str, Any] = {}
        topics = [kind.value for kind in kinds]
        # One topic prefix a stream: every stream of a plan is called s<number>.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streamprn.bench.listener", endpoint, *_topics(topics)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def __enter__(self) -> _Listener:
        return self

    def __exit__(self, *exception: object) -> None:
        output, _ = self._process.communicate(timeout=30)
        self.heard = json.loads(output) if output else {}


def _topics(kinds: Sequence[str]) -> Iterator[str]:
    for index in range(64):
        for kind in kinds:
            yield f"s{index}/{kind}"


def _measurement(
    plan: Plan,
    collector: _Collector,
    summary: Summary,
    heard: Mapping[str, Any],
    opened_ns: int,
) -> Measurement:
    rows = collector.rows
    captured = np.array([row[0] for row in rows], np.int64)
    published = np.array([row[1] for row in rows], np.int64)
    first, last = int(published[0]), int(published[-1])
    arrivals = np.array(heard.get("messages", []), np.int64).reshape(-1, 3)
    arrivals = arrivals[(arrivals[:, 1] >= first) & (arrivals[:, 1] <= last)]
    stages = {
        name: np.array([row[3].get(name, 0) for row in rows], np.float64) / NS_PER_MS
        for name in STAGES
    }
    stages["subscribe"] = (arrivals[:, 2] - arrivals[:, 1]) / NS_PER_MS
    stages |= {
        name: np.array([row[3][name] for row in rows if name in row[3]], np.float64) / NS_PER_MS
        for name in dict.fromkeys(name for row in rows for name in row[3])
        if name.startswith(DEVICE)
    }
    return Measurement(
        plan=plan,
        backend=summary.backend,
        frames=len(rows),
        faces=sum(row[2] for row in rows),
        seconds=(last - first) / 1e9,
        dropped=sum(stream.dropped for stream in summary.streams),
        gaps=int(heard.get("gaps", 0)),
        stages_ms=stages,
        latency_ms=(published - captured) / NS_PER_MS,
        received_ms=(arrivals[:, 2] - arrivals[:, 0]) / NS_PER_MS,
        cpu_cores=collector.cpu_s / ((last - first) / 1e9) if last > first else 0.0,
        rss_mib=collector.rss_bytes / MIB,
        first_face_s=(collector.first_face_ns - opened_ns) / 1e9,
    )
