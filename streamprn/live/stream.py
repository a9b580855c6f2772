"""One stream of a pipeline: its reader, its channel, its faces and its figures."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from streamprn.channel import Channel
from streamprn.config.secrets import address_of
from streamprn.faces.detect import DetectionIntervals, IntervalDetection, KnownBoxes
from streamprn.faces.follow import Follower
from streamprn.faces.smooth import Smoother, Smoothing
from streamprn.faces.still import StillPicture
from streamprn.faces.track import TrackRules
from streamprn.live.statistics import StreamStatistics, StreamSummary
from streamprn.live.tiles import TiledDetection
from streamprn.records import SourceState, SourceStatus
from streamprn.source import SourceReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamprn.config import Config, SourceConfig
    from streamprn.config.address import Address
    from streamprn.engines.predict import Predictor
    from streamprn.faces.detect import DetectionSchedule, Detector
    from streamprn.records import Frame

__all__ = ["Stream", "StreamMaker"]

log = logging.getLogger("streamprn.live")


@dataclass(slots=True, eq=False)
class Stream:
    """What belongs to one stream.

    Attributes:
        name: the first part of its topics.
        source: its settings.
        channel: from its reader to the look loop.
        reader: runs from `Streams.add`, or from the start of the pipeline, on.
        follower: its faces; used by the look loop alone, but for `smooth`.
        statistics: what was published.
        lock: held while something is published of it.
        gone: nothing is to be published of it any more.
        next_stats_ns: when its statistics are due; used by the finish loop alone.
        turn: of the look loop, in which it last had a frame; used by that alone.
        told_dead: whether it was said to be dead and not yet to be live again.
        told_full: whether it was said to have as many faces as may be.
    """

    name: str
    source: SourceConfig
    channel: Channel[Frame]
    follower: Follower
    statistics: StreamStatistics
    reader: SourceReader
    lock: threading.Lock = field(default_factory=threading.Lock)
    gone: bool = False
    next_stats_ns: int = 0
    turn: int = 0
    told_dead: bool = False
    told_full: bool = False

    def stop(self) -> None:
        """Let its threads end; does not wait for them."""
        self.reader.stop(timeout=0)
        self.follower.detection.stop()

    def note_full(self) -> None:
        """Say once that further faces are not looked for; used by the look loop alone."""
        if not self.told_full and self.follower.full:
            self.told_full = True
            log.info(
                "%s shows as many faces as detect.max_faces allows; no further ones are looked for",
                self.name,
                extra={"stream": self.name},
            )

    def summary(self) -> StreamSummary:
        """How it stands now; may be called from any thread."""
        counters, status, seen = self.reader.counters, self.reader.status, self.statistics
        return StreamSummary(
            stream=self.name,
            frames=seen.frames,
            faces=seen.faces,
            dropped=counters.dropped,
            corrupt=counters.corrupt,
            reconnects=counters.reconnects,
            fps=seen.fps(),
            latency_ms=seen.latency_ms(),
            state=state_in_words(status),
            blank=counters.blank,
            asked=counters.asked,
            jumps=counters.jumps,
        )


def state_in_words(status: SourceStatus) -> str:
    """The state of a source, with its cause where it has one."""
    return f"{status.state}: {status.cause}" if status.cause else str(status.state)


def log_status(status: SourceStatus, stream: Stream | None = None) -> None:
    """Say where a source stands; that it died, or lives again, as a warning.

    Args:
        status: the news.
        stream: remembers what was said of it.
    """
    # Of a camera that stays away, the first attempt is news, not each one.
    first = status.state is SourceState.RECONNECTING and status.attempt <= 1
    dead = first or status.state is SourceState.FAILED
    again = status.state is SourceState.LIVE and stream is not None and stream.told_dead
    if stream is not None and (dead or again):
        stream.told_dead = dead
    words = state_in_words(status) + (" again" if again else "")
    level = logging.WARNING if dead or again else logging.INFO
    log.log(level, "%s is %s", status.stream, words, extra={"status": status})


class StreamMaker:
    """Makes streams that share a predictor and a detector.

    Args:
        config: of the pipeline; its `sources` do not matter here.
        predictor: of all streams.
        detector: of all streams; None for the configured one.
        ready: notified when a frame waits.
    """

    def __init__(
        self,
        config: Config,
        predictor: Predictor,
        detector: Detector | None,
        ready: threading.Condition,
    ) -> None:
        self.detector = detector or _open_detector(config)
        self._config = config
        self._predictor = predictor
        self._ready = ready

    def make(
        self,
        source: SourceConfig,
        address: Address,
        on_status: Callable[[Stream, SourceStatus], None],
        *,
        first_seq: int = 0,
        first_id: int = 1,
    ) -> Stream:
        """A stream whose reader is not started yet.

        Args:
            source: its settings.
            address: what its `uri` means, and its name.
            on_status: told every change of its state, from its reader's thread.
            first_seq: number of its first frame.
            first_id: of its first face.
        """
        newest = source.keeps_newest(address)
        capacity = 1 if newest else self._config.pipeline.queue_frames
        channel: Channel[Frame] = Channel(capacity, newest=newest, ready=self._ready)
        reader = SourceReader(
            source,
            address,
            channel,
            lambda status: on_status(stream, status),
            first_seq=first_seq,
        )
        follower = self._follower(source, first_id, live=address.live)
        name = address.name
        stream = Stream(name, source, channel, follower, StreamStatistics(name), reader)
        return stream

    def _follower(self, source: SourceConfig, first_id: int, *, live: bool) -> Follower:
        detect, track = self._config.detect, self._config.track
        rules = TrackRules(
            max_faces=max(detect.max_faces, len(source.boxes)),
            min_score=track.min_score,
            lost_frames=track.lost_frames,
            max_overlap=track.max_overlap,
            check_frames=track.check_frames,
            remember_s=track.remember_s,
            still_change=track.still_change,
        )
        detection = self._detection(source)
        return Follower(self._predictor, detection, rules, self.smoother(live=live), first_id)

    @property
    def begins_live(self) -> bool:
        """Whether one of the configured sources is a camera or a network stream."""
        return any(address_of(source).live for source in self._config.sources)

    @property
    def remembers(self) -> bool:
        """Whether faces are told apart by their looks."""
        return self._config.track.remember_s > 0

    @property
    def compares(self) -> bool:
        """Whether faces that stand still are kept."""
        return self._config.track.still_change > 0

    def smoother(self, *, live: bool) -> Smoother | None:
        """A new smoother where the settings ask for one, for a source that is `live` or not."""
        settings = self._config.track.smoothing
        if not (live if settings.enabled is None else settings.enabled):
            return None
        smoothing = Smoothing(settings.min_cutoff_hz, settings.beta, settings.derivative_cutoff_hz)
        return Smoother(smoothing, self._predictor.geometry)

    def _detection(self, source: SourceConfig) -> DetectionSchedule:
        if source.boxes:
            return KnownBoxes(source.boxes)
        detect = self._config.detect
        intervals = DetectionIntervals(
            detect.interval_frames,
            detect.idle_interval_frames,
            detect.min_score,
            detect.turned_passes,
        )
        still = StillPicture(self._config.track.still_change) if self.compares else None
        quick = IntervalDetection(self.detector, intervals, still)
        if not detect.tiled:
            return quick
        return TiledDetection(
            quick,
            partial(_open_detector, self._config),
            min_score=detect.min_score,
            interval_frames=detect.interval_frames,
        )


def _open_detector(config: Config) -> Detector:
    from streamprn.engines.detectors import open_detector

    # The detectors are small: they stay on the CPU where the engine runs on a GPU.
    on_onnxruntime = config.engine.backend == "onnxruntime"
    return open_detector(
        config.detect.kind,
        backend="onnxruntime" if on_onnxruntime else "openvino",
        threads=config.engine.threads,
    )
