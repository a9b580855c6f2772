"""A subscriber in a process of its own: notes when each message arrived.

`python -m streamprn.bench.listener ENDPOINT TOPIC...` prints `ready`, receives until its standard
input closes, and prints one JSON object: `messages` as rows `[captured, published, received]`
(monotonic nanoseconds, one clock for all processes of a machine), `gaps` and `errors`.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from contextlib import suppress
from typing import TextIO

from streamprn.wire.subscribe import Subscriber


def listen(endpoint: str, topics: list[str], source: TextIO, sink: TextIO) -> None:
    """Receive until `source` ends, then write what was noted to `sink`."""
    done = threading.Event()
    threading.Thread(target=_wait_for_end, args=(source, done), daemon=True).start()
    rows = []
    with Subscriber(endpoint, topics, newest=False) as messages:
        sink.write("ready\n")
        sink.flush()
        while not done.is_set():
            message = messages.receive(0.05)
            if message is not None:
                stamps = message.stamps
                rows.append((stamps.captured, stamps.published, message.received_ns))
        counters = messages.counters
    # The one who asked may be gone.
    with suppress(BrokenPipeError):
        json.dump({"messages": rows, "gaps": counters.gaps, "errors": counters.errors}, sink)
        sink.flush()


def _wait_for_end(source: TextIO, done: threading.Event) -> None:
    source.read()
    done.set()


if __name__ == "__main__":
    # A terminal's Ctrl-C reaches this process too; its end comes through standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listen(sys.argv[1], sys.argv[2:], sys.stdin, sys.stdout)
