from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamprn.channel import Channel
from streamprn.config import Address, SourceConfig, resolve
from streamprn.records import Frame, SourceState, SourceStatus
from streamprn.source import SourceReader
from tests.support.clips import ClipStore


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    return ClipStore(tmp_path_factory.mktemp("clips"))


class Player:
    """A reader, its channel and what it reported.

    Args:
        text: the source; read as fast as possible unless `realtime` is given.
        capacity: of the channel.
        address: in place of the text's own.
        first_seq: see `SourceReader`.
        start: whether to start the reader.
        **settings: of `SourceConfig`.
    """

    def __init__(
        self,
        text: str,
        capacity: int = 4,
        *,
        address: Address | None = None,
        first_seq: int = 0,
        start: bool = True,
        **settings: Any,
    ) -> None:
        config = SourceConfig(text, **{"realtime": False, **settings})
        address = address or resolve(text)
        self.ready = threading.Condition()
        newest = config.keeps_newest(address)
        self.channel: Channel[Frame] = Channel(capacity, newest=newest, ready=self.ready)
        self.reports: list[SourceStatus] = []
        self.reader = SourceReader(
            config, address, self.channel, self.reports.append, first_seq=first_seq
        )
        self.started = time.monotonic()
        if start:
            self.reader.start()

    def take(self, count: int = 10**9, timeout: float = 10.0) -> list[Frame]:
        """Take frames until `count`, the end of the source, or `timeout` seconds."""
        frames: list[Frame] = []
        end = time.monotonic() + timeout
        while len(frames) < count and time.monotonic() < end:
            with self.ready:
                closed = self.channel.closed
                frame = self.channel.take()
                if frame is None and not closed:
                    self.ready.wait(0.05)
            if frame is not None:
                frames.append(frame)
            elif closed:
                break
        return frames

    def wait_for(self, state: SourceState, timeout: float = 8.0) -> SourceStatus:
        """Wait until a state has been reported; return the first report of it."""
        return self._first(lambda report: report.state is state, str(state), timeout)

    def wait_for_cause(self, words: str, timeout: float = 8.0) -> SourceStatus:
        """Wait until a report has given a cause with these words; return the first that did."""
        return self._first(lambda report: words in report.cause, repr(words), timeout)

    def _first(
        self, wanted: Callable[[SourceStatus], bool], name: str, timeout: float
    ) -> SourceStatus:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for report in list(self.reports):
                if wanted(report):
                    return report
            time.sleep(0.005)
        raise AssertionError(f"never {name}: {self.reports}")

    @property
    def tries(self) -> int:
        """How often connecting has begun."""
        return self.states.count(SourceState.CONNECTING)

    @property
    def states(self) -> list[SourceState]:
        return [report.state for report in self.reports]

    def stop(self) -> float:
        """Stop; return the seconds that it took."""
        began = time.monotonic()
        assert self.reader.stop(1.0), "the reader's thread is stuck"
        return time.monotonic() - began


@pytest.fixture
def play() -> Iterator[Callable[..., Player]]:
    players: list[Player] = []

    def start(text: str, **options: Any) -> Player:
        players.append(Player(text, **options))
        return players[-1]

    yield start
    for player in players:
        player.stop()
