"""The wiring: sources, detection, tracking, the engine, geometry, publication.

Threads: one per source (decoding), the caller's (detection, crops, engine), one for geometry and
publication. Between them stand bounded queues. A live source overwrites its waiting frame, a file
waits for room, so nothing grows when the machine is too slow.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from streamprn.channel import Mailbox
from streamprn.config import Config, SourceConfig
from streamprn.errors import BackendError, ConfigError
from streamprn.faces.detect import Cadence, CadencedFinder, Finder, KnownBoxes, TiledSearch
from streamprn.faces.follow import FollowedFace, observe
from streamprn.faces.geometry import FaceGeometry, Smoother, Smoothing
from streamprn.faces.predict import (
    DeviceRegressor,
    Looker,
    Pending,
    Regressor,
    RegressTimes,
    Sighting,
    View,
)
from streamprn.faces.track import FaceTracker, TrackRules
from streamprn.live.statistics import NS_PER_S, StreamStats, StreamSummary
from streamprn.records import (
    Frame,
    FrameImage,
    FrameResult,
    Kind,
    Roi,
    SourceState,
    SourceStatus,
    YuvPlanes,
)
from streamprn.source import SourceReader, SourceSpec, parse_source
from streamprn.wire.publish import CurveKeys, Publisher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence, Set

    from streamprn.engines.device.resident import ResidentEngine
    from streamprn.engines.protocol import Engine
    from streamprn.engines.topology import Topology
    from streamprn.faces.detect import Detector
    from streamprn.faces.track import Track

log = logging.getLogger("streamprn.live.pipeline")

#: Results that wait for geometry; more would only add latency.
HANDOVER_FRAMES = 4
POLL_S = 0.05
#: Between two looks at a device that is at work while other streams may have a frame.
DEVICE_POLL_S = 0.0002
STOP_TIMEOUT_S = 0.5
#: A run that ends by itself publishes what was looked at, however long that takes within reason.
DRAIN_TIMEOUT_S = 30.0
#: Kinds that need vertices, pose or more of every face.
GEOMETRY_KINDS = frozenset({Kind.FACE, Kind.MESH, Kind.DEPTH, Kind.TEXTURE, Kind.IMAGE})


class ResultSink(Protocol):
    """Somebody in the process who takes every result, besides the publisher."""

    #: Kinds to compute for it even when nobody subscribes.
    wanted: frozenset[Kind]

    def take(self, result: FrameResult, published_ns: int) -> None:
        """One published frame; called from the geometry thread, must be quick."""

    def close(self) -> None:
        """No more results will come."""


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


@dataclass(slots=True)
class _Stream:
    """What belongs to one stream."""

    spec: SourceSpec
    mailbox: Mailbox
    tracker: FaceTracker
    finder: Finder
    smoother: Smoother | None
    stats: StreamStats
    reader: SourceReader | None = None
    next_stats_ns: int = 0

    @property
    def drained(self) -> bool:
        return self.mailbox.closed and not len(self.mailbox)


@dataclass(slots=True)
class _Seen:
    """A frame on its way from the engine to geometry."""

    stream: _Stream
    frame: Frame
    faces: list[FollowedFace] = field(default_factory=list)
    searched: bool = False
    tracked_ns: int = 0
    inferred_ns: int = 0
    spans_ns: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Round:
    """Frames of different streams that are looked at together."""

    seen: list[_Seen]
    work: list[tuple[_Seen, Track]]
    looker: Looker
    pending: Pending


class Pipeline:
    """Runs a configuration: every source through one engine to one publisher.

    Args:
        config: what to run; see `config.yaml`.
        engine: to use instead of the configured one.
        detector: to use instead of the configured one.
        sinks: take every result inside the process (recorder, benchmark).

    Raises:
        StreamPRNError: a source, the engine or the address cannot be used.
    """

    def __init__(
        self,
        config: Config,
        *,
        engine: Engine | ResidentEngine | None = None,
        detector: Detector | None = None,
        sinks: Sequence[ResultSink] = (),
    ) -> None:
        if not config.sources:
            raise ConfigError("no source to read", hint="name one: streamprn run SOURCE")
        self._config = config
        self._detector = detector
        self._ready = threading.Condition()
        with contextlib.ExitStack() as opened:
            self._open(engine, sinks, opened)
            # From here on it is `run` that closes.
            opened.pop_all()
        # Room for a batch of all streams: else the engine waits for geometry with each one.
        room = max(HANDOVER_FRAMES, len(self._streams))
        self._handover: queue.Queue[_Seen | None] = queue.Queue(room)
        self._failure: BaseException | None = None
        self._gpu_failure: BackendError | None = None
        self._retired: list[Engine | ResidentEngine] = []
        self._on_event: Callable[[SourceStatus], None] | None = None
        self._looked = 0

    @property
    def endpoint(self) -> str:
        """Where subscribers connect, with the real port."""
        return self._publisher.endpoint

    @property
    def backend(self) -> str:
        """What runs the network."""
        return self._engine.backend

    @property
    def topology(self) -> Topology:
        """The meaning of the vertices."""
        return self._engine.topology

    def run(
        self,
        stop: threading.Event | None = None,
        *,
        max_frames: int | None = None,
        on_event: Callable[[SourceStatus], None] | None = None,
    ) -> Summary:
        """Run until every source has ended, `stop` is set, or `max_frames` were looked at.

        Runs once; closes everything before it returns.

        Args:
            stop: ends the run within a second.
            max_frames: of all streams together.
            on_event: told every change of a source's state, from the sources' threads.

        Raises:
            StreamPRNError: a stage failed for good.
        """
        stop = stop or threading.Event()
        self._on_event = on_event
        self._warm_up()
        began = time.monotonic()
        geometry = threading.Thread(target=self._run_geometry, name="geometry", daemon=True)
        geometry.start()
        try:
            for stream in self._streams:
                assert stream.reader is not None
                stream.reader.start()
            self._look_until(stop, max_frames)
        finally:
            self._close(geometry, stop)
        if self._failure is not None:
            raise self._failure
        return Summary(
            tuple(self._summary(stream) for stream in self._streams),
            self._publisher.endpoint,
            self._engine.backend,
            time.monotonic() - began,
        )

    def summaries(self) -> tuple[StreamSummary, ...]:
        """How every stream stands now; may be called from any thread while `run` runs."""
        return tuple(self._summary(stream) for stream in self._streams)

    # --- opening ---

    def _open(
        self,
        engine: Engine | ResidentEngine | None,
        sinks: Sequence[ResultSink],
        opened: contextlib.ExitStack,
    ) -> None:
        """Open all parts; `opened` closes those of them that are ours where a later one fails."""
        config = self._config
        specs = source_specs(config)
        self._engine = engine or open_configured_engine(config)
        if engine is None:
            opened.callback(self._engine.close)
        recorders = _open_recorder(config, self._engine)
        for recorder in recorders:
            opened.callback(recorder.close)
        self._sinks = [*sinks, *recorders]
        self._regressor = _open_regressor(config, self._engine)
        self._geometry = FaceGeometry(
            self._engine.topology,
            config.geometry.texture_size,
            quantised=config.publish.mesh_format == "int16",
        )
        self._publisher = self._open_publisher()
        opened.callback(self._publisher.close)
        self._streams = [
            self._open_stream(spec, source)
            for spec, source in zip(specs, config.sources, strict=True)
        ]

    def _open_publisher(self) -> Publisher:
        settings = self._config.publish
        keys = None
        if settings.curve_secret_file:
            from pathlib import Path

            keys = CurveKeys.load(Path(settings.curve_secret_file))
        return Publisher(
            settings.bind,
            topology=self._engine.topology,
            send_hwm=settings.send_hwm,
            mesh_format=settings.mesh_format,
            curve=keys,
        )

    def _open_stream(self, spec: SourceSpec, source: SourceConfig) -> _Stream:
        detect, track = self._config.detect, self._config.track
        capacity = 1 if spec.newest_only else self._config.pipeline.queue_frames
        mailbox = Mailbox(capacity, newest=spec.newest_only, ready=self._ready)
        rules = TrackRules(
            max_faces=max(detect.max_faces, len(source.boxes)),
            min_score=track.min_score,
            lost_frames=track.lost_frames,
            max_overlap=track.max_overlap,
        )
        stream = _Stream(
            spec=spec,
            mailbox=mailbox,
            tracker=FaceTracker(self._engine.crop, rules),
            finder=self._open_finder(source),
            smoother=_open_smoother(self._config),
            stats=StreamStats(spec.name),
        )
        stream.reader = SourceReader(spec, mailbox, self._on_status)
        return stream

    def _open_finder(self, source: SourceConfig) -> Finder:
        if source.boxes:
            return KnownBoxes(source.boxes)
        detect = self._config.detect
        if self._detector is None:
            self._detector = _open_detector(self._config)
        cadence = Cadence(detect.interval_frames, detect.idle_interval_frames, detect.min_score)
        quick = CadencedFinder(self._detector, cadence)
        if not detect.tiled:
            return quick
        return TiledSearch(
            quick,
            lambda: _open_detector(self._config),
            min_score=detect.min_score,
            interval_frames=detect.interval_frames,
        )

    def _warm_up(self) -> None:
        """Go once through everything that compiles or loads on first use, before a frame waits."""
        frame = _grey_frame()
        roi = Roi(32.0, 32.0, 48.0)
        from_planes, _ = self._regressor.regress([View(frame.image, roi)])
        if self._detector is not None:
            self._detector.detect(frame.image)
        self._regressor.regress([View(FrameImage.from_rgb(frame.image.rgb), roi)] * 2)
        smoother = _open_smoother(self._config)
        on_host = smoother is not None
        faces = [
            FollowedFace(1, 1.0, sighting).restored(on_host=on_host) for sighting in from_planes
        ]
        if smoother is not None:
            smoother.smooth(faces, 0)
        self._geometry.faces(frame, faces, frozenset(Kind))
        self._geometry.depth((64, 64), faces)

    # --- detection, tracking, engine: the caller's thread ---

    def _look_until(self, stop: threading.Event, max_frames: int | None) -> None:
        rounds: deque[_Round] = deque()
        try:
            while not (stop.is_set() or self._failure or self._has_looked_at(max_frames)):
                frames = self._gather(stop, rounds)
                if frames:
                    rounds.append(self._begin(frames))
                    self._looked += len(frames)
                elif not rounds and all(stream.drained for stream in self._streams):
                    return
                if rounds and (not frames or len(rounds) >= self._regressor.depth):
                    self._end(rounds.popleft(), stop)
            while rounds and not (stop.is_set() or self._failure):
                self._end(rounds.popleft(), stop)
        finally:
            for one in rounds:
                one.looker.drop(one.pending)

    def _has_looked_at(self, frames: int | None) -> bool:
        return frames is not None and self._looked >= frames

    def _gather(
        self, stop: threading.Event, rounds: Sequence[_Round]
    ) -> list[tuple[_Stream, Frame]]:
        """At most one waiting frame of every stream; waits a little while there is none."""
        if rounds:
            return self._gather_beside(rounds, stop)
        frames = _take(self._streams)
        if frames or stop.is_set():
            return frames
        with self._ready:
            if not any(len(stream.mailbox) for stream in self._streams):
                self._ready.wait(POLL_S)
        frames = _take(self._streams)
        patience = self._config.pipeline.max_batch_wait_ms / 1e3
        if frames and patience and len(frames) < len(self._streams):
            frames += self._wait_for_more({id(stream) for stream, _ in frames}, patience)
        return frames

    def _gather_beside(
        self, rounds: Sequence[_Round], stop: threading.Event
    ) -> list[tuple[_Stream, Frame]]:
        """Frames of streams of which none is looked at, while the device is busy with others."""
        busy = {id(one.stream) for round_ in rounds for one in round_.seen}
        others = [stream for stream in self._streams if id(stream) not in busy]
        oldest, deadline = rounds[0], time.monotonic() + POLL_S
        while others and not stop.is_set() and time.monotonic() < deadline:
            frames = _take(others)
            if frames or oldest.looker.is_done(oldest.pending):
                return frames
            with self._ready:
                self._ready.wait(DEVICE_POLL_S)
        return []

    def _wait_for_more(self, taken: set[int], patience: float) -> list[tuple[_Stream, Frame]]:
        """Frames of the other streams that arrive within `patience` seconds."""
        others = [stream for stream in self._streams if id(stream) not in taken]
        deadline = time.monotonic() + patience
        with self._ready:
            while not all(len(stream.mailbox) for stream in others):
                left = deadline - time.monotonic()
                if left <= 0 or not self._ready.wait(left):
                    break
        return _take(others)

    def _begin(self, frames: Sequence[tuple[_Stream, Frame]]) -> _Round:
        """Find the faces of one frame each of several streams, and let the engine look at them."""
        seen = [_Seen(stream, frame) for stream, frame in frames]
        for one in seen:
            began = time.monotonic_ns()
            one.searched = self._is_urgent(one)
            if one.searched:
                self._find(one)
            one.tracked_ns = time.monotonic_ns()
            one.spans_ns["wait"] = began - one.frame.decoded_ns
            one.spans_ns["track"] = one.tracked_ns - began
        work = [(one, track) for one in seen for track in one.stream.tracker.tracks]
        views = [View(one.frame.image, track.roi) for one, track in work]
        self._leave_failed_gpu()
        try:
            pending = self._regressor.begin(views)
        except BackendError as error:
            self._fall_back(error)
            pending = self._regressor.begin(views)
        return _Round(seen, work, self._regressor, pending)

    def _end(self, round_: _Round, stop: threading.Event) -> None:
        """Follow the faces that the engine saw, and pass them on."""
        seen = round_.seen
        sightings, times = self._sightings(round_)
        for (one, track), sighting in zip(round_.work, sightings, strict=True):
            image = one.frame.image
            size_wh = (image.width, image.height)
            one.faces += observe(one.stream.tracker, [(track, sighting)], size_wh)
        now = time.monotonic_ns()
        for one in seen:
            one.stream.tracker.settle()
            one.inferred_ns = now
            one.spans_ns["track"] += times.aim_ns // len(seen)
            one.spans_ns |= {
                "decode": one.frame.decoded_ns - one.frame.captured_ns,
                "crop": times.crop_ns // len(seen),
                "network": times.network_ns // len(seen),
                **{f"device {name}": ns // len(seen) for name, ns in times.device_ns.items()},
            }
            self._hand_over(one, stop)
        for one in seen:
            self._look_further(one)

    @staticmethod
    def _is_urgent(one: _Seen) -> bool:
        """Whether this frame shows nothing, or too little, without the detector."""
        tracker = one.stream.tracker
        return not tracker.tracks or tracker.uncertain

    def _look_further(self, one: _Seen) -> None:
        """Look for further faces once the followed ones are on their way to the subscribers."""
        if not one.searched:
            self._find(one)

    def _find(self, one: _Seen) -> None:
        tracker = one.stream.tracker
        detections = one.stream.finder.find(
            one.frame.image,
            tracked=len(tracker.tracks),
            uncertain=tracker.uncertain,
            full=tracker.full,
        )
        if detections is not None:
            tracker.see(detections)

    def _sightings(self, round_: _Round) -> tuple[list[Sighting], RegressTimes]:
        """What the engine saw; from a GPU that fails, go on on the CPU where the choice is ours."""
        self._leave_failed_gpu()
        if round_.looker is self._regressor:
            try:
                return round_.looker.finish(round_.pending)
            except BackendError as error:
                self._fall_back(error)
        else:
            round_.looker.drop(round_.pending)
        return self._regressor.regress(round_.pending.views)

    def _leave_failed_gpu(self) -> None:
        """Go over to the CPU if geometry met a failure of the GPU."""
        if self._gpu_failure is not None and self._on_gpu_by_choice:
            self._fall_back(self._gpu_failure)

    def _fall_back(self, failure: BackendError) -> None:
        """Go over to the CPU; raises the failure where the user has asked for the GPU."""
        if not self._on_gpu_by_choice:
            raise failure
        log.warning("the GPU failed, going on on the CPU: %s", failure)
        # Closed at the end: geometry may still be at work on what it gave.
        self._retired.append(self._engine)
        self._engine = open_cpu_engine(self._config)
        self._regressor = _open_regressor(self._config, self._engine)

    @property
    def _on_gpu_by_choice(self) -> bool:
        """Whether a GPU is used, and only because it seemed best."""
        from streamprn.engines.device.resident import ResidentEngine

        on_gpu = isinstance(self._engine, ResidentEngine) or self._engine.backend.startswith(
            "tensorrt"
        )
        return on_gpu and self._config.engine.backend == "auto"

    def _hand_over(self, seen: _Seen, stop: threading.Event) -> None:
        while not stop.is_set() and self._failure is None:
            with contextlib.suppress(queue.Full):
                self._handover.put(seen, timeout=POLL_S)
                return

    # --- geometry and publication: a thread of its own ---

    def _run_geometry(self) -> None:
        try:
            while (seen := self._handover.get()) is not None:
                self._finish_or_leave_out(seen)
        except BaseException as error:  # noqa: BLE001
            # Whatever ends this thread ends the run, with the same error.
            self._failure = error
            with self._ready:
                self._ready.notify_all()

    def _finish_or_leave_out(self, seen: _Seen) -> None:
        """Finish a frame; leave it out where its faces are on a GPU that has failed."""
        try:
            self._finish(seen)
        except BackendError as error:
            resident = any(face.sighting.resident is not None for face in seen.faces)
            if not resident or self._config.engine.backend != "auto":
                raise
            log.warning("%s: a frame is left out: %s", seen.frame.stream, error)
            self._gpu_failure = error

    def _finish(self, seen: _Seen) -> None:
        began = time.monotonic_ns()
        stream, frame = seen.stream, seen.frame
        wanted = self._wanted(frame.stream)
        smooth = stream.smoother is not None
        faces = []
        # Smoothing is done on the CPU, to every vertex, and goes on where nobody listens.
        if smooth or wanted & GEOMETRY_KINDS:
            faces = [face.restored(on_host=smooth) for face in seen.faces]
        restored = time.monotonic_ns()
        if stream.smoother is not None:
            faces = stream.smoother.smooth(faces, _moment_ns(frame))
        result = FrameResult(frame, (), seen.tracked_ns, seen.inferred_ns)
        if wanted & GEOMETRY_KINDS:
            result = replace(result, faces=self._geometry.faces(frame, faces, wanted))
        if Kind.DEPTH in wanted and self._config.geometry.depth:
            size_wh = (frame.image.width, frame.image.height)
            result = replace(result, depth=self._geometry.depth(size_wh, faces))
        done = time.monotonic_ns()
        spans = {
            **seen.spans_ns,
            "handover": began - seen.inferred_ns,
            "restore": restored - began,
            "geometry": done - restored,
        }
        result = replace(result, spans_ns=spans)
        published_ns = self._publisher.publish(result)
        stream.stats.add(frame.captured_ns, published_ns, len(seen.faces))
        spans["publish"] = time.monotonic_ns() - done
        for sink in self._sinks:
            sink.take(result, published_ns)
        self._publish_stats(stream, published_ns)

    def _wanted(self, stream: str) -> Set[Kind]:
        wanted = self._publisher.wanted(stream)
        for sink in self._sinks:
            wanted |= sink.wanted
        return wanted

    def _publish_stats(self, stream: _Stream, now_ns: int) -> None:
        if now_ns < stream.next_stats_ns:
            return
        stream.next_stats_ns = now_ns + round(self._config.publish.stats_interval_s * NS_PER_S)
        if Kind.STATS not in self._publisher.wanted(stream.spec.name):
            return
        self._publisher.publish_stats(stream.spec.name, self._stats(stream))

    def _stats(self, stream: _Stream) -> Mapping[str, float]:
        summary = self._summary(stream)
        return {
            "frames": summary.frames,
            "faces": summary.faces,
            "dropped": summary.dropped,
            "corrupt": summary.corrupt,
            "reconnects": summary.reconnects,
            "fps": stream.stats.recent_fps(),
            **{f"latency_{name}_ms": value for name, value in summary.latency_ms.items()},
        }

    # --- states, summary, end ---

    def _on_status(self, status: SourceStatus) -> None:
        level = logging.WARNING if status.state is SourceState.FAILED else logging.INFO
        log.log(level, "%s is %s%s", status.stream, status.state, _because(status.cause))
        self._publisher.publish_status(status)
        if self._on_event is not None:
            self._on_event(status)

    def _summary(self, stream: _Stream) -> StreamSummary:
        assert stream.reader is not None
        counters, status = stream.reader.counters, stream.reader.status
        return StreamSummary(
            stream=stream.spec.name,
            frames=stream.stats.frames,
            faces=stream.stats.faces,
            dropped=counters.dropped,
            corrupt=counters.corrupt,
            reconnects=counters.reconnects,
            fps=stream.stats.fps(),
            latency_ms=stream.stats.latency_ms(),
            state=f"{status.state}{_because(status.cause)}",
        )

    def _close(self, geometry: threading.Thread, stop: threading.Event) -> None:
        """End every thread, the sources first; what was looked at still gets published."""
        readers = [stream.reader for stream in self._streams if stream.reader is not None]
        for reader in readers:
            reader.stop(timeout=0)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for reader in readers:
            reader.stop(timeout=max(0.0, deadline - time.monotonic()))
        patience = time.monotonic() + (STOP_TIMEOUT_S if stop.is_set() else DRAIN_TIMEOUT_S)
        while geometry.is_alive() and time.monotonic() < patience:
            with contextlib.suppress(queue.Full):
                self._handover.put(None, timeout=POLL_S)
                break
        geometry.join(timeout=max(0.0, patience - time.monotonic()))
        for stream in self._streams:
            stream.finder.close()
        for sink in self._sinks:
            sink.close()
        self._publisher.close()
        for engine in (*self._retired, self._engine):
            engine.close()


def _take(streams: Sequence[_Stream]) -> list[tuple[_Stream, Frame]]:
    """The waiting frame of every stream that has one."""
    return [(stream, frame) for stream in streams if (frame := stream.mailbox.take())]


def _moment_ns(frame: Frame) -> int:
    """When the picture was taken, on the source's own time line where it has one."""
    return frame.captured_ns if frame.pts_ns is None else frame.pts_ns


def source_specs(config: Config) -> list[SourceSpec]:
    """The sources as their readers want them.

    Raises:
        InputError: an address or option cannot be used.
        SourceError: a file does not exist.
    """
    names = config.stream_names()
    return [
        parse_source(
            source.uri,
            name=name,
            loop=source.loop,
            realtime=source.realtime,
            drop=True if source.drop_late else None,
            max_fps=source.max_fps,
            rotate=source.rotate,
            crop_xywh=source.crop,
            rtsp_transport=source.rtsp_transport,
            open_timeout_s=source.open_timeout_s,
            stall_timeout_s=source.stall_timeout_s,
            backoff_initial_s=source.backoff_initial_s,
            backoff_max_s=source.backoff_max_s,
            backoff_refused_s=source.backoff_refused_s,
            image_fps=source.image_fps,
            threads=source.threads,
            hwaccel=source.hwaccel,
            options=source.options,
        )
        for name, source in zip(names, config.sources, strict=True)
    ]


def _grey_frame() -> Frame:
    half = np.full((32, 32), 128, np.uint8)
    planes = YuvPlanes(np.full((64, 64), 128, np.uint8), half, half)
    image = FrameImage(64, 64, lambda: np.full((64, 64, 3), 128, np.uint8), planes)
    return Frame("warm-up", 0, image, None, 0, 0, 0)


def _because(cause: str) -> str:
    return f": {cause}" if cause else ""


def open_configured_engine(config: Config) -> Engine | ResidentEngine:
    """The engine that a configuration runs, warm.

    All of it stays on the GPU where TensorRT is wanted and everything for that is here.

    Raises:
        EngineError: there is no such engine, or it is damaged.
        BackendError: no runtime can be used, or the one asked for cannot.
    """
    from streamprn.engines.device.resident import open_resident_engine
    from streamprn.engines.engine import open_engine

    settings = config.engine
    if settings.backend in ("auto", "tensorrt"):
        resident = open_resident_engine(
            settings.name,
            max_batch=settings.max_batch,
            precision=settings.precision,
            timed=settings.device_times,
            texture_size=config.geometry.texture_size,
        )
        if resident is not None:
            return resident
    engine = open_engine(
        settings.name,
        backend=settings.backend,
        threads=settings.threads,
        max_batch=settings.max_batch,
        precision=settings.precision,
    )
    engine.warm_up()
    return engine


def open_cpu_engine(config: Config) -> Engine:
    """The engine on a CPU runtime, warm.

    Raises:
        BackendError: there is none.
    """
    from streamprn.engines.engine import CPU_RUNTIMES, open_engine

    settings, refused = config.engine, []
    for backend in CPU_RUNTIMES:
        try:
            engine = open_engine(
                settings.name,
                backend=backend,
                threads=settings.threads,
                max_batch=settings.max_batch,
            )
            engine.warm_up()
        except BackendError as error:
            refused.append(f"{backend}: {error.what}")
            continue
        return engine
    raise BackendError(f"no CPU runtime can be used: {'; '.join(refused)}")


def _open_regressor(config: Config, engine: Engine | ResidentEngine) -> Looker:
    from streamprn.engines.device.resident import ResidentEngine

    threshold, min_score = config.track.recrop_threshold, config.track.min_score
    if isinstance(engine, ResidentEngine):
        chain = engine.chain
        return DeviceRegressor(chain, recrop_threshold=threshold, min_score=min_score)
    return Regressor(engine, recrop_threshold=threshold, min_score=min_score)


def _open_detector(config: Config) -> Detector:
    from streamprn.engines.detectors import open_detector

    # The detectors are small: they stay on the CPU where the engine runs on a GPU.
    on_onnxruntime = config.engine.backend == "onnxruntime"
    return open_detector(
        config.detect.kind,
        backend="onnxruntime" if on_onnxruntime else "openvino",
        threads=config.engine.threads,
    )


def _open_recorder(config: Config, engine: Engine | ResidentEngine) -> list[ResultSink]:
    settings = config.record
    if settings.dir is None:
        return []
    from pathlib import Path

    from streamprn.wire.record import Recorder

    kinds = [Kind(kind) for kind in settings.kinds]
    mesh_format = config.publish.mesh_format
    return [Recorder(Path(settings.dir), engine.topology, kinds, mesh_format)]


def _open_smoother(config: Config) -> Smoother | None:
    settings = config.track.smoothing
    if not settings.enabled:
        return None
    return Smoother(Smoothing(settings.min_cutoff_hz, settings.beta, settings.derivative_cutoff_hz))
