"""The subscriber over real sockets: the newest, gaps, garbage, asyncio."""

import asyncio
import dataclasses
import time

import numpy as np
import pytest
import zmq

from streamprn import Publisher, Subscriber
from streamprn.errors import InputError
from streamprn.records import Kind, SourceState, SourceStatus
from streamprn.wire import FaceMessage, encode_faces, encode_frame
from tests.support.wire import eventually, make_result, with_seq


@pytest.fixture
def publisher():
    with Publisher("tcp://127.0.0.1:*") as publisher:
        yield publisher


@pytest.fixture
def sender():
    """A socket that sends what it is told to, also nonsense."""
    context = zmq.Context()
    xpub = context.socket(zmq.XPUB)
    xpub.setsockopt(zmq.SNDHWM, 10_000)
    xpub.bind("tcp://127.0.0.1:*")
    yield xpub
    xpub.close(linger=0)
    context.term()


def endpoint_of(sender) -> str:
    return sender.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")


def face_parts(seq: int, stream: str = "cam1") -> list[bytes]:
    result = make_result(stream, seq)
    faces = encode_faces(result, visible=True)
    return [bytes(part) for part in encode_frame(Kind.FACE, result, faces, 1)]


def test_of_several_waiting_messages_the_newest_of_each_kind_and_stream_comes(publisher):
    with Subscriber(publisher.endpoint, ["a/face", "a/mesh", "b/face"]) as subscriber:
        eventually(lambda: publisher.wanted("b"))
        for seq in range(5):
            publisher.publish(make_result("a", seq))
            publisher.publish(make_result("b", seq))
        time.sleep(0.2)
        got = [subscriber.receive(1) for _ in range(3)]
        assert {(m.stream, m.kind, m.seq) for m in got} == {
            ("a", Kind.FACE, 4),
            ("a", Kind.MESH, 4),
            ("b", Kind.FACE, 4),
        }
        assert subscriber.dropped_stale == 12
        assert subscriber.gaps == 0


def test_with_newest_off_every_message_comes_in_order(publisher):
    with Subscriber(publisher.endpoint, "cam1/face", newest=False) as subscriber:
        eventually(lambda: publisher.wanted("cam1"))
        for seq in range(20):
            publisher.publish(make_result(seq=seq))
        assert [subscriber.receive(1).seq for _ in range(20)] == list(range(20))
        assert subscriber.dropped_stale == 0


def test_missing_numbers_are_counted_as_gaps_of_their_stream(publisher):
    with Subscriber(publisher.endpoint, ["cam1/face", "cam2/face"], newest=False) as subscriber:
        eventually(lambda: publisher.wanted("cam2"))
        for seq in (0, 1, 4, 5, 10):
            publisher.publish(make_result("cam1", seq))
        publisher.publish(make_result("cam2", 7))
        for _ in range(6):
            assert subscriber.receive(1)
        assert subscriber.gaps == subscriber.gaps_of("cam1") == 2 + 4
        assert subscriber.gaps_of("cam2") == subscriber.gaps_of("cam") == 0


def test_a_publisher_that_starts_again_is_followed_and_no_gap(publisher):
    endpoint = publisher.endpoint
    with Subscriber(endpoint, "cam1/face", newest=False) as subscriber:
        eventually(lambda: publisher.wanted("cam1"))
        publisher.publish(make_result(seq=100))
        assert subscriber.receive(1).seq == 100
        publisher.close()
        with Publisher(endpoint) as again:
            # libzmq renews subscriptions when the socket is next used.
            eventually(lambda: subscriber.receive(0.01) or again.wanted("cam1"))
            again.publish(make_result(seq=0))
            again.publish(make_result(seq=1))
            assert [subscriber.receive(1).seq for _ in range(2)] == [0, 1]
        assert subscriber.gaps == 0


def test_a_publisher_may_start_after_its_subscriber():
    with Publisher("tcp://127.0.0.1:*") as first:
        endpoint = first.endpoint
    with Subscriber(endpoint, "cam1/face") as subscriber, Publisher(endpoint) as publisher:
        eventually(lambda: publisher.wanted("cam1"))
        publisher.publish(make_result())
        assert subscriber.receive(2).seq == 0


def test_garbage_is_counted_and_does_not_hide_good_messages(sender):
    rng = np.random.default_rng(0)
    with Subscriber(endpoint_of(sender), newest=False, receive_hwm=1000) as subscriber:
        sender.recv()
        good = face_parts(0)
        for seq in range(50):
            junk = [rng.bytes(int(rng.integers(0, 300))) for _ in range(int(rng.integers(1, 5)))]
            sender.send_multipart(junk)
            sender.send_multipart([b"cam1/face", rng.bytes(40)])
            sender.send_multipart([good[0], good[1][:-9]])
            sender.send_multipart(face_parts(seq))
        assert [subscriber.receive(1).seq for _ in range(50)] == list(range(50))
        counters = subscriber.counters
        assert counters.errors == 150
        assert counters.received == 200
        assert counters.last_error


def test_kinds_of_a_later_version_are_ignored_and_no_error(sender):
    with Subscriber(endpoint_of(sender)) as subscriber:
        sender.recv()
        sender.send_multipart([b"cam1/smell", b"\x80"])
        sender.send_multipart(face_parts(3))
        assert subscriber.receive(1).seq == 3
        assert (subscriber.counters.ignored, subscriber.counters.errors) == (1, 0)


def test_a_flood_of_topics_costs_bounded_memory(sender):
    with Subscriber(endpoint_of(sender), receive_hwm=10_000) as subscriber:
        sender.recv()
        parts = face_parts(0)
        for number in range(6000):
            sender.send_multipart([b"s%d/face" % number, parts[1]])
        sender.send_multipart(face_parts(0))
        while subscriber.counters.received < 6001:
            subscriber.receive(0.5)
        assert len(subscriber._seen) <= 4096


def test_received_messages_are_frozen_and_their_arrays_read_only(publisher):
    with Subscriber(publisher.endpoint, "cam1/mesh") as subscriber:
        eventually(lambda: publisher.wanted("cam1"))
        publisher.publish(make_result())
        message = subscriber.receive(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.seq = 3
    with pytest.raises(ValueError, match="read-only"):
        message.vertices[1][0, 0] = 0


def test_a_message_outlives_its_subscriber(publisher):
    result = make_result(vertices=50_000)
    with Subscriber(publisher.endpoint, "cam1/mesh") as subscriber:
        eventually(lambda: publisher.wanted("cam1"))
        publisher.publish(result)
        message = subscriber.receive(1)
    np.testing.assert_array_equal(message.vertices[1], result.faces[0].vertices)


@pytest.mark.timed
def test_receiving_in_vain_takes_as_long_as_was_said():
    with Subscriber("tcp://127.0.0.1:1") as subscriber:
        began = time.monotonic()
        assert subscriber.receive(0.15) is None
        assert 0.14 < time.monotonic() - began < 1.0
        assert subscriber.receive(0) is None


def test_iteration_ends_after_silence(publisher):
    with Subscriber(publisher.endpoint, "cam1/face", newest=False, timeout_s=0.3) as subscriber:
        eventually(lambda: publisher.wanted("cam1"))
        for seq in range(3):
            publisher.publish(make_result(seq=seq))
        assert [message.seq for message in subscriber] == [0, 1, 2]


def test_iteration_ends_when_closed(publisher):
    with Subscriber(publisher.endpoint, "cam1/face") as subscriber:
        eventually(lambda: publisher.wanted("cam1"))
        publisher.publish(make_result())
        for message in subscriber:
            assert isinstance(message, FaceMessage)
            subscriber.close()


def test_asynchronous_iteration_sees_every_message_while_others_run(publisher):
    async def read() -> tuple[list[int], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticker = asyncio.create_task(tick())
        with Subscriber(publisher.endpoint, "cam1/face", newest=False, timeout_s=0.4) as subscriber:
            while not publisher.wanted("cam1"):
                await asyncio.sleep(0.01)
            result = make_result()
            writer = asyncio.to_thread(publish_slowly, publisher, result)
            task = asyncio.create_task(writer)
            seen = [message.seq async for message in subscriber]
            await task
        ticker.cancel()
        return seen, ticks

    seen, ticks = asyncio.run(read())
    assert seen == list(range(10))
    assert ticks > 10


def publish_slowly(publisher: Publisher, result) -> None:
    for seq in range(10):
        publisher.publish(with_seq(result, seq))
        time.sleep(0.01 if seq % 2 else 0)


def test_asynchronous_receiving_times_out(publisher):
    async def read():
        with Subscriber(publisher.endpoint) as subscriber:
            return await subscriber.receive_async(0.05)

    assert asyncio.run(read()) is None


def test_a_status_between_frames_is_not_lost_to_the_newest_frame(publisher):
    with Subscriber(publisher.endpoint, "cam1") as subscriber:
        eventually(lambda: publisher.wanted("cam1"))
        publisher.publish_status(SourceStatus("cam1", SourceState.STALLED, "no frame for 3 s"))
        for seq in range(3):
            publisher.publish(make_result(seq=seq))
        time.sleep(0.1)
        kinds = [subscriber.receive(1).kind for _ in range(6)]
        assert kinds[0] is Kind.STATUS
        assert len(set(kinds)) == 6


@pytest.mark.parametrize("endpoint", ["", "nonsense", "tcp://127.0.0.1", "http://127.0.0.1:1"])
def test_a_malformed_address_is_one_clear_line_with_an_example(endpoint):
    with pytest.raises(InputError, match="write it like tcp://"):
        Subscriber(endpoint)


def test_a_port_beyond_the_last_is_refused():
    with pytest.raises(InputError, match="no such port"):
        Subscriber("tcp://127.0.0.1:70000")


@pytest.mark.parametrize("key", ["", "short", "é" * 40, " " * 40])
def test_a_malformed_server_key_is_said_so(key):
    with pytest.raises(InputError, match="40 characters"):
        Subscriber("tcp://127.0.0.1:1", server_key=key)
