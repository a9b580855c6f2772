"""Subscribers that ask for too much: the others are heard, and nothing is left of it."""

import subprocess
import sys
from contextlib import contextmanager

import pytest
import zmq

from streamprn import Publisher, Subscriber
from streamprn.records import Kind
from streamprn.wire.proxy import Proxy, Upstream
from streamprn.wire.subscriptions import Subscriptions
from tests.support.wire import eventually, make_result, with_seq

LOOPBACK = "tcp://127.0.0.1:*"
STREAMS = [f"cam{number}" for number in range(20)]


@contextmanager
def flooder(endpoint):
    """Asks for a hundred thousand strings, over and over, and comes back when it is cut off."""
    port = endpoint.rpartition(":")[2]
    command = [sys.executable, "-m", "benchmarks.rig.pest", "strings", port, port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "begun\n"
            yield
        finally:
            process.kill()


def publish_all(publisher, seqs):
    for seq in seqs:
        for stream in STREAMS:
            publisher.publish(with_seq(make_result(stream), seq))


@contextmanager
def publisher_alone():
    with Publisher(LOOPBACK) as publisher:
        yield publisher, publisher.endpoint


@contextmanager
def publisher_behind_a_proxy():
    with Publisher(LOOPBACK, behind_proxy=True) as publisher, Proxy(LOOPBACK) as proxy:
        proxy.connect(Upstream(publisher.endpoint, publisher.run))
        for stream in STREAMS:
            proxy.assign(stream, publisher.run)
        yield publisher, proxy.endpoint


@pytest.mark.timed
@pytest.mark.parametrize("house", [publisher_alone, publisher_behind_a_proxy])
def test_beside_a_flooder_who_comes_later_is_heard_and_no_backlog_outlives_it(house):
    with (
        house() as (publisher, endpoint),
        Subscriber(endpoint, "cam3/face", newest=False) as neighbour,
    ):
        eventually(lambda: publisher.wanted("cam3") == {Kind.FACE})
        with flooder(endpoint):
            publish_all(publisher, range(100))
            # Requests of the flooder wait in the flooder, not here before those of others.
            with Subscriber(endpoint, "cam7/depth"):
                eventually(lambda: Kind.DEPTH in publisher.wanted("cam7"), 5)
        eventually(lambda: not any(publisher.wanted(name) for name in STREAMS if name != "cam3"), 5)
        with Subscriber(endpoint, "cam9/depth"):
            eventually(lambda: publisher.wanted("cam9") == {Kind.DEPTH}, 5)
        assert publisher.wanted("cam3") == {Kind.FACE}
        assert neighbour.receive(2) is not None


@pytest.mark.parametrize("name", [b"\x01cam1/mesh", b"\x01cam%d/mesh"])
def test_a_peer_that_floods_with_subscriptions_is_cut_off_and_the_others_go_on(name, caplog):
    with (
        Publisher(LOOPBACK) as publisher,
        zmq.Context() as context,
        context.socket(zmq.XSUB) as flooder,
        Subscriber(publisher.endpoint, "cam1/face") as subscriber,
    ):
        for option, value in ((zmq.LINGER, 0), (zmq.SNDHWM, 0), (zmq.RECONNECT_IVL, -1)):
            flooder.setsockopt(option, value)
        flooder.connect(publisher.endpoint)
        eventually(lambda: publisher.wanted("cam1") == {Kind.FACE})
        for number in range(20_000):
            flooder.send(name % number if b"%" in name else name)
        for seq in range(50):
            publisher.publish(with_seq(make_result("cam1"), seq))
            assert subscriber.receive(2).seq == seq
        eventually(lambda: "floods the publisher" in caplog.text, 20)
        # What it asked for is forgotten with it, and a later subscriber gets what it asks for.
        eventually(lambda: publisher.wanted("cam1") == {Kind.FACE}, 20)
        with Subscriber(publisher.endpoint, "late/depth"):
            eventually(lambda: publisher.wanted("late") == {Kind.DEPTH}, 10)


def test_more_prefixes_than_are_kept_make_everything_wanted_until_they_are_taken_back():
    kept = Subscriptions(limit=3)
    for name in (b"a/face", b"b/face", b"c/face", b"d/mesh", b"e/mesh"):
        assert kept.add(name)
    assert kept.full
    assert kept.kinds("d") == frozenset(Kind)
    kept.discard(b"d/mesh")
    assert kept.kinds("e") == frozenset(Kind)
    kept.discard(b"e/mesh")
    assert not kept.full
    assert (kept.kinds("a"), kept.kinds("e")) == ({Kind.FACE}, frozenset())


@pytest.mark.parametrize("prefix", [b"/face", b"cam 1", b"cam1/nothing", b"x" * 98, b"\xff"])
def test_prefixes_that_match_no_topic_are_not_kept(prefix):
    kept = Subscriptions()
    assert not kept.add(prefix)
    assert len(kept) == 0


def test_an_excess_that_was_asked_for_twice_is_taken_back_at_once():
    """Each request is reported, and the last one's end alone."""
    known = Subscriptions(limit=1)
    known.add(b"a/face")
    for _ in range(3):
        known.add(b"b/face")
    assert known.full
    known.discard(b"b/face")
    assert not known.full
    assert known.kinds("a") == {Kind.FACE}
