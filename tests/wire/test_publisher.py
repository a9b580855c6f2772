"""The publisher over real sockets: what is asked for, greetings, bounds, bad addresses."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
import zmq

from streamprn import Publisher, Subscriber
from streamprn.errors import InputError, PublishError
from streamprn.records import Kind, SourceState, SourceStatus
from streamprn.wire import StatusMessage, TopologyMessage, decode
from streamprn.wire.publish import CurveKeys
from tests.support.wire import eventually, make_result, make_topology, with_seq

EVERYTHING = frozenset(Kind)
LOOPBACK = "tcp://127.0.0.1:*"


@pytest.fixture
def publisher():
    with Publisher(LOOPBACK, heartbeat_s=60) as publisher:
        yield publisher


def live(stream: str = "cam1", cause: str = "") -> SourceStatus:
    return SourceStatus(stream, SourceState.LIVE, cause)


def test_nothing_is_wanted_while_nobody_subscribes(publisher):
    assert publisher.wanted("cam1") == frozenset()
    publisher.publish(make_result())
    assert publisher.counters.messages == 0


@pytest.mark.parametrize(
    ("topic", "kinds"),
    [("", EVERYTHING), ("cam1", EVERYTHING), ("cam1/", EVERYTHING), ("cam1/fa", {Kind.FACE})],
)
def test_a_subscription_makes_its_kinds_wanted_and_leaving_unwanted(publisher, topic, kinds):
    with Subscriber(publisher.endpoint, topic):
        eventually(lambda: publisher.wanted("cam1") == kinds)
        assert publisher.wanted("cam2") == (EVERYTHING if topic == "" else frozenset())
    eventually(lambda: not publisher.wanted("cam1"))


def test_a_kind_stays_wanted_until_its_last_subscriber_leaves(publisher):
    with Subscriber(publisher.endpoint, "cam1/mesh"):
        with Subscriber(publisher.endpoint, ["cam1/mesh", "cam1/face"]):
            eventually(lambda: publisher.wanted("cam1") == {Kind.MESH, Kind.FACE})
        eventually(lambda: publisher.wanted("cam1") == {Kind.MESH})
    eventually(lambda: not publisher.wanted("cam1"))


def test_what_a_subscriber_takes_back_is_no_longer_wanted(publisher):
    with Subscriber(publisher.endpoint, ["cam1/mesh", ""]) as subscriber:
        eventually(lambda: publisher.wanted("cam1") == EVERYTHING)
        subscriber.unsubscribe("")
        eventually(lambda: publisher.wanted("cam1") == {Kind.MESH})
        subscriber.subscribe("cam1/depth")
        eventually(lambda: publisher.wanted("cam1") == {Kind.MESH, Kind.DEPTH})


def test_a_subscriber_that_is_killed_no_longer_wants_anything(publisher):
    code = (
        "import sys, time; from streamprn import Subscriber;"
        "s = Subscriber(sys.argv[1], 'cam1/mesh'); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, publisher.endpoint]) as peer:
        eventually(lambda: publisher.wanted("cam1") == {Kind.MESH}, 20)
        peer.kill()
        eventually(lambda: not publisher.wanted("cam1"))


def test_blendshapes_are_in_the_messages_of_a_stream_while_somebody_asks_for_them(publisher):
    def received(subscriber, seq):
        publisher.publish(make_result(seq=seq))
        message = subscriber.receive(2)
        assert (message.kind, message.seq) == (Kind.FACE, seq)
        return message.faces[0].blendshapes

    with Subscriber(publisher.endpoint, "cam1/face") as subscriber:
        eventually(lambda: publisher.wanted("cam1") == {Kind.FACE})
        assert received(subscriber, 0) is None
        with Subscriber(publisher.endpoint, "cam1/blendshapes") as other:
            eventually(lambda: Kind.BLENDSHAPES in publisher.wanted("cam1"))
            expected = make_result(seq=1).faces[0].blendshapes
            np.testing.assert_array_equal(received(subscriber, 1), expected)
            assert other.receive(0.05) is None
        eventually(lambda: publisher.wanted("cam1") == {Kind.FACE})
        assert received(subscriber, 2) is None


def test_withheld_blendshapes_nobody_gets():
    withheld = frozenset({Kind.BLENDSHAPES})
    with (
        Publisher(LOOPBACK, heartbeat_s=60, withheld=withheld) as publisher,
        Subscriber(publisher.endpoint, "cam1/") as subscriber,
    ):
        eventually(lambda: publisher.wanted("cam1") == EVERYTHING - withheld)
        publisher.publish(make_result())
        assert subscriber.receive(2).faces[0].blendshapes is None


def test_only_what_is_wanted_is_sent(publisher):
    with Subscriber(publisher.endpoint, ["cam1/mesh", "cam1/depth"]) as subscriber:
        eventually(lambda: len(publisher.wanted("cam1")) == 2)
        before = time.monotonic_ns()
        stamp = publisher.publish(make_result())
        kinds = {subscriber.receive(2).kind for _ in range(2)}
        assert kinds == {Kind.MESH, Kind.DEPTH}
        assert subscriber.receive(0.05) is None
        assert before <= stamp <= time.monotonic_ns()
        assert publisher.counters.messages == 2


def test_a_late_joiner_gets_the_last_status_of_each_stream_and_the_topologies_at_once():
    with Publisher(LOOPBACK, heartbeat_s=60, topology=make_topology()) as publisher:
        for stream in ("a", "b", "c"):
            publisher.publish_status(live(stream, "early"))
            publisher.publish_status(live(stream, "last"))
        with Subscriber(publisher.endpoint) as subscriber:
            messages = [subscriber.receive(2) for _ in range(6)]
            assert subscriber.receive(0.05) is None
    statuses = {m.stream: m.cause for m in messages if isinstance(m, StatusMessage)}
    assert statuses == {"a": "last", "b": "last", "c": "last"}
    assert {m.stream for m in messages if isinstance(m, TopologyMessage)} == {"a", "b", "c"}


def test_every_new_subscriber_is_greeted_not_only_the_first():
    with Publisher(LOOPBACK, heartbeat_s=60, topology=make_topology()) as publisher:
        publisher.publish_status(live())
        for _ in range(3):
            with Subscriber(publisher.endpoint, "cam1/topology") as subscriber:
                assert isinstance(subscriber.receive(2), TopologyMessage)


def test_the_topology_is_not_sent_to_those_who_did_not_ask():
    with Publisher(LOOPBACK, heartbeat_s=60, topology=make_topology()) as publisher:
        publisher.publish_status(live())
        with Subscriber(publisher.endpoint, ["cam1/status", "cam1/mesh"]) as subscriber:
            assert isinstance(subscriber.receive(2), StatusMessage)
            assert subscriber.receive(0.1) is None


def test_who_subscribes_before_the_stream_exists_gets_its_topology_when_it_does():
    with (
        Publisher(LOOPBACK, heartbeat_s=60, topology=make_topology()) as publisher,
        Subscriber(publisher.endpoint, "cam1/topology") as subscriber,
    ):
        eventually(lambda: publisher.wanted("cam1"))
        assert subscriber.receive(0.05) is None
        publisher.publish(make_result())
        assert isinstance(subscriber.receive(2), TopologyMessage)


def test_a_new_topology_reaches_those_who_subscribed_with_a_higher_number():
    with (
        Publisher(LOOPBACK, heartbeat_s=60, topology=make_topology()) as publisher,
        Subscriber(publisher.endpoint, "cam1/topology") as subscriber,
    ):
        eventually(lambda: publisher.wanted("cam1"))
        publisher.publish_status(live())
        first = subscriber.receive(2)
        publisher.set_topology("cam1", make_topology(300, "other"))
        second = subscriber.receive(2)
    assert (first.name, second.name) == ("test", "other")
    assert second.seq > first.seq


def test_forty_streams_greet_a_late_joiner_through_a_queue_of_four():
    with Publisher(
        LOOPBACK, heartbeat_s=60, topology=make_topology(20_000), send_hwm=4
    ) as publisher:
        names = {f"cam{number}" for number in range(40)}
        for name in names:
            publisher.publish_status(live(name))
        with Subscriber(publisher.endpoint, newest=False) as subscriber:
            messages = [subscriber.receive(5) for _ in range(80)]
        assert publisher.counters.overruns == 0
    assert {m.stream for m in messages if isinstance(m, StatusMessage)} == names
    assert {m.stream for m in messages if isinstance(m, TopologyMessage)} == names


def test_statistics_are_sent_only_to_those_who_ask(publisher):
    publisher.publish_stats("cam1", {"fps": 30.0})
    with Subscriber(publisher.endpoint, "cam1/stats") as subscriber:
        eventually(lambda: publisher.wanted("cam1"))
        publisher.publish_stats("cam1", {"fps": 31.0})
        assert subscriber.receive(2).stats == {"fps": 31.0}


@pytest.mark.timed  # what sends and what reads must get the time to run
def test_bursts_of_every_kind_of_six_streams_arrive_whole_through_a_queue_of_four():
    """Most do: libzmq's thread may not run for a millisecond. Without a wait, one in four does."""
    whole = 0
    with (
        Publisher(LOOPBACK, heartbeat_s=60, send_hwm=4) as publisher,
        Subscriber(publisher.endpoint, newest=False) as subscriber,
    ):
        eventually(lambda: publisher.wanted("s0"))
        for seq in range(20):
            for stream in range(6):
                publisher.publish(make_result(f"s{stream}", seq))
            read = 0
            while read < 6 * 5 and subscriber.receive(0.5) is not None:
                read += 1
            whole += read == 6 * 5
    assert whole >= 12


def test_a_stalled_subscriber_costs_bounded_memory_and_delays_nobody(publisher):
    stalled = zmq.Context()
    sleeper = stalled.socket(zmq.SUB)
    sleeper.setsockopt(zmq.RCVHWM, 1)
    sleeper.subscribe(b"cam1/mesh")
    sleeper.connect(publisher.endpoint)
    try:
        with Subscriber(publisher.endpoint, "cam1/face") as reader:
            eventually(lambda: publisher.wanted("cam1") == {Kind.MESH, Kind.FACE})
            result = make_result(vertices=50_000)
            before = psutil.Process().memory_info().rss
            slowest = 0
            for seq in range(300):  # 180 MB
                face = replace(result.faces[0], vertices=result.faces[0].vertices.copy())
                began = publisher.publish(replace(with_seq(result, seq), faces=(face,)))
                slowest = max(slowest, time.monotonic_ns() - began)
                time.sleep(0.001)
            grown = psutil.Process().memory_info().rss - before
            assert reader.receive(2) is not None
        assert publisher.counters.overruns >= 1
        assert grown < 60e6
        assert slowest < 0.5e9
    finally:
        sleeper.close(linger=0)
        stalled.term()


def test_two_hundred_connections_of_random_bytes_change_nothing(publisher):
    host, _, port = publisher.endpoint.removeprefix("tcp://").rpartition(":")
    rng = np.random.default_rng(0)
    greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL" + bytes(16 + 32)
    peers = []
    for number in range(200):
        peer = socket.create_connection((host, int(port)), timeout=2)
        peers.append(peer)
        junk = rng.integers(0, 256, int(rng.integers(1, 3000)), np.uint8).tobytes()
        try:
            peer.sendall(greeting + junk if number % 2 else junk)
        except OSError:  # libzmq hangs up on nonsense
            continue
    for peer in peers:
        peer.close()
    with Subscriber(publisher.endpoint, "cam1/face") as subscriber:
        eventually(lambda: publisher.wanted("cam1") == {Kind.FACE})
        publisher.publish(make_result())
        assert subscriber.receive(2).seq == 0


def test_messages_of_peers_that_are_no_subscriptions_are_counted_and_ignored(publisher):
    context = zmq.Context()
    peer = context.socket(zmq.XSUB)
    peer.connect(publisher.endpoint)
    try:
        peer.send(b"\x01cam1/face")
        peer.send(b"hello")
        peer.send_multipart([b"\x07", b"two parts"])
        peer.send(b"\x01" + b"x" * 500)
        eventually(lambda: publisher.counters.ignored == 3)
        assert publisher.wanted("cam1") == {Kind.FACE}
    finally:
        peer.close(linger=0)
        context.term()


def test_publishing_from_several_threads_at_once_keeps_messages_whole():
    with (
        Publisher(LOOPBACK, heartbeat_s=60, send_hwm=1000) as publisher,
        Subscriber(publisher.endpoint, newest=False, receive_hwm=1000) as subscriber,
    ):
        eventually(lambda: publisher.wanted("s0"))

        def publish(stream: str) -> None:
            for seq in range(20):
                publisher.publish(make_result(stream, seq))
                time.sleep(0.002)

        threads = [threading.Thread(target=publish, args=(f"s{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(4 * 20 * 5):
            assert subscriber.receive(2) is not None
        for thread in threads:
            thread.join()
        assert (subscriber.gaps, subscriber.counters.errors) == (0, 0)


def test_a_bad_stream_name_is_refused_before_it_is_sent(publisher):
    with pytest.raises(InputError, match="cannot name a stream"):
        publisher.publish(make_result("a/b"))


def test_port_star_gives_the_real_port(publisher):
    port = int(publisher.endpoint.rpartition(":")[2])
    assert 1024 <= port < 65536


@pytest.mark.parametrize(
    ("bind", "complaint"),
    [
        ("tcp://8.8.8.8:5870", "is not an address of this machine"),
        ("tcp://no-such-host:5870", "is not an address of this machine"),
        ("tcp://127.0.0.1", "is malformed"),
        ("tcp://127.0.0.1:99999", "no such port"),
        ("http://127.0.0.1:5870", "unknown transport"),
        ("nonsense", "is malformed"),
        ("ipc:///nonexistent/folder/socket", "folder that does not exist"),
        ("ipc:///" + "x" * 200, "is too long"),
    ],
)
def test_a_bad_address_is_one_clear_line(bind, complaint):
    with pytest.raises(PublishError, match=complaint) as caught:
        Publisher(bind)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_a_port_in_use_is_said_so_with_the_next_step(publisher):
    with pytest.raises(PublishError, match=r"is in use .*another port"):
        Publisher(publisher.endpoint)


def test_localhost_can_be_bound():
    with Publisher("tcp://localhost:*") as publisher:
        assert publisher.endpoint.startswith("tcp://127.0.0.1:")


def test_an_ipc_file_serves_and_is_not_taken_over_while_in_use(tmp_path):
    bind = f"ipc://{tmp_path}/socket"
    with (
        Publisher(bind) as publisher,
        Subscriber(publisher.endpoint, "cam1/face") as subscriber,
    ):
        eventually(lambda: publisher.wanted("cam1"))
        with pytest.raises(PublishError, match="is in use"):
            Publisher(bind)
        publisher.publish(make_result())
        assert subscriber.receive(2).seq == 0
    Publisher(bind).close()


def test_an_ipc_file_left_by_a_crash_is_no_obstacle(tmp_path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(f"{tmp_path}/socket")
    left.close()
    Publisher(f"ipc://{tmp_path}/socket").close()


def test_inproc_works_within_one_context():
    context = zmq.Context()
    with (
        Publisher("inproc://faces", context=context) as publisher,
        Subscriber(publisher.endpoint, "cam1/face", context=context) as subscriber,
    ):
        eventually(lambda: publisher.wanted("cam1"))
        publisher.publish(make_result())
        assert subscriber.receive(2).seq == 0
    context.term()


def test_binding_to_all_interfaces_in_the_clear_warns_once(caplog):
    with caplog.at_level(logging.WARNING), Publisher("tcp://0.0.0.0:*"):
        pass
    assert len(caplog.records) == 1
    assert "not encrypted" in caplog.text


def test_binding_to_loopback_or_with_keys_does_not_warn(caplog, tmp_path):
    keys = CurveKeys.create(tmp_path)
    with caplog.at_level(logging.WARNING):
        Publisher(LOOPBACK, heartbeat_s=60).close()
        Publisher("tcp://0.0.0.0:*", curve=keys).close()
    assert not caplog.records


def test_with_keys_only_those_who_know_the_public_one_can_read(tmp_path):
    keys = CurveKeys.create(tmp_path)
    other, _ = zmq.curve_keypair()
    with (
        Publisher(LOOPBACK, heartbeat_s=60, curve=keys) as publisher,
        Subscriber(publisher.endpoint, "cam1/mesh", server_key=keys.public) as friend,
        Subscriber(publisher.endpoint, "cam1/depth", server_key=other.decode()) as stranger,
        Subscriber(publisher.endpoint, "cam1/depth") as plain,
    ):
        eventually(lambda: publisher.wanted("cam1") == {Kind.MESH})
        result = make_result(vertices=55_792)
        publisher.publish(result)
        message = friend.receive(2)
        np.testing.assert_array_equal(message.vertices[1], result.faces[0].vertices)
        assert stranger.receive(0.1) is None
        assert plain.receive(0.01) is None
        assert publisher.wanted("cam1") == {Kind.MESH}


def test_keys_are_written_for_their_owner_alone_and_read_back(tmp_path):
    keys = CurveKeys.create(tmp_path / "keys")
    secret = tmp_path / "keys" / "server.key_secret"
    assert CurveKeys.load(secret) == keys
    assert os.stat(secret).st_mode & 0o077 == 0


@pytest.mark.parametrize("text", [None, "", "rubbish", "metadata\n"])
def test_a_file_that_holds_no_secret_key_is_said_so(tmp_path, text):
    path = tmp_path / "some.key"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=r"some\.key"):
        CurveKeys.load(path)


def test_the_public_file_alone_is_not_enough(tmp_path):
    CurveKeys.create(tmp_path)
    with pytest.raises(InputError, match="only a public key"):
        CurveKeys.load(tmp_path / "server.key")


def test_the_last_message_before_closing_arrives():
    with Publisher(LOOPBACK, heartbeat_s=60) as publisher:
        subscriber = Subscriber(publisher.endpoint, "cam1/status")
        eventually(lambda: publisher.wanted("cam1"))
        publisher.publish_status(SourceStatus("cam1", SourceState.ENDED))
    with subscriber:
        assert subscriber.receive(2).state is SourceState.ENDED


@pytest.mark.timed
def test_closing_is_quick_repeatable_and_final(publisher):
    began = time.monotonic()
    publisher.close()
    publisher.close()
    assert time.monotonic() - began < 1.0
    assert publisher.publish(make_result()) > 0
    publisher.publish_status(live())
    assert not [thread for thread in threading.enumerate() if thread.name == "publish"]


def test_messages_read_by_a_plain_socket_decode(publisher):
    context = zmq.Context()
    plain = context.socket(zmq.SUB)
    plain.subscribe(b"cam1/mesh")
    plain.connect(publisher.endpoint)
    try:
        eventually(lambda: publisher.wanted("cam1"))
        publisher.publish(make_result())
        assert plain.poll(2000)
        assert decode(plain.recv_multipart()).seq == 0
    finally:
        plain.close(linger=0)
        context.term()
