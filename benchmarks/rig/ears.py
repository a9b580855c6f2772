"""A subscriber that notes when what came: frames, latencies, gaps, states, signs of life."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from streamprn.records import SourceState
from streamprn.wire.liveness import Life
from streamprn.wire.messages import FaceMessage, Message, StatusMessage
from streamprn.wire.subscribe import Subscriber

_TICK_S = 0.02
#: A heartbeat that says so of the last frame says that no frames come.
_OLD_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Heard:
    """One frame: when it came and was captured (monotonic ns), its number, its faces."""

    received_ns: int
    captured_ns: int
    seq: int
    faces: int
    run: str


class Ears:
    """Listens in a thread of its own; a context manager.

    Args:
        endpoint: of the publisher.
        streams: to listen to.
    """

    def __init__(self, endpoint: str, streams: Sequence[str]) -> None:
        self._endpoint = endpoint
        self._topics = [f"{name}/{kind}" for name in streams for kind in ("face", "status")]
        self._frames: dict[str, list[Heard]] = defaultdict(list)
        self._bad: dict[str, list[int]] = defaultdict(list)
        self._not_alive: list[int] = []
        self._changed = threading.Condition()
        self._done = False
        self._thread = threading.Thread(target=self._listen, name="ears")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done = True
        self._thread.join()

    def _listen(self) -> None:
        with Subscriber(self._endpoint, self._topics, newest=False, receive_hwm=10_000) as heard:
            while not self._done:
                message = heard.receive(_TICK_S)
                with self._changed:
                    if message is not None:
                        self._note(message)
                    if heard.liveness().state is not Life.ALIVE:
                        self._not_alive.append(time.monotonic_ns())
                    self._changed.notify_all()

    def _note(self, message: Message) -> None:
        now = message.received_ns
        if isinstance(message, FaceMessage):
            found = Heard(
                now, message.stamps.captured, message.seq, len(message.faces), message.run
            )
            self._frames[message.stream].append(found)
        elif isinstance(message, StatusMessage):
            old = message.frame_age_ns is not None and message.frame_age_ns > _OLD_NS
            if message.state is not SourceState.LIVE or old:
                self._bad[message.stream].append(now)

    def forget(self) -> None:
        """Let go of all that was heard."""
        with self._changed:
            self._frames.clear()
            self._bad.clear()
            self._not_alive.clear()

    # --- questions --------------------------------------------------------------------------------

    def told_ns(self, stream: str, since_ns: int, until_s: float) -> int | None:
        """When a subscriber of states knew that something is wrong; None: not until then."""

        def told() -> int | None:
            with_trouble = [*self._bad[stream], *self._not_alive]
            return min((ns for ns in with_trouble if ns >= since_ns), default=None)

        return self._wait(told, until_s)

    def face_ns(self, stream: str, since_ns: int, until_s: float) -> int | None:
        """When the first frame with a face came that was captured since then."""

        def face() -> int | None:
            for frame in reversed(self._frames[stream]):
                if frame.captured_ns < since_ns:
                    break
                if frame.faces:
                    found.append(frame.received_ns)
            return min(found, default=None)

        found: list[int] = []
        return self._wait(face, until_s)

    def _wait(self, look: Callable[[], int | None], until_s: float) -> int | None:
        deadline = time.monotonic() + until_s
        with self._changed:
            while True:
                found = look()
                if found is not None or time.monotonic() >= deadline:
                    return found
                self._changed.wait(deadline - time.monotonic())

    def between(self, stream: str, from_ns: int, to_ns: int) -> list[Heard]:
        """The frames that came within a time."""
        with self._changed:
            frames = self._frames[stream]
            ends = [
                bisect_left(frames, ns, key=lambda one: one.received_ns) for ns in (from_ns, to_ns)
            ]
            return frames[ends[0] : ends[1]]


def latencies_ms(frames: Sequence[Heard]) -> list[float]:
    """From capture to receiving."""
    return [(one.received_ns - one.captured_ns) / 1e6 for one in frames]


def missing(frames: Sequence[Heard]) -> int:
    """Frames that never came, by their numbers."""
    lost = 0
    for before, after in pairwise(frames):
        if before.run == after.run:
            lost += max(0, after.seq - before.seq - 1)
    return lost
