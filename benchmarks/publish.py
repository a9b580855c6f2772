"""Publish-to-subscriber latency in two processes over loopback TCP.

Each message is stamped when `Publisher.publish` is entered and again when `Subscriber.receive` has
returned the decoded record, so encoding, sending, the network, receiving and decoding all count.
Messages leave at fixed times; a late one does not delay those after it. The publisher computes
nothing else, unless --busy adds a thread that holds the interpreter lock most of the time.

    python benchmarks/publish.py
    python benchmarks/publish.py --kinds mesh --rates 30 --seconds 10 --mesh-format int16
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import product

import numpy as np
import zmq

from streamprn.publish import Publisher
from streamprn.records import FaceResult, Frame, FrameImage, FrameResult, Kind, Pose, Roi
from streamprn.subscribe import Subscriber

VERTICES = 55_792


def make_result(vertices: int = VERTICES) -> FrameResult:
    """One frame of 640x480 with one face of random vertices."""
    rng = np.random.default_rng(0)
    now = time.monotonic_ns()
    image = FrameImage.from_rgb(np.zeros((480, 640, 3), np.uint8))
    face = FaceResult(
        id=1,
        score=0.99,
        box_xyxy=np.array([200, 100, 420, 380], np.float32),
        roi=Roi(310, 240, 400, 0.1),
        vertices=rng.uniform(0, 300, (vertices, 3)).astype(np.float32),
        landmarks=rng.uniform(0, 300, (68, 3)).astype(np.float32),
        pose=Pose(np.eye(3), 1.0, np.zeros(3), 0.0, 0.0, 0.0, np.array([1.0, 0.0, 0.0, 0.0])),
    )
    frame = Frame("bench", 0, image, 0, now, now, time.time_ns())
    return FrameResult(frame, (face,), now, now)


def subscribe(endpoint: str, kind: str, count: int) -> None:
    """The other process: print the latencies in nanoseconds as JSON."""
    latencies: list[int] = []
    with Subscriber(endpoint, f"bench/{kind}", newest=False) as subscriber:
        while len(latencies) + subscriber.gaps < count:
            message = subscriber.receive(timeout_s=5.0)
            if message is None:
                break
            latencies.append(time.monotonic_ns() - message.stamps.published)
        print(json.dumps({"latencies": latencies, "gaps": subscriber.gaps}))


def measure(
    kind: str, rate: float, seconds: float, options: argparse.Namespace
) -> dict[str, float]:
    """One run: publish at a rate, return percentiles in milliseconds."""
    warm_up = max(10, int(rate // 5))
    count = int(rate * seconds) + warm_up
    with Publisher("tcp://127.0.0.1:*", mesh_format=options.mesh_format) as publisher:
        command = [sys.executable, __file__, "--subscribe", publisher.endpoint]
        command += ["--kinds", kind, "--count", str(count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
            while Kind(kind) not in publisher.wanted("bench"):
                time.sleep(0.01)
            cost = _publish_all(publisher, rate, count)
            assert reader.stdout is not None
            report = json.loads(reader.stdout.read())
    steady = np.array(report["latencies"][warm_up:]) / 1e6
    p50, p90, p99, worst = np.percentile(steady, [50, 90, 99, 100])
    return {
        "kind": kind,
        "rate_hz": rate,
        "messages": steady.size,
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
        "max_ms": worst,
        "publish_call_p50_ms": float(np.median(cost)) / 1e6,
        "gaps": report["gaps"],
    }


def _publish_all(publisher: Publisher, rate: float, count: int) -> list[int]:
    result = make_result()
    cost = []
    start = time.monotonic() + 0.1
    for seq in range(count):
        time.sleep(max(0.0, start + seq / rate - time.monotonic()))
        began = publisher.publish(replace(result, frame=replace(result.frame, seq=seq)))
        cost.append(time.monotonic_ns() - began)
    return cost


def _hold_the_interpreter() -> None:
    def spin() -> None:
        while True:
            sum(range(20_000))
            time.sleep(0.0005)

    threading.Thread(target=spin, daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", default=["face", "mesh"])
    parser.add_argument("--rates", nargs="+", type=float, default=[30.0, 200.0, 1000.0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--mesh-format", choices=["float32", "int16"], default="float32")
    parser.add_argument("--busy", action="store_true", help="compete for the interpreter lock")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    parser.add_argument("--subscribe", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.subscribe:
        subscribe(options.subscribe, options.kinds[0], options.count)
        return
    if options.busy:
        _hold_the_interpreter()
    print(
        f"# {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"libzmq {zmq.zmq_version()}, {VERTICES} vertices as {options.mesh_format}",
        file=sys.stderr,
    )
    for kind, rate in product(options.kinds, options.rates):
        row = measure(kind, rate, options.seconds, options)
        if options.json:
            print(json.dumps(row))
        else:
            print(
                f"{kind:8}{rate:6.0f} msg/s  p50 {row['p50_ms']:6.3f}  p90 {row['p90_ms']:6.3f}  "
                f"p99 {row['p99_ms']:6.3f}  max {row['max_ms']:7.3f} ms  "
                f"publish() {row['publish_call_p50_ms']:6.3f} ms  gaps {row['gaps']}"
            )


if __name__ == "__main__":
    main()
