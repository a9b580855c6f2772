"""What a stream sees of a hundred others that are added and removed beside it.

`python benchmarks/churn.py [--changes 100] [--rounds 3] [--json FILE]` runs one 640x480 stream at
30 frames/s alone, beside one other that stays, and beside others that come and go, in turn. It
prints the stream's latency from the moment a frame was due to its publication, and how long
`Streams.add` and `remove` took.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from streamprn.bench.machine import describe, in_words
from streamprn.config import Config, SourceConfig
from streamprn.live.pipeline import Pipeline
from streamprn.records import FrameResult, Kind
from streamprn.source.sample_clip import make_clip

PAUSE_S = 0.05
TITLES = {
    "alone": "a stream alone",
    "one stays": "beside one that stays",
    "they change": "beside some that come and go",
    "add": "Streams.add",
    "remove": "Streams.remove",
}


class Latencies:
    """A sink that notes the latencies of one stream, ms."""

    wanted = frozenset({Kind.FACE, Kind.MESH})

    def __init__(self) -> None:
        self.now: list[float] = []

    def take(self, result: FrameResult, published_ns: int) -> None:
        if result.frame.stream == "neighbour":
            self.now.append((published_ns - result.frame.captured_ns) / 1e6)

    def close(self) -> None:
        pass


def churn(pipeline: Pipeline, clip: str, changes: int) -> tuple[list[float], list[float]]:
    """Add and remove; how long each call took, ms."""
    added, removed = [], []
    for number in range(changes):
        source = SourceConfig(clip, name=f"guest{number}", loop=True)
        began = time.perf_counter()
        pipeline.streams.add(source)
        added.append(1e3 * (time.perf_counter() - began))
        time.sleep(PAUSE_S)
        began = time.perf_counter()
        pipeline.streams.remove(source.name or "")
        removed.append(1e3 * (time.perf_counter() - began))
        time.sleep(PAUSE_S)
    return added, removed


def measure(clip: str, changes: int, rounds: int) -> dict[str, list[float]]:
    sink, stop = Latencies(), threading.Event()
    config = Config.from_mapping({"publish": {"bind": "tcp://127.0.0.1:*"}})
    found: dict[str, list[float]] = {name: [] for name in TITLES}
    with Pipeline(config, sinks=[sink]) as pipeline:
        pipeline.streams.add(SourceConfig(clip, name="neighbour", loop=True))
        thread = threading.Thread(target=pipeline.run, args=(stop,))
        thread.start()
        churn(pipeline, clip, 3)
        time.sleep(2)
        for _ in range(rounds):
            sink.now = []
            time.sleep(2 * PAUSE_S * changes)
            found["alone"] += sink.now
            pipeline.streams.add(SourceConfig(clip, name="guest", loop=True))
            time.sleep(0.5)
            sink.now = []
            time.sleep(2 * PAUSE_S * changes)
            found["one stays"] += sink.now
            pipeline.streams.remove("guest")
            time.sleep(0.5)
            sink.now = []
            added, removed = churn(pipeline, clip, changes)
            found["they change"] += sink.now
            found["add"] += added
            found["remove"] += removed
        stop.set()
        thread.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder) / "face.mp4")
        found = measure(clip.uri, args.changes, args.rounds)
    print(in_words())
    print(f"{'ms':28s} {'p50':>7s} {'p99':>7s} {'max':>7s}")
    for key, title in TITLES.items():
        p50, p99, top = np.percentile(found[key], (50, 99, 100))
        print(f"{title:28s} {p50:7.2f} {p99:7.2f} {top:7.2f}")
    if args.json:
        args.json.write_text(json.dumps({"machine": describe(), "ms": found}, indent=1))


if __name__ == "__main__":
    main()
