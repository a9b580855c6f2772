"""Somebody who troubles a service, in a process of their own.

`python -m benchmarks.rig.pest KIND PUBLISH_PORT HTTP_PORT` says "begun" when the trouble is under
way and goes on until it is killed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import zmq

_STALLED_QUEUE = 4
_STRINGS = 100_000
_VISITORS = 200
_BIG_TOPIC = 1 << 20
_LORIS = 100


class Pest:
    """Such a process; a context manager, which may also be told to leave earlier.

    Args:
        kind: a name in `KINDS`.
        ports: of the publisher and the control interface.
    """

    def __init__(self, kind: str, ports: tuple[int, int]) -> None:
        command = [sys.executable, "-m", __spec__.name, kind, *map(str, ports)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def leave(self) -> None:
        """Kill -9."""
        self._process.kill()
        self._process.communicate()


def _computing(_publish: int, _http: int) -> Iterator[None]:
    """Connects to nothing and takes a processor: what any program beside the service costs."""
    while True:
        sum(range(100_000))
        yield


def _stalled(publish: int, _http: int) -> Iterator[None]:
    """Subscribes to everything and never reads."""
    socket_ = zmq.Context.instance().socket(zmq.SUB)
    socket_.rcvhwm = _STALLED_QUEUE
    socket_.connect(f"tcp://127.0.0.1:{publish}")
    socket_.subscribe(b"")
    while True:
        yield
        time.sleep(0.1)


def _strings(publish: int, _http: int) -> Iterator[None]:
    """Subscribes to strings, a hundred thousand of them, over and over."""
    socket_ = zmq.Context.instance().socket(zmq.XSUB)
    socket_.connect(f"tcp://127.0.0.1:{publish}")
    for number in itertools.count():
        socket_.send(b"\x01" + str(number % _STRINGS).encode())
        if number % 1000 == 0:
            yield


def _big(publish: int, _http: int) -> Iterator[None]:
    """Subscribes to topics of a megabyte."""
    socket_ = zmq.Context.instance().socket(zmq.XSUB)
    socket_.connect(f"tcp://127.0.0.1:{publish}")
    while True:
        socket_.send(b"\x01" + random.randbytes(16) * (_BIG_TOPIC // 16))
        yield
        time.sleep(0.05)


def _visitors(publish: int, _http: int) -> Iterator[None]:
    """Two hundred subscribers at a time, who come and go."""
    context = zmq.Context.instance()
    there: list[zmq.Socket[bytes]] = []
    context.max_sockets = 2 * _VISITORS
    while True:
        if len(there) >= _VISITORS:
            there.pop(0).close(0)
        one = context.socket(zmq.SUB)
        one.connect(f"tcp://127.0.0.1:{publish}")
        one.subscribe(random.choice((b"stays/face", b"stays/status", b"nobody")))
        there.append(one)
        yield
        time.sleep(0.005)


def _garbage(publish: int, http: int) -> Iterator[None]:
    """Connects to both ports and says random bytes."""
    while True:
        for port in (publish, http):
            with contextlib.suppress(OSError), _connection(port) as one:
                one.sendall(os.urandom(random.choice((1, 64, 4096, 65_536))))
        yield
        time.sleep(0.01)


def _loris(publish: int, http: int) -> Iterator[None]:
    """Holds connections to both ports and says a byte now and then."""
    there = [_connection(port) for port in (publish, http) * _LORIS]
    for number in itertools.count():
        for one in there:
            with contextlib.suppress(OSError):
                one.sendall(b"GET / HTTP/1.1\r\nX-A: "[number % 20 : number % 20 + 1])
        yield
        time.sleep(0.5)


def _connection(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=2)


KINDS = {
    "computing": _computing,
    "stalled": _stalled,
    "strings": _strings,
    "big": _big,
    "visitors": _visitors,
    "garbage": _garbage,
    "loris": _loris,
}


def main() -> None:
    kind, publish, http = sys.argv[1:]
    for number, _ in enumerate(KINDS[kind](int(publish), int(http))):
        if number == 0:
            print("begun", flush=True)


if __name__ == "__main__":
    main()
