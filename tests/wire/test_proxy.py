"""The proxy over real sockets: one address for several publishers, fenced by run."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
import zmq

from streamprn import Publisher, Subscriber
from streamprn.records import Kind, SourceState, SourceStatus
from streamprn.wire import StatsMessage, StatusMessage, TopologyMessage
from streamprn.wire.bind import CurveKeys
from streamprn.wire.proxy import Proxy, Upstream
from streamprn.wire.subscribe import Life
from streamprn.wire.subscriptions import BURST
from tests.support.wire import eventually, make_result, make_topology

LOOPBACK = "tcp://127.0.0.1:*"


@dataclass
class House:
    """A proxy in front of publishers; `cam1` belongs to the first, `cam2` to the second."""

    proxy: Proxy
    publishers: list[Publisher]

    def subscriber(self, *topics, **options):
        return Subscriber(self.proxy.endpoint, topics, newest=False, **options)


def upstream(publisher):
    return Upstream(publisher.endpoint, publisher.run)


@contextmanager
def house(bind=LOOPBACK, publishers=2, **options):
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(bind, heartbeat_s=0.2, **options))
        ones = []
        for number in range(1, publishers + 1):
            one = stack.enter_context(
                Publisher(LOOPBACK, topology=make_topology(), heartbeat_s=60, behind_proxy=True)
            )
            ones.append(one)
            proxy.connect(upstream(one))
            proxy.assign(f"cam{number}", one.run)
            one.publish_status(SourceStatus(f"cam{number}", SourceState.LIVE))
        yield House(proxy, ones)


@pytest.fixture
def two():
    with house() as one:
        yield one


def received(subscriber, count=0):
    """What comes: so many messages are waited for, and what else comes soon after."""
    found = []
    while (message := subscriber.receive(5 if len(found) < count else 0.3)) is not None:
        found.append(message)
    return found


def test_one_subscriber_reads_the_streams_of_all_publishers(two):
    first, second = two.publishers
    with two.subscriber("cam1/mesh", "cam2/mesh") as subscriber:
        eventually(lambda: first.wanted("cam1") and second.wanted("cam2"))
        first.publish(make_result("cam1", 7))
        second.publish(make_result("cam2", 9))
        messages = {m.stream: m for m in received(subscriber, 2)}
    assert {name: m.seq for name, m in messages.items()} == {"cam1": 7, "cam2": 9}
    assert messages["cam1"].run == first.run
    expected = make_result("cam1", 7).faces[0].vertices
    np.testing.assert_array_equal(messages["cam1"].vertices[1], expected)


def test_what_nobody_asks_for_is_wanted_of_no_publisher(two):
    first, second = two.publishers
    assert first.wanted("cam1") == second.wanted("cam2") == frozenset()
    with two.subscriber("cam2/mesh"), two.subscriber("cam2/mesh") as twin:
        eventually(lambda: second.wanted("cam2") == {Kind.MESH})
        assert first.wanted("cam1") == frozenset()
        twin.subscribe("cam1/")
        eventually(lambda: Kind.DEPTH in first.wanted("cam1"))
        twin.unsubscribe("cam1/")
        eventually(lambda: not first.wanted("cam1"))
        assert second.wanted("cam2") == {Kind.MESH}
    # Each of two had asked for it: it ends with the last.
    eventually(lambda: not second.wanted("cam2"))


def test_a_publisher_that_comes_later_learns_what_is_asked_for(two):
    with two.subscriber("cam3/mesh") as subscriber, Publisher(LOOPBACK) as third:
        two.proxy.connect(upstream(third))
        two.proxy.assign("cam3", third.run)
        eventually(lambda: third.wanted("cam3") == {Kind.MESH})
        third.publish(make_result("cam3", 1))
        assert subscriber.receive(2).stream == "cam3"


def test_late_joiners_get_the_state_and_the_topology_of_every_stream_at_once(two):
    for _ in range(2):
        with two.subscriber("") as subscriber:
            messages = [m for m in received(subscriber) if m.stream.startswith("cam")]
        kinds = {(m.stream, type(m)) for m in messages}
        assert kinds == {(c, t) for c in ("cam1", "cam2") for t in (StatusMessage, TopologyMessage)}


def test_who_joins_while_others_read_is_greeted_without_asking_the_publisher_again(two):
    first = two.publishers[0]
    with two.subscriber("cam1/") as early:
        assert len(received(early, 2)) == 2
        sent = first.counters.messages
        with two.subscriber("cam1/") as late:
            assert {type(m) for m in received(late, 2)} == {StatusMessage, TopologyMessage}
        assert first.counters.messages == sent


def test_a_kept_state_does_not_go_stale_while_nobody_reads(two):
    first = two.publishers[0]
    with two.subscriber("cam1/status") as subscriber:
        assert received(subscriber, 1)[-1].state is SourceState.LIVE
    eventually(lambda: not first.wanted("cam1"))
    first.publish_status(SourceStatus("cam1", SourceState.RECONNECTING, "gone"))
    with two.subscriber("cam1/status") as subscriber:
        assert {m.state for m in received(subscriber, 1)} == {SourceState.RECONNECTING}


def test_a_stream_belongs_to_one_run_and_what_another_sends_of_it_goes_no_further(two):
    first, second = two.publishers
    with two.subscriber("cam1/mesh") as subscriber:
        eventually(lambda: first.wanted("cam1") and second.wanted("cam1"))
        first.publish(make_result("cam1", 1))
        second.publish(make_result("cam1", 2))
        assert [m.run for m in received(subscriber, 1)] == [first.run]
        two.proxy.assign("cam1", second.run)
        time.sleep(0.1)
        first.publish(make_result("cam1", 3))
        second.publish(make_result("cam1", 4))
        assert [(m.run, m.seq) for m in received(subscriber, 1)] == [(second.run, 4)]
        two.proxy.release("cam1")
        time.sleep(0.1)
        second.publish(make_result("cam1", 5))
        assert received(subscriber) == []
        assert two.proxy.received.fenced == 3


def test_a_stream_that_moves_is_no_restart_of_the_publisher_and_no_gap(two):
    first, second = two.publishers
    with two.subscriber("cam1/mesh", "cam2/mesh") as subscriber:
        eventually(lambda: first.wanted("cam1") and second.wanted("cam2"))
        for seq in range(3):
            first.publish(make_result("cam1", seq))
            second.publish(make_result("cam2", seq))
        assert len(received(subscriber, 6)) == 6
        two.proxy.assign("cam1", second.run)
        time.sleep(0.1)
        second.publish(make_result("cam1", 0))
        second.publish(make_result("cam2", 3))
        assert len(received(subscriber, 2)) == 2
        assert subscriber.gaps == 0
        assert (subscriber.liveness().run, subscriber.liveness().restarts) == (two.proxy.run, 0)


def test_a_publisher_that_is_gone_is_told_in_its_place(two):
    with two.subscriber("cam1/status") as subscriber:
        before = received(subscriber, 1)[-1]
        two.publishers[0].close()
        two.proxy.tell(SourceStatus("cam1", SourceState.RECONNECTING, "its worker died"))
        told = subscriber.receive(2)
        assert (told.state, told.cause) == (SourceState.RECONNECTING, "its worker died")
        assert (told.seq, told.run) == (before.seq + 1, before.run)
        with two.subscriber("cam1/status") as late:
            assert late.receive(2).cause == "its worker died"


def test_the_proxy_lives_though_its_publishers_are_gone_and_says_when_it_ends(two):
    with two.subscriber("cam1/mesh") as subscriber:
        for publisher in two.publishers:
            publisher.close()
        time.sleep(0.5)
        assert subscriber.liveness().state is Life.ALIVE
        two.proxy.close()
        eventually(lambda: subscriber.liveness().state is Life.ENDED)


@pytest.fixture
def keys(tmp_path):
    clients = {name: CurveKeys.create(tmp_path / "all", name) for name in ("alice", "bob")}
    (tmp_path / "allowed").mkdir()
    shutil.copy(tmp_path / "all" / "alice.key", tmp_path / "allowed")
    return clients | {"server": CurveKeys.create(tmp_path / "server")}


def test_only_listed_clients_with_keys_read_through_the_proxy(tmp_path, keys):
    options = {"server_key": keys["server"].public}
    with (
        house(curve=keys["server"], allow=tmp_path / "allowed") as one,
        one.subscriber("cam1/face", client_keys=keys["alice"], **options) as alice,
        one.subscriber("cam1/mesh", client_keys=keys["bob"], **options) as bob,
        one.subscriber("cam1/depth") as stranger,
    ):
        eventually(lambda: one.publishers[0].wanted("cam1") == {Kind.FACE})
        one.publishers[0].publish(make_result("cam1", 1))
        assert alice.receive(2).seq == 1
        assert bob.receive(0.3) is stranger.receive(0.1) is None
        assert one.publishers[0].wanted("cam1") == {Kind.FACE}


def test_publishers_that_encrypt_with_keys_of_their_own_are_read(tmp_path, keys):
    with (
        Proxy(LOOPBACK) as proxy,
        Publisher(LOOPBACK, curve=keys["server"], allow=tmp_path / "allowed") as one,
        Publisher(LOOPBACK, curve=keys["bob"], allow=tmp_path / "allowed") as other,
        Subscriber(proxy.endpoint, ("cam1/face", "cam2/face"), newest=False) as subscriber,
    ):
        for stream, publisher, server in (("cam1", one, "server"), ("cam2", other, "bob")):
            proxy.connect(
                Upstream(publisher.endpoint, publisher.run, keys[server].public, keys["alice"])
            )
            proxy.assign(stream, publisher.run)
        for stream, publisher in (("cam1", one), ("cam2", other)):
            eventually(lambda s=stream, p=publisher: p.wanted(s) == {Kind.FACE})
            publisher.publish(make_result(stream, 1))
        assert {m.stream for m in received(subscriber, 2)} == {"cam1", "cam2"}


def test_publishers_that_encrypt_and_others_that_do_not_are_read_side_by_side(tmp_path, keys):
    with (
        Proxy(LOOPBACK) as proxy,
        Publisher(LOOPBACK, curve=keys["server"], allow=tmp_path / "allowed") as one,
        Publisher(LOOPBACK) as other,
        Publisher(LOOPBACK, curve=keys["bob"], allow=tmp_path / "allowed") as third,
        Subscriber(proxy.endpoint, [f"cam{n}/face" for n in (1, 2, 3)], newest=False) as subscriber,
    ):
        proxy.connect(Upstream(one.endpoint, one.run, keys["server"].public, keys["alice"]))
        proxy.connect(Upstream(other.endpoint, other.run))
        proxy.connect(Upstream(third.endpoint, third.run, keys["bob"].public, keys["alice"]))
        for number, publisher in enumerate((one, other, third), 1):
            stream = f"cam{number}"
            proxy.assign(stream, publisher.run)
            eventually(lambda s=stream, p=publisher: p.wanted(s) == {Kind.FACE})
            publisher.publish(make_result(stream, 1))
        assert {m.stream for m in received(subscriber, 3)} == {"cam1", "cam2", "cam3"}


def test_what_is_sent_once_a_stream_is_assigned_is_never_fenced(two):
    first = two.publishers[0]
    with two.subscriber("s") as subscriber:
        eventually(lambda: first.wanted("s0"))
        for number in range(1500):
            two.proxy.assign(f"s{number}", first.run)
            first.publish_stats(f"s{number}", {"fps": 30.0})
            while not isinstance(message := subscriber.receive(5), StatsMessage):
                assert message is not None
            assert message.stream == f"s{number}"


def test_a_publisher_that_is_connected_again_is_read_once(two):
    with two.subscriber("cam1/face") as subscriber:
        two.proxy.connect(upstream(two.publishers[0]))
        eventually(lambda: two.publishers[0].wanted("cam1") == {Kind.FACE})
        two.publishers[0].publish(make_result("cam1", 1))
        assert len(received(subscriber, 1)) == 1


def test_a_publisher_with_many_prefixes_asked_of_it_is_not_cut_off(two):
    """As many as a subscriber may send at once, again with each publisher that comes."""
    with two.subscriber("cam1/mesh") as subscriber, Publisher(LOOPBACK, behind_proxy=True) as third:
        for number in range(BURST - 100):
            subscriber.subscribe(f"s{number}/mesh")
        eventually(lambda: two.publishers[0].wanted(f"s{BURST - 101}"), 20)
        two.proxy.connect(upstream(third))
        eventually(lambda: third.wanted(f"s{BURST - 101}") == {Kind.MESH}, 20)


def test_a_subscriber_that_does_not_read_holds_nobody_up(two):
    first = two.publishers[0]
    with two.subscriber("cam1/mesh") as reader, zmq.Context() as context:
        stalled = context.socket(zmq.SUB)
        stalled.setsockopt(zmq.RCVHWM, 1)
        stalled.setsockopt(zmq.LINGER, 0)
        stalled.setsockopt(zmq.SUBSCRIBE, b"cam1/")
        stalled.connect(two.proxy.endpoint)
        eventually(lambda: Kind.DEPTH in first.wanted("cam1"))
        seqs = []
        for seq in range(60):
            first.publish(make_result("cam1", seq, vertices=50_000))
            message = reader.receive(2)
            seqs.append(message.seq)
        stalled.close()
    assert seqs == list(range(60))
    assert two.proxy.counters.overruns > 0


def test_nonsense_of_a_publisher_is_counted_and_dropped(two):
    with zmq.Context() as context, two.subscriber("cam1/") as subscriber:
        nonsense = context.socket(zmq.XPUB)
        nonsense.bind(LOOPBACK)
        endpoint = nonsense.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        two.proxy.connect(Upstream(endpoint, "run"))
        assert nonsense.recv()
        before = len(received(subscriber))
        for parts in ([b"cam1/mesh"], [b"cam1/mesh", b"\xc1"], [b"cam1/\xff", b"x"]):
            nonsense.send_multipart(parts)
        eventually(lambda: two.proxy.received.errors == 3)
        assert received(subscriber) == []
        assert before == 2
        nonsense.close(linger=0)
