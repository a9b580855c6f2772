"""The processes of `streamprn bench --proxy`: one that publishes, a proxy, one that reads.

`python -m streamprn.bench.relay ROLE ...` prints one JSON object when it is ready, and then one for
each line of its standard input; it ends with its standard input.

    feed                        {"endpoint", "run"};  `KIND FPS SECONDS` publishes, FPS 0: flat out
    proxy ENDPOINT RUN          {"endpoint"}
    read ENDPOINT TOPIC NEWEST  {};  `begin` counts anew, `end` tells what came since
"""

from __future__ import annotations

import json
import sys
import threading
import time
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from streamprn.records import Kind
from streamprn.wire.encode import Parts
from streamprn.wire.header import VERSION, ArrayHeader, Header, StampsHeader
from streamprn.wire.proxy import Proxy, Upstream
from streamprn.wire.publish import Publisher
from streamprn.wire.subscribe import Subscriber
from streamprn.wire.topics import topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STREAM = "bench"
#: Vertices of the engine `facemesh`.
VERTICES = 55_450

_encode = msgspec.msgpack.Encoder().encode


def _say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def _lines() -> Iterator[list[str]]:
    for line in sys.stdin:
        yield line.split()


# --- feed -----------------------------------------------------------------------------------------


def _message(kind: Kind, seq: int, run: str, array: np.ndarray[Any, Any]) -> Parts:
    now = time.monotonic_ns()
    header = Header(VERSION, STREAM, seq, run, stamps=StampsHeader(captured=now, published=now))
    if kind is not Kind.MESH:
        return [topic(STREAM, kind), _encode(header)]
    header.arrays = [ArrayHeader("vertices", 1, "<f4", list(array.shape))]
    return [topic(STREAM, kind), _encode(header), array.data.cast("B")]


def feed() -> None:
    """Publish what is asked for on standard input."""
    array = np.zeros((VERTICES, 3), np.float32)
    with Publisher("tcp://127.0.0.1:*", behind_proxy=True) as publisher:
        _say(endpoint=publisher.endpoint, run=publisher.run)
        seq = 0
        for name, fps, seconds in _lines():
            kind, pace_s = Kind(name), 1 / float(fps) if float(fps) else 0.0
            began, sent = time.monotonic(), 0
            while time.monotonic() - began < float(seconds):
                parts = _message(kind, seq, publisher.run, array)
                publisher.relay(STREAM, kind, parts, seq, 0)
                seq, sent = seq + 1, sent + 1
                if pace_s:
                    time.sleep(max(0.0, began + sent * pace_s - time.monotonic()))
            _say(sent=sent, seconds=time.monotonic() - began)


# --- proxy ----------------------------------------------------------------------------------------


def proxy(endpoint: str, run: str) -> None:
    """Stand in front of the one that publishes."""
    with Proxy("tcp://127.0.0.1:*") as one:
        one.connect(Upstream(endpoint, run))
        one.assign(STREAM, run)
        _say(endpoint=one.endpoint)
        for _ in _lines():
            pass


# --- read -----------------------------------------------------------------------------------------


def read(endpoint: str, prefix: str, newest: str) -> None:
    """Note how late messages come, or, with `newest`, how many."""
    asked: Queue[str] = Queue()
    threading.Thread(target=_put_lines, args=(asked,), daemon=True).start()
    late_ms: list[float] = []
    with Subscriber(endpoint, prefix, newest=newest == "newest", receive_hwm=1000) as messages:
        _say()
        before, began = 0, time.monotonic()
        while True:
            message = messages.receive(0.05)
            if message is not None:
                late_ms.append((message.received_ns - message.stamps.published) / 1e6)
            try:
                word = asked.get_nowait()
            except Empty:
                continue
            if not word:
                return
            received = messages.counters.received
            if word == "end":
                _say(
                    received=received - before,
                    seconds=time.monotonic() - began,
                    late_ms=late_ms if newest != "newest" else [],
                )
            late_ms, before, began = [], received, time.monotonic()


def _put_lines(asked: Queue[str]) -> None:
    for (word,) in _lines():
        asked.put(word)
    asked.put("")


_ROLES: dict[str, Callable[..., None]] = {"feed": feed, "proxy": proxy, "read": read}

if __name__ == "__main__":
    _ROLES[sys.argv[1]](*sys.argv[2:])
