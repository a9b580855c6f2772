"""The finish loop: what subscribers asked for is computed and published."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from streamprn.errors import FaceLostError
from streamprn.live.loop import Loop, LoopStatistics
from streamprn.records import FRAME_KINDS, FrameResult, Kind

if TYPE_CHECKING:
    from streamprn.channel import Channel
    from streamprn.live.look import Looked
    from streamprn.live.stream import Stream
    from streamprn.records import Face
    from streamprn.wire.encode import MeshFormat
    from streamprn.wire.publish import Publisher

__all__ = ["FinishLoop", "ResultSink", "StreamSink"]

log = logging.getLogger("streamprn.live")

NS_PER_S = 1_000_000_000
#: Kinds whose header tells of the faces.
WITH_FACES = frozenset(FRAME_KINDS)
#: Kinds that take longer to compute and to send than the faces themselves.
BULKY = WITH_FACES - {Kind.FACE}


class ResultSink(Protocol):
    """Somebody in the process who takes every result, besides the publisher."""

    #: Kinds to compute for it even when nobody subscribes.
    wanted: frozenset[Kind]

    def take(self, result: FrameResult, published_ns: int) -> None:
        """One published frame; called from the finish loop, must be quick."""

    def close(self) -> None:
        """No more results will come."""


@runtime_checkable
class StreamSink(ResultSink, Protocol):
    """A sink that keeps something for each stream, and lets go of it."""

    def forget(self, stream: str) -> None:
        """A stream was removed; called from any thread, perhaps twice, and must be quick.

        One of the same name may come, or be there already.
        """


@dataclass(slots=True)
class _Part:
    """A frame that is not wholly published yet.

    Attributes:
        stream: of the frame.
        result: with the time spent on it so far.
        wanted: of it, when it came.
        published_ns: when something of it was last published, 0 where nothing was.
    """

    stream: Stream
    result: FrameResult
    wanted: Set[Kind]
    published_ns: int = 0

    def spent(self, span: str, began_ns: int) -> None:
        """Add what passed since then to a span."""
        before = self.result.spans_ns.get(span, 0)
        self.result = self.result.with_span(span, before + time.monotonic_ns() - began_ns)


class FinishLoop(Loop):
    """Computes what is wanted of each frame, publishes it, and passes it to the sinks.

    Faces go first. Meshes, textures, depth and pictures follow when the faces of all frames that
    wait are on their way: who wants nothing but faces does not feel what others want. Frames of
    one stream keep their order.

    Args:
        inbox: from the look loop.
        publisher: tells what is wanted.
        sinks: see `ResultSink`.
        mesh_format: in which form vertices are wanted.
        stats_interval_s: between two `stats` messages of a stream.
    """

    def __init__(
        self,
        inbox: Channel[Looked],
        publisher: Publisher,
        sinks: Sequence[ResultSink],
        *,
        mesh_format: MeshFormat,
        stats_interval_s: float,
    ) -> None:
        super().__init__("finish")
        self._mesh_format: MeshFormat = mesh_format
        self._inbox = inbox
        self._publisher = publisher
        self._sinks = tuple(sinks)
        self._stats_interval_ns = round(stats_interval_s * NS_PER_S)
        # The oldest first, one of each stream at most.
        self._parts: dict[Stream, _Part] = {}

    def stop(self) -> None:
        """See `Loop.stop`; frames in the inbox are finished before."""
        self._inbox.close()

    def statistics(self) -> LoopStatistics:
        """See `Loop.statistics`."""
        inbox = self._inbox.statistics()
        return LoopStatistics(
            self._frames, self._turns, self._busy_ns, inbox.waiting, inbox.oldest_age_ns
        )

    def wanted(self, stream: str) -> Set[Kind]:
        """What somebody wants of a stream now."""
        wanted = self._publisher.wanted(stream)
        for sink in self._sinks:
            wanted |= sink.wanted
        return wanted

    def forget(self, stream: str) -> None:
        """Tell those sinks that keep something for a stream that it was removed."""
        for sink in self._sinks:
            if isinstance(sink, StreamSink):
                sink.forget(stream)

    def _end(self) -> None:
        # The look loop must not wait for room that nobody makes.
        self._inbox.close()
        self._inbox.clear()
        self._parts.clear()

    def _work(self) -> None:
        while True:
            looked = self._inbox.take() if self._parts else self._inbox.receive()
            began = time.monotonic_ns()
            if looked is not None:
                self._complete(looked.stream)
                self._begin(looked)
                self._turns += 1
            elif self._parts:
                self._complete(next(iter(self._parts)))
            else:  # it is closed
                return
            self._busy_ns += time.monotonic_ns() - began

    def _begin(self, looked: Looked) -> None:
        """Publish the faces of a frame; what takes longer is left to do."""
        began_ns = time.monotonic_ns()
        stream, frame = looked.stream, looked.frame
        wanted = self.wanted(frame.stream)
        with _left_out_where_lost(stream):
            if wanted & WITH_FACES:
                for face in looked.faces:
                    _ = face.box_xyxy
            restored_ns = time.monotonic_ns()
            faces = looked.faces
            if wanted & WITH_FACES:
                faces = stream.follower.smooth(faces, frame.image, frame.moment_ns)
            spans = {
                **looked.spans_ns,
                "handover": began_ns - looked.inferred_ns,
                "restore": restored_ns - began_ns,
            }
            result = FrameResult(frame, tuple(faces), looked.tracked_ns, looked.inferred_ns, spans)
            part = _Part(stream, result, wanted)
            part.spent("geometry", restored_ns)
            if Kind.FACE in wanted:
                self._publish(part, wanted - BULKY, {Kind.FACE})
            self._parts[stream] = part
        if not wanted & BULKY:
            self._complete(stream)

    def _complete(self, stream: Stream) -> None:
        """Publish what is left of a stream's frame, if anything is, and let go of it."""
        part = self._parts.pop(stream, None)
        if part is None:
            return
        with _left_out_where_lost(stream):
            if not part.published_ns:
                self._publish(part, part.wanted, WITH_FACES)
            elif part.wanted & BULKY:
                self._publish(part, part.wanted, BULKY)
            if stream.gone:
                return
            result = part.result
            stream.statistics.add(result.frame.captured_ns, part.published_ns, len(result.faces))
            self._frames += 1
            self._pass_on(stream, result, part.published_ns)
            self._publish_stats(stream, part.published_ns)

    def _publish(self, part: _Part, wanted: Set[Kind], kinds: Set[Kind]) -> None:
        """Compute what is wanted, and publish these kinds."""
        began = time.monotonic_ns()
        compute(part.result, wanted, self._mesh_format)
        part.spent("geometry", began)
        began = time.monotonic_ns()
        with part.stream.lock:
            if part.stream.gone:
                return
            part.published_ns = self._publisher.publish(part.result, kinds)
        part.spent("publish", began)

    def _pass_on(self, stream: Stream, result: FrameResult, published_ns: int) -> None:
        for sink in self._sinks:
            sink.take(result, published_ns)
        if stream.gone:  # it was removed meanwhile, and the sinks were told too early
            self.forget(stream.name)

    def _publish_stats(self, stream: Stream, now_ns: int) -> None:
        if now_ns < stream.next_stats_ns:
            return
        stream.next_stats_ns = now_ns + self._stats_interval_ns
        if Kind.STATS in self._publisher.wanted(stream.name):
            with stream.lock:
                if not stream.gone:
                    self._publisher.publish_stats(stream.name, _stats(stream))


@contextlib.contextmanager
def _left_out_where_lost(stream: Stream) -> Iterator[None]:
    """A frame whose faces a GPU has lost is left out, and the stream goes on."""
    try:
        yield
    except FaceLostError as error:
        name = stream.name
        log.warning("%s: a frame is left out: %s", name, error, extra={"stream": name})


def compute(result: FrameResult, wanted: Set[Kind], mesh_format: MeshFormat = "float32") -> None:
    """Compute now what the kinds need of a result; it is kept there."""
    for face in result.faces:
        _compute_face(face, wanted, mesh_format)
        if wanted & WITH_FACES and result.frame.camera is not None:
            _ = face.metric_pose(result.frame.camera)
    if Kind.DEPTH in wanted:
        _ = result.depth
    if Kind.IMAGE in wanted:
        _ = result.frame.image.rgb


def _compute_face(face: Face, wanted: Set[Kind], mesh_format: MeshFormat) -> None:
    if wanted & WITH_FACES:
        _ = face.pose, face.landmarks
    if Kind.FACE in wanted:
        _ = face.visible
    if Kind.BLENDSHAPES in wanted and wanted & WITH_FACES:
        _ = face.blendshapes
    if Kind.GAZE in wanted and wanted & WITH_FACES:
        _ = face.gaze
    if Kind.MESH in wanted:
        _ = face.vertices if mesh_format == "float32" else face.quantised_vertices
    if Kind.TEXTURE in wanted:
        _ = face.texture


def _stats(stream: Stream) -> Mapping[str, float]:
    summary = stream.summary()
    return {
        "frames": summary.frames,
        "faces": summary.faces,
        "dropped": summary.dropped,
        "corrupt": summary.corrupt,
        "reconnects": summary.reconnects,
        "blank": summary.blank,
        "asked": summary.asked,
        "jumps": summary.jumps,
        "fps": stream.statistics.recent_fps(),
        **{f"latency_{name}_ms": value for name, value in summary.latency_ms.items()},
    }
