"""The look loop: detection, tracking and the network, for all streams together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from streamprn.live.loop import Loop, LoopStatistics

if TYPE_CHECKING:
    from streamprn.channel import Channel
    from streamprn.engines.predict import Pending, Predictor, PredictTimes
    from streamprn.live.stream import Stream
    from streamprn.live.streams import Streams
    from streamprn.records import Face, Frame

__all__ = ["LookLoop", "Looked"]

#: Between two looks at a device that is at work while other streams may have a frame: it cannot
#: wake anybody.
DEVICE_POLL_S = 0.0002
#: How long another batch may be looked for while one is on a device.
BESIDE_S = 0.05


@dataclass(slots=True)
class Looked:
    """A frame whose faces are known, on its way to the finish loop."""

    stream: Stream
    frame: Frame
    faces: list[Face] = field(default_factory=list)
    tracked_ns: int = 0
    inferred_ns: int = 0
    spans_ns: dict[str, int] = field(default_factory=dict)


#: Frames with the streams that they are of.
Taken: TypeAlias = "list[tuple[Stream, Frame]]"


@dataclass(slots=True)
class _Round:
    """Frames of different streams whose faces are predicted together."""

    looked: list[Looked]
    counts: list[int]
    pending: Pending


class LookLoop(Loop):
    """Takes at most one waiting frame of every stream and predicts their faces as one batch.

    Where the predictor computes beside this thread, streams are taken a few at a time and in turn:
    their crops are cut, and what was predicted is read, while it computes others.

    Its inbox are the channels of the streams; what it has looked at goes to `outbox`, which it
    closes at its end.

    Args:
        streams: any number; they may come and go.
        predictor: of all streams.
        outbox: see `Looked`.
        batch_wait_s: longest wait for frames of other streams to join a batch.
    """

    def __init__(
        self,
        streams: Streams,
        predictor: Predictor,
        outbox: Channel[Looked],
        *,
        batch_wait_s: float,
    ) -> None:
        super().__init__("look")
        self._streams = streams
        self._predictor = predictor
        self._outbox = outbox
        self._batch_wait_s = batch_wait_s
        self._ready = streams.ready
        self._max_frames: int | None = None
        self._until_stopped = False
        self._stopping = False

    def limit(self, max_frames: int | None, *, until_stopped: bool) -> None:
        """Say when to end, before the start.

        Args:
            max_frames: after so many frames of all streams together.
            until_stopped: do not end when every stream has.
        """
        self._max_frames, self._until_stopped = max_frames, until_stopped

    def stop(self) -> None:
        """See `Loop.stop`; frames that are predicted now are given up."""
        self._stopping = True
        with self._ready:
            self._ready.notify_all()

    def statistics(self) -> LoopStatistics:
        """See `Loop.statistics`."""
        inboxes = [stream.channel.statistics() for stream in self._streams]
        return LoopStatistics(
            self._frames,
            self._turns,
            self._busy_ns,
            sum(one.waiting for one in inboxes),
            max((one.oldest_age_ns for one in inboxes), default=0),
        )

    def _end(self) -> None:
        self._outbox.close()

    def _work(self) -> None:
        rounds: deque[_Round] = deque()
        try:
            while not (self._stopping or self._has_looked_enough):
                frames = self._gather_beside(rounds) if rounds else self._gather()
                if not (frames or rounds):
                    return
                if not self._turn(frames, rounds):
                    return
            while rounds and not self._stopping:
                if not self._finish(rounds.popleft()):
                    return
        finally:
            for one in rounds:
                self._predictor.cancel(one.pending)

    def _turn(self, frames: Taken, rounds: deque[_Round]) -> bool:
        """Begin a round and finish another; False where nobody takes what was looked at."""
        began = time.monotonic_ns()
        if frames:
            rounds.append(self._begin(frames))
            self._frames += len(frames)
        goes_on = True
        if rounds and (not frames or len(rounds) >= self._predictor.in_flight):
            goes_on = self._finish(rounds.popleft())
        self._turns += 1
        self._busy_ns += time.monotonic_ns() - began
        return goes_on

    @property
    def _has_looked_enough(self) -> bool:
        return self._max_frames is not None and self._frames >= self._max_frames

    # --- frames that wait ---

    def _gather(self) -> Taken:
        """At most one frame of every stream, as soon as there is one; none at the end."""
        while not self._stopping:
            frames = self._take(self._streams)
            if frames:
                return frames + self._companions(frames)
            if self._streams.ended and not self._until_stopped:
                return []
            with self._ready:
                self._ready.wait_for(self._has_work)
        return []

    def _has_work(self) -> bool:
        ended = self._streams.ended and not self._until_stopped
        return self._stopping or ended or any(map(_has_frame, self._streams))

    def _companions(self, taken: Taken) -> Taken:
        """Frames of the other streams that arrive within `batch_wait_s`."""
        names = {id(stream) for stream, _ in taken}
        others = [stream for stream in self._streams if id(stream) not in names]
        room = self._round_size - len(taken)
        if not (others and self._batch_wait_s and room > 0):
            return []
        with self._ready:
            self._ready.wait_for(
                lambda: self._stopping or sum(map(_has_frame, others)) >= min(room, len(others)),
                self._batch_wait_s,
            )
        return self._take(others, room)

    def _gather_beside(self, rounds: Sequence[_Round]) -> Taken:
        """Frames of streams that are in no round, while the device is busy with others."""
        busy = {id(one.stream) for round_ in rounds for one in round_.looked}
        deadline = time.monotonic() + BESIDE_S
        while not self._stopping and time.monotonic() < deadline:
            others = [stream for stream in self._streams if id(stream) not in busy]
            frames = self._take(others)
            if not others or frames or self._predictor.is_done(rounds[0].pending):
                return frames
            with self._ready:
                self._ready.wait(DEVICE_POLL_S)
        return []

    def _take(self, streams: Iterable[Stream], room: int | None = None) -> Taken:
        """A waiting frame each of at most `room` streams; who waits longest for a turn is first."""
        room = self._round_size if room is None else room
        frames: Taken = []
        for stream in sorted(streams, key=lambda one: one.turn):
            if len(frames) == room:
                break
            if frame := stream.channel.take():
                stream.turn = self._turns
                frames.append((stream, frame))
        return frames

    @property
    def _round_size(self) -> int:
        """How many streams have a frame in one round at most: others are for the next."""
        streams, most = len(self._streams), self._predictor.frames_at_once
        if most is None:
            return streams
        return min(most, max(1, -(-streams // self._predictor.in_flight)))

    # --- a round ---

    def _begin(self, frames: Taken) -> _Round:
        """Choose where to look in one frame each of several streams, and begin to predict."""
        looked, views, counts = [], [], []
        for stream, frame in frames:
            began = time.monotonic_ns()
            found = stream.follower.views(frame.image)
            views += found
            counts.append(len(found))
            now = time.monotonic_ns()
            spans = {"wait": began - frame.decoded_ns, "track": now - began}
            looked.append(Looked(stream, frame, tracked_ns=now, spans_ns=spans))
        others_wait = any(map(_has_frame, self._streams))
        return _Round(looked, counts, self._predictor.begin(views, beside=others_wait))

    def _finish(self, round_: _Round) -> bool:
        """Follow the faces that were predicted, and pass the frames on; False at the end."""
        looked = round_.looked
        predictions, times = self._predictor.finish(round_.pending)
        first = 0
        for one, count in zip(looked, round_.counts, strict=True):
            part = predictions[first : first + count]
            frame = one.frame
            one.faces = one.stream.follower.faces(frame.image, part, frame.moment_ns)
            first += count
        now = time.monotonic_ns()
        for one in looked:
            one.inferred_ns = now
            _add_spans(one, times, len(looked))
            if not self._outbox.put(one):
                return False
        for one in looked:
            one.stream.follower.detect_further(one.frame.image)
            one.stream.note_full()
        return True


def _add_spans(one: Looked, times: PredictTimes, frames: int) -> None:
    """Each frame of a round bears an equal part of its time."""
    one.spans_ns["track"] += times.refine_ns // frames
    one.spans_ns |= {
        "decode": one.frame.decoded_ns - one.frame.captured_ns,
        "crop": times.crop_ns // frames,
        "network": times.network_ns // frames,
        **{f"device {name}": ns // frames for name, ns in times.device_ns.items()},
    }


def _has_frame(stream: Stream) -> bool:
    return len(stream.channel) > 0
