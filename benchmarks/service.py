"""What the metrics cost: per frame in the finish loop, and per scrape beside it.

`python benchmarks/service.py` runs the sample clip, then counts its results again and again, and
compares the time with what a frame takes the engine.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from streamprn.config import Config
from streamprn.live.pipeline import Pipeline
from streamprn.records import FrameResult, Kind
from streamprn.serve.liveness import Liveness
from streamprn.serve.metrics import Metrics
from streamprn.serve.timings import Timings
from streamprn.source.sample_clip import make_clip

STREAMS = 20
ROUNDS = 20_000


class Keep:
    wanted = frozenset({Kind.FACE})

    def __init__(self) -> None:
        self.result: FrameResult | None = None

    def take(self, result: FrameResult, published_ns: int) -> None:
        self.result = result

    def close(self) -> None:
        pass


def main() -> None:
    keep, timings = Keep(), Timings()
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder) / "clip.mp4")
        source = {"uri": clip.uri, "realtime": False}
        config = Config.from_mapping(
            {"publish": {"bind": "tcp://127.0.0.1:*"}, "sources": [source]}
        )
        with Pipeline(config, sinks=[keep]) as pipeline:
            pipeline.run()
            loops = pipeline.statistics()
            frame_us = sum(loop.busy_ns for loop in loops.values()) / loops["look"].frames / 1e3
            assert keep.result is not None
            frames = [
                replace(keep.result, frame=replace(keep.result.frame, stream=f"cam{number}"))
                for number in range(STREAMS)
            ]
            now = time.monotonic_ns()
            took = []
            for _ in range(5):
                began = time.perf_counter()
                for number in range(ROUNDS):
                    timings.take(frames[number % STREAMS], now)
                took.append((time.perf_counter() - began) / ROUNDS * 1e6)
            metrics = Metrics(pipeline, timings, Liveness(pipeline), {"version": "0"})
            timings.keep = lambda names: None  # type: ignore[method-assign]
            scrapes = []
            for _ in range(20):
                began = time.perf_counter()
                text, _ = metrics.exposition("")
                scrapes.append((time.perf_counter() - began) * 1e3)
    take_us = statistics.median(took)
    print(f"a frame takes the engine      {frame_us:8.1f} us (one face, both loops)")
    print(f"counting its stages           {take_us:8.2f} us, {take_us / frame_us:.2%} of that")
    print(
        f"a scrape of {STREAMS} streams        {statistics.median(scrapes):8.1f} ms, "
        f"{len(text)} bytes"
    )


if __name__ == "__main__":
    main()
