from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamprn.channel import Mailbox
from streamprn.records import Frame, SourceState, SourceStatus
from streamprn.source import SourceReader, SourceSpec, parse_source
from tests.support.clips import ClipStore


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    return ClipStore(tmp_path_factory.mktemp("clips"))


class Player:
    """A reader, its mailbox and what it reported."""

    def __init__(self, spec: SourceSpec, capacity: int) -> None:
        self.ready = threading.Condition()
        self.mailbox = Mailbox(capacity, newest=spec.newest_only, ready=self.ready)
        self.reports: list[SourceStatus] = []
        self.reader = SourceReader(spec, self.mailbox, self.reports.append)
        self.started = time.monotonic()
        self.reader.start()

    def take(self, count: int = 10**9, timeout: float = 10.0) -> list[Frame]:
        """Take frames until `count`, the end of the source, or `timeout` seconds."""
        frames: list[Frame] = []
        end = time.monotonic() + timeout
        while len(frames) < count and time.monotonic() < end:
            with self.ready:
                closed = self.mailbox.closed
                frame = self.mailbox.take()
                if frame is None and not closed:
                    self.ready.wait(0.05)
            if frame is not None:
                frames.append(frame)
            elif closed:
                break
        return frames

    def wait_for(self, state: SourceState, timeout: float = 8.0) -> SourceStatus:
        """Wait until a state has been reported; return the first report of it."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for report in list(self.reports):
                if report.state is state:
                    return report
            time.sleep(0.005)
        raise AssertionError(f"never {state}: {self.reports}")

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

    def start(source: str | SourceSpec, *, capacity: int = 4, **options: Any) -> Player:
        spec = source if isinstance(source, SourceSpec) else parse_source(source, **options)
        players.append(Player(spec, capacity))
        return players[-1]

    yield start
    for player in players:
        player.stop()
