"""Whether a publisher lives, as its subscribers can tell."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from streamprn.records import PUBLISHER, SourceState

if TYPE_CHECKING:
    from streamprn.wire import StatusMessage

__all__ = ["Life", "Liveness", "SignsOfLife"]

_HEARTBEAT_NS = 1_000_000_000
_LONGEST_INTERVAL_NS = 3_600_000_000_000
_RUN_LENGTH = 64
_MOST_STREAMS = 4096


class Life(StrEnum):
    """Whether a publisher gives signs of life."""

    WAITING = "waiting"
    ALIVE = "alive"
    SILENT = "silent"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Liveness:
    """What is known of a publisher's life.

    Attributes:
        state: `waiting` until something came; `silent` where nothing came for two heartbeats;
            `ended` where it said so before it closed.
        silent_s: seconds since anything came, NaN where nothing did.
        run: of the publisher; another one after a restart. "" until it is known.
        restarts: how often `run` changed.
        heartbeat_s: the interval that the publisher promises.
    """

    state: Life
    silent_s: float
    run: str
    restarts: int
    heartbeat_s: float


class SignsOfLife:
    """What came of a publisher, and when.

    Behind a proxy every stream has the run of the worker that it comes from, and the heartbeats
    have that of the proxy.
    """

    def __init__(self) -> None:
        self._last_ns = 0
        self._runs: OrderedDict[str, str] = OrderedDict()
        self._run = ""
        self._restarts = 0
        self._interval_ns = _HEARTBEAT_NS
        self._ended = False

    @property
    def anything(self) -> bool:
        """Whether anything came so far."""
        return self._last_ns > 0

    def note(self, stream: str, run: str, now_ns: int) -> bool:
        """Note that a message of a stream came; whether what sends it has started again."""
        self._last_ns = now_ns
        self._ended = False
        run = run[:_RUN_LENGTH]
        before = self._runs.get(stream, "")
        if not run or run == before:
            return False
        self._runs[stream] = run
        if len(self._runs) > _MOST_STREAMS:
            self._runs.popitem(last=False)
        # A stream of the publisher's own run tells of its start as well as its heartbeat does.
        if stream == PUBLISHER or not self._run or before == self._run:
            self._restarts += self._run not in ("", run)
            self._run = run
        return before != ""

    def beat(self, message: StatusMessage, now_ns: int) -> None:
        """Note a heartbeat."""
        self._last_ns = now_ns
        self._ended = message.state is SourceState.ENDED
        if 0 < message.interval_ns <= _LONGEST_INTERVAL_NS:
            self._interval_ns = message.interval_ns

    def liveness(self, now_ns: int) -> Liveness:
        """What that means now."""
        silent_ns = now_ns - self._last_ns
        if not self._last_ns:
            state = Life.WAITING
        elif self._ended:
            state = Life.ENDED
        else:
            state = Life.SILENT if silent_ns > 2 * self._interval_ns else Life.ALIVE
        silent_s = silent_ns / 1e9 if self._last_ns else math.nan
        return Liveness(state, silent_s, self._run, self._restarts, self._interval_ns / 1e9)
