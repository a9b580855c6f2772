"""Publish-to-subscriber latency in two processes over loopback TCP.

Each message is stamped when `Publisher.publish` is entered and again when `Subscriber.receive` has
returned the decoded record, so encoding, sending, the network, receiving and decoding all count.
Messages leave at fixed times; a late one does not delay those after it. The publisher computes
nothing else, unless --busy adds a thread that holds the interpreter lock most of the time.

"floor" is the same sizes over bare pyzmq sockets, without StreamPRN: what this machine and its
other work allow at the moment. Compare with it, and repeat on a quiet machine.

    python -m benchmarks.publish
    python -m benchmarks.publish --kinds mesh --rates 30 --seconds 10 --mesh-format int16
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
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import zmq

from streamprn.records import FrameImage, FrameResult, Kind
from streamprn.wire import Parts, encode_faces, encode_frame
from streamprn.wire.publish import Publisher
from streamprn.wire.subscribe import Subscriber
from tests.support.wire import make_result as with_one_face

VERTICES = 55_792
FLOOR = "floor"


def make_result(vertices: int = VERTICES) -> FrameResult:
    """One frame of 640x480 with one face of random vertices."""
    one = with_one_face(vertices=vertices)
    image = FrameImage.from_rgb(np.zeros((480, 640, 3), np.uint8))
    return replace(one, frame=replace(one.frame, stream="bench", image=image))


def subscribe(endpoint: str, kind: str, count: int) -> None:
    """The other process: print the latencies in nanoseconds as JSON."""
    if kind.startswith(FLOOR):
        subscribe_bare(endpoint, count)
        return
    latencies: list[int] = []
    with Subscriber(endpoint, f"bench/{kind}", newest=False) as subscriber:
        while len(latencies) + subscriber.gaps < count:
            message = subscriber.receive(timeout_s=5.0)
            if message is None:
                break
            latencies.append(time.monotonic_ns() - message.stamps.published)
        print(json.dumps({"latencies": latencies, "gaps": subscriber.gaps}))


def subscribe_bare(endpoint: str, count: int) -> None:
    """The other process for the floor: the first part is the time of sending."""
    latencies: list[int] = []
    context = zmq.Context()
    sub = context.socket(zmq.SUB)
    sub.subscribe(b"")
    sub.connect(endpoint)
    while len(latencies) < count and sub.poll(2000):
        parts = sub.recv_multipart(copy=False)
        latencies.append(time.monotonic_ns() - int(parts[0].bytes))
    print(json.dumps({"latencies": latencies, "gaps": count - len(latencies)}))
    sub.close(linger=0)
    context.term()


def measure_floor(kind: str, rate: float, options: argparse.Namespace) -> dict[str, Any]:
    """The same number of bytes at the same times over a bare XPUB socket."""
    parts = [bytes(part) for part in _encoded(kind, make_result(), options)]
    warm_up, count = _counts(rate, options)
    context = zmq.Context()
    xpub = context.socket(zmq.XPUB)
    xpub.setsockopt(zmq.SNDHWM, 16)
    port = xpub.bind_to_random_port("tcp://127.0.0.1")
    with _reader(f"tcp://127.0.0.1:{port}", f"{FLOOR}-{kind}", count) as reader:
        xpub.recv()

        def send(_: int) -> int:
            now = time.monotonic_ns()
            xpub.send_multipart([b"%d" % now, *parts[1:]], copy=False)
            return now

        row = _row(f"{FLOOR}-{kind}", rate, warm_up, reader, _send_all(send, rate, count))
    xpub.close(linger=0)
    context.term()
    return row


def measure(kind: str, rate: float, options: argparse.Namespace) -> dict[str, Any]:
    """One run: publish at a rate, return percentiles in milliseconds."""
    warm_up, count = _counts(rate, options)
    result = make_result()
    with (
        Publisher("tcp://127.0.0.1:*", mesh_format=options.mesh_format) as publisher,
        _reader(publisher.endpoint, kind, count) as reader,
    ):
        while Kind(kind) not in publisher.wanted("bench"):
            time.sleep(0.01)

        def send(seq: int) -> int:
            return publisher.publish(replace(result, frame=replace(result.frame, seq=seq)))

        return _row(kind, rate, warm_up, reader, _send_all(send, rate, count))


def _encoded(kind: str, result: FrameResult, options: argparse.Namespace) -> Parts:
    faces = encode_faces(result, visible=True)
    parts = encode_frame(Kind(kind), result, faces, 1, mesh_format=options.mesh_format)
    assert parts is not None
    return parts


def _counts(rate: float, options: argparse.Namespace) -> tuple[int, int]:
    warm_up = max(10, int(rate // 5))
    return warm_up, int(rate * options.seconds) + warm_up


def _reader(endpoint: str, kind: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.publish", "--subscribe", endpoint]
    command += ["--kinds", kind, "--count", str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _send_all(send: Callable[[int], int], rate: float, count: int) -> list[int]:
    """Send at fixed times; the nanoseconds that each call took."""
    cost = []
    start = time.monotonic() + 0.1
    for seq in range(count):
        time.sleep(max(0.0, start + seq / rate - time.monotonic()))
        began = send(seq)
        cost.append(time.monotonic_ns() - began)
    return cost


def _row(
    kind: str, rate: float, warm_up: int, reader: subprocess.Popen[str], cost: list[int]
) -> dict[str, Any]:
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
        "send_p50_ms": float(np.median(cost)) / 1e6,
        "gaps": report["gaps"],
    }


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
        for row in (measure_floor(kind, rate, options), measure(kind, rate, options)):
            print(json.dumps(row) if options.json else _text(row), flush=True)


def _text(row: dict[str, Any]) -> str:
    return (
        f"{row['kind']:11}{row['rate_hz']:6.0f} msg/s  p50 {row['p50_ms']:6.3f}  "
        f"p90 {row['p90_ms']:6.3f}  p99 {row['p99_ms']:6.3f}  max {row['max_ms']:7.3f} ms  "
        f"sending {row['send_p50_ms']:6.3f} ms  gaps {row['gaps']}"
    )


if __name__ == "__main__":
    main()
