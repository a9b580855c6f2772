"""Peers that send one message without an end: memory stays bounded, and others notice nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time

import pytest

from streamprn import Publisher, Subscriber
from streamprn.memory import process_bytes
from streamprn.wire.proxy import Proxy
from tests.support.wire import eventually, make_result
from tests.support.zmtp import greet, send_for_ever

MIB = 1 << 20
#: Far more than any bound here.
MUCH = 3000 * MIB

#: The bound of 256 MiB, and what a peer at full speed sends until it is noticed and cut off.
MOST_MIB = 1000


@contextlib.contextmanager
def watched():
    """Gives a list with by how much the process grew at the most, MiB, after the block."""
    done, most, before = threading.Event(), [0], process_bytes()

    def look():
        while not done.wait(0.005):
            most[0] = max(most[0], (process_bytes() - before) // MIB)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def flood(endpoint: str, size: int, stop: threading.Event) -> int:
    port = int(endpoint.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as peer:
        greet(peer, b"SUB")
        return send_for_ever(peer, size, stop, MUCH, 10)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.timed
@pytest.mark.parametrize("size", [4000, 100, 0])
def test_a_subscriber_that_sends_parts_for_ever_is_disconnected_and_no_other(size, caplog):
    stop = threading.Event()
    with (
        Publisher("tcp://127.0.0.1:*") as publisher,
        Subscriber(publisher.endpoint, "cam1/face", newest=False) as friend,
    ):
        eventually(lambda: publisher.wanted("cam1"))
        files = open_files()
        with watched() as grown:
            sent = []
            thread = threading.Thread(
                target=lambda: sent.append(flood(publisher.endpoint, size, stop))
            )
            thread.start()
            for seq in range(60):
                publisher.publish(make_result(seq=seq))
                assert friend.receive(1).seq == seq
                time.sleep(0.02)
            thread.join(15)
        assert sent[0] < MUCH
        assert grown[0] < 200
        assert friend.gaps == 0
        eventually(lambda: open_files() <= files)
    told = [line for line in caplog.messages if "no subscription and does not end" in line]
    assert len(told) == 1
    assert told[0].startswith("127.0.0.1:")


@pytest.mark.timed
def test_the_proxy_disconnects_such_a_subscriber_too(caplog):
    with Proxy("tcp://127.0.0.1:*") as proxy, watched() as grown:
        assert flood(proxy.endpoint, 4000, threading.Event()) < MUCH
        eventually(lambda: "no subscription and does not end" in caplog.text)
    assert grown[0] < 200


@pytest.mark.timed
def test_four_thousand_subscriptions_at_once_are_no_flood():
    with (
        Publisher("tcp://127.0.0.1:*") as publisher,
        Subscriber(publisher.endpoint, ()) as subscriber,
    ):
        blocks = bytes(100 * MIB)  # the process grows meanwhile, and connections are looked at
        for number in range(4000):
            subscriber.subscribe(f"a-stream-with-a-name-that-is-rather-long-{number:010}/face")
        eventually(lambda: publisher.wanted(f"a-stream-with-a-name-that-is-rather-long-{3999:010}"))
        assert len(blocks) == 100 * MIB
        assert publisher._outlet.inbound.disconnected == 0


class Malicious:
    """A publisher that begins a message and never ends it; the good one may come after it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._stop = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.1)
        self.endpoint = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self.connections = 0
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(5)
        self._server.close()

    def _accept(self):
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                peer, _ = self._server.accept()
                self.connections += 1
                self._threads.append(threading.Thread(target=self._send, args=(peer,)))
                self._threads[-1].start()

    def _send(self, peer):
        with peer, contextlib.suppress(OSError):
            greet(peer, b"PUB")
            send_for_ever(peer, self._size, self._stop, MUCH, 20)


@pytest.mark.timed
@pytest.mark.parametrize("size", [60_000, 1000])
def test_a_message_without_an_end_takes_bounded_memory_and_the_next_publisher_is_read(size, caplog):
    with (
        caplog.at_level(logging.WARNING),
        watched() as grown,
        Malicious(size) as publisher,
        Subscriber(publisher.endpoint, "cam1/face") as subscriber,
    ):
        subscriber.subscribe("cam2/face")
        subscriber.subscribe("cam3/face")
        subscriber.unsubscribe("cam3/face")

        def connected_again():
            assert subscriber.receive(0.2) is None
            return publisher.connections >= 3

        eventually(connected_again, 60)
        assert subscriber.counters.errors >= 2
        assert "a message of more than 256 MiB that does not end" in subscriber.counters.last_error
        assert "connected again" in caplog.text
        publisher.close()
        with Publisher(publisher.endpoint) as good:
            eventually(lambda: subscriber.receive(0.05) or good.wanted("cam2"), 10)
            assert not good.wanted("cam3")
            good.publish(make_result("cam2", seq=7))
            eventually(lambda: (got := subscriber.receive(0.2)) is not None and got.seq == 7, 5)
    assert grown[0] < MOST_MIB


@pytest.mark.timed
def test_it_is_the_same_in_an_event_loop():
    async def read(subscriber, publisher):
        until = time.monotonic() + 30
        while publisher.connections < 2 and time.monotonic() < until:
            assert await subscriber.receive_async(0.2) is None

    with (
        watched() as grown,
        Malicious(60_000) as publisher,
        Subscriber(publisher.endpoint, "cam1/face") as subscriber,
    ):
        asyncio.run(read(subscriber, publisher))
        assert publisher.connections >= 2
        assert subscriber.counters.errors >= 1
    assert grown[0] < MOST_MIB
