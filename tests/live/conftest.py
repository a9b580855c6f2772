"""One engine, one detector and one folder of clips for all pipeline tests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamprn.config import Config
from streamprn.engines.detectors import open_detector
from streamprn.engines.engine import open_engine
from streamprn.live.pipeline import Pipeline, Summary
from streamprn.records import FrameResult, Kind
from tests.support.clips import ClipStore


class Collector:
    """A sink that keeps every result."""

    def __init__(self, *kinds: Kind) -> None:
        self.wanted = frozenset(kinds)
        self.results: list[FrameResult] = []
        self.published_ns: list[int] = []
        self.closed = False

    def take(self, result: FrameResult, published_ns: int) -> None:
        self.results.append(result)
        self.published_ns.append(published_ns)

    def close(self) -> None:
        self.closed = True

    def of(self, stream: str) -> list[FrameResult]:
        return [result for result in self.results if result.frame.stream == stream]


@pytest.fixture(scope="session")
def engine() -> Any:
    opened = open_engine("facemesh")
    opened.warm_up()
    return opened


@pytest.fixture(scope="session")
def detector() -> Any:
    return open_detector("short")


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    return ClipStore(tmp_path_factory.mktemp("clips"))


Run = Callable[..., tuple[Summary, Collector]]


@pytest.fixture
def run(engine: Any, detector: Any) -> Run:
    """Run sources (mappings of `sources` in the configuration) as fast as they go."""

    def go(
        *sources: dict[str, Any],
        kinds: tuple[Kind, ...] = (Kind.FACE,),
        settings: dict[str, Any] | None = None,
        stop: threading.Event | None = None,
        max_frames: int | None = None,
        collector: Collector | None = None,
    ) -> tuple[Summary, Collector]:
        mapping = {
            "sources": [{"realtime": False, **source} for source in sources],
            "publish": {"bind": "tcp://127.0.0.1:*"},
        }
        config = Config.from_mapping(mapping).with_overrides(settings or {})
        collector = collector or Collector(*kinds)
        with Pipeline(config, engine=engine, detector=detector, sinks=[collector]) as pipeline:
            return pipeline.run(stop, max_frames=max_frames), collector

    return go
