"""Sources, the look loop, the finish loop and the publisher, opened and closed together."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from streamprn.channel import Channel
from streamprn.kernels.prepare import STEPS, Preparation
from streamprn.live import parts
from streamprn.live.finish import FinishLoop, ResultSink
from streamprn.live.look import Looked, LookLoop
from streamprn.live.statistics import StreamSummary, Summary
from streamprn.live.stream import StreamMaker
from streamprn.live.streams import Streams
from streamprn.live.warmup import warm_up

if TYPE_CHECKING:
    from streamprn.config import Config
    from streamprn.engines.predict import Predictor
    from streamprn.engines.protocol import Engine
    from streamprn.engines.topology import Topology
    from streamprn.faces.detect import Detector
    from streamprn.live.loop import LoopStatistics
    from streamprn.records import SourceStatus
    from streamprn.wire.publish import Publisher
    from streamprn.wire.record import Recorder

__all__ = ["Pipeline", "Summary"]
#: Frames that wait for the finish loop at the least; more would only add latency.
HANDOVER_FRAMES = 4
#: How long the finish loop may take for the frames in its inbox when a run is stopped.
STOP_TIMEOUT_S = 0.5
#: A run that ends by itself publishes what was looked at, however long that takes within reason.
DRAIN_TIMEOUT_S = 30.0
#: How soon an event that somebody else sets is seen.
WATCH_S = 0.05


class Pipeline:
    """Runs a configuration: every source through one engine to one publisher.

    A context manager: entering opens all parts, leaving closes them in reverse order.
        with Pipeline(config) as pipeline: pipeline.run(stop)

    Args:
        config: what to run; see `config.yaml`. It may name no source.
        engine: to use instead of the configured one; it is left open.
        detector: to use instead of the configured one.
        sinks: take every result inside the process (recorder, benchmark); closed with the rest.
        behind_proxy: its one subscriber is a proxy; see `Publisher`.
    """

    streams: Streams
    publisher: Publisher
    recorders: list[Recorder]

    def __init__(
        self,
        config: Config,
        *,
        engine: Engine | Predictor | None = None,
        detector: Detector | None = None,
        sinks: Sequence[ResultSink] = (),
        behind_proxy: bool = False,
    ) -> None:
        self._config, self._behind_proxy = config, behind_proxy
        self._engine, self._detector, self._sinks = engine, detector, list(sinks)
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Open all parts.

        Raises:
            StreamPRNError: a source, the engine or the address cannot be used.
        """
        with contextlib.ExitStack() as opened:
            self._open(opened)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    @property
    def endpoint(self) -> str:
        """Where subscribers connect, with the real port."""
        return self.publisher.endpoint

    @property
    def backend(self) -> str:
        """What runs the network."""
        return self._predictor.backend

    @property
    def topology(self) -> Topology:
        """The meaning of the vertices."""
        return self._predictor.topology

    @property
    def running(self) -> bool:
        """Whether frames are looked at: the engine is warm, and no loop has ended."""
        return hasattr(self, "_look") and self._look.running and self._finish.running

    def statistics(self) -> dict[str, LoopStatistics]:
        """What each loop has done, by its name; may be called from any thread."""
        return {"look": self._look.statistics(), "finish": self._finish.statistics()}

    def summaries(self) -> tuple[StreamSummary, ...]:
        """How every stream stands now; may be called from any thread."""
        return tuple(stream.summary() for stream in self.streams)

    def run(
        self,
        stop: threading.Event | None = None,
        *,
        max_frames: int | None = None,
        until_stopped: bool = False,
        on_event: Callable[[SourceStatus], None] | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Summary:
        """Run until every source has ended, `stop` is set, or `max_frames` were looked at.

        Runs once. While there is no stream it waits for one to be added.

        Args:
            stop: ends the run within a second.
            max_frames: of all streams together.
            until_stopped: go on when every source has ended.
            on_event: told every change of a source's state, from the sources' threads.
            on_progress: told what is made ready, in words, before the first frame.

        Raises:
            StreamPRNError: a stage failed for good.
        """
        if not hasattr(self, "streams"):
            raise RuntimeError("enter the pipeline first: `with Pipeline(config) as pipeline`")
        stop = stop or threading.Event()
        say = on_progress or (lambda _: None)
        wanted = {kind for name in self.streams.names for kind in self._finish.wanted(name)}
        mesh_format = self._config.publish.mesh_format
        warm_up(self._predictor, self._maker, wanted, mesh_format, self._beside, say)
        began = time.monotonic()
        self.streams.on_event = on_event
        self._look.limit(max_frames, until_stopped=until_stopped)
        try:
            for loop in (self._finish, self._look):
                loop.start()
            self.streams.start()
            while self._look.running and not stop.is_set():
                self._look.join(WATCH_S)
        finally:
            self._end(stopped=stop.is_set())
        for failure in (self._finish.failure, self._look.failure, self._predictor.failure):
            if failure is not None:
                raise failure
        return Summary(self.summaries(), self.endpoint, self.backend, time.monotonic() - began)

    def _open(self, opened: contextlib.ExitStack) -> None:
        """Open all parts; `opened` closes those that are ours."""
        config, ready, readers = self._config, threading.Condition(), parts.access(self._config)
        self._beside = opened.enter_context(Preparation(list(STEPS)))
        self._predictor = parts.predictor(config, self._engine, opened)
        self.recorders = parts.recorders(config, self._predictor.topology)
        sinks = (*self._sinks, *self.recorders)
        for sink in sinks:
            opened.callback(sink.close)
        self.publisher = parts.publisher(config, readers, self.topology, proxied=self._behind_proxy)
        opened.callback(self.publisher.close)
        self._maker = StreamMaker(config, self._predictor, self._detector, ready)
        self.streams = Streams(self._maker, self.publisher, ready)
        opened.callback(self.streams.close)
        for source, name in zip(config.sources, config.stream_names(), strict=True):
            self.streams.add(replace(source, name=name))
        handover: Channel[Looked] = Channel(max(HANDOVER_FRAMES, len(self.streams)))
        wait_s = config.pipeline.max_batch_wait_ms / 1e3
        self._look = LookLoop(self.streams, self._predictor, handover, batch_wait_s=wait_s)
        self._finish = FinishLoop(
            handover,
            self.publisher,
            sinks,
            mesh_format=config.publish.mesh_format,
            stats_interval_s=config.publish.stats_interval_s,
        )
        self.streams.on_removed = self._finish.forget

    def _end(self, *, stopped: bool) -> None:
        """End every thread, the sources first; what was looked at still gets published."""
        self.streams.stop()
        self._look.stop()
        if stopped:
            # A loop that waits for room would wait for one that may be slow.
            self._finish.stop()
        self._look.join(DRAIN_TIMEOUT_S)
        self._finish.stop()
        self._finish.join(STOP_TIMEOUT_S if stopped else DRAIN_TIMEOUT_S)
