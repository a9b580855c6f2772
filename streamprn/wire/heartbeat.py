"""What a publisher's heartbeats tell: the state of every stream, and that the publisher lives."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from streamprn.records import PUBLISHER, SourceState, SourceStatus
from streamprn.wire.encode import Pulse, encode_status

if TYPE_CHECKING:
    from streamprn.wire.encode import Parts

__all__ = ["HEARTBEAT_S", "Heartbeats"]

HEARTBEAT_S = 1.0


class Heartbeats:
    """The last state and frame of every stream, and of the publisher itself.

    Args:
        run: of the publisher.
        interval_s: between two heartbeats.
    """

    def __init__(self, run: str, interval_s: float) -> None:
        self._run = run
        self.interval_ns = round(interval_s * 1e9)
        self._statuses: dict[str, SourceStatus] = {}
        self._frames: dict[str, tuple[int, int]] = {}
        self._parts: dict[str, Parts] = {}
        self.note(SourceStatus(PUBLISHER, SourceState.LIVE))

    def __contains__(self, stream: str) -> bool:
        return stream in self._statuses

    def streams(self) -> list[str]:
        """All that have a state, the publisher first."""
        return list(self._statuses)

    def saw(self, stream: str, seq: int, captured_ns: int) -> None:
        """Note a frame that was published."""
        self._frames[stream] = seq, captured_ns

    def note(self, status: SourceStatus) -> None:
        """Note a state."""
        wall_ns = status.wall_ns or time.time_ns()
        self._statuses[status.stream] = replace(status, wall_ns=wall_ns)

    def end(self) -> None:
        """Note that the publisher is about to close."""
        self.note(SourceStatus(PUBLISHER, SourceState.ENDED))

    def forget(self, stream: str) -> None:
        """Let go of a stream."""
        for kept in (self._statuses, self._frames, self._parts):
            kept.pop(stream, None)

    def encode(self, stream: str, number: int) -> Parts:
        """The state of a stream as it stands now, as `status` message `number`."""
        now = time.monotonic_ns()
        seq, captured_ns = self._frames.get(stream, (None, now))
        names = self.streams()[1:] if stream == PUBLISHER else ()
        age_ns = None if seq is None else now - captured_ns
        pulse = Pulse(self.interval_ns, age_ns, seq, tuple(names))
        parts = encode_status(
            self._statuses[stream], number, now, time.time_ns(), run=self._run, pulse=pulse
        )
        self._parts[stream] = parts
        return parts

    def last(self, stream: str) -> Parts | None:
        """What was told of a stream last."""
        return self._parts.get(stream)
