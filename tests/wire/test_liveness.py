"""Signs of life: heartbeats, a publisher that dies, ends, or starts again."""

import io
import json
import subprocess
import sys
import threading
import time

import pytest

from streamprn import Publisher, Subscriber
from streamprn.apps import watch
from streamprn.errors import ConfigError, InputError
from streamprn.records import PUBLISHER, Kind, SourceState, SourceStatus
from streamprn.wire import StatusMessage
from streamprn.wire.subscribe import Life
from tests.support.wire import eventually, make_result, with_seq

LOOPBACK = "tcp://127.0.0.1:*"
BEAT_S = 0.2
# Publishes frames without a face until it is killed.
PROCESS = f"""
import sys, time
from dataclasses import replace
from streamprn import Publisher
from streamprn.records import SourceState, SourceStatus
from tests.support.wire import make_result, with_seq
with Publisher(sys.argv[1], heartbeat_s={BEAT_S}) as publisher:
    publisher.publish_status(SourceStatus("cam1", SourceState.LIVE))
    print(publisher.endpoint, flush=True)
    empty = make_result("cam1", faces=int(sys.argv[2]))
    for seq in range(1500):
        now = time.monotonic_ns()
        frame = replace(empty.frame, captured_ns=now)
        publisher.publish(with_seq(replace(empty, frame=frame), seq))
        time.sleep(0.02)
"""


class Process:
    """A publisher in a process of its own, on one port for as long as it is needed."""

    def __init__(self, faces: int = 0) -> None:
        self._faces = faces
        self.endpoint = LOOPBACK
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, self.endpoint, str(self._faces)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.endpoint = self._process.stdout.readline().strip()

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture
def process():
    process = Process(faces=1)
    yield process
    process.kill()


def states(subscriber, seconds):
    """What `liveness` says over a while, each state once, while messages are read."""
    seen = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        subscriber.receive(0.02)
        state = subscriber.liveness().state
        if not seen or seen[-1] is not state:
            seen.append(state)
    return seen


@pytest.mark.timed
def test_a_subscriber_of_faces_alone_tells_a_dead_publisher_from_an_empty_street(process):
    with Subscriber(process.endpoint, "cam1/face") as subscriber:
        assert subscriber.liveness().state is Life.WAITING
        eventually(lambda: states(subscriber, 0.1)[-1] is Life.ALIVE)
        run = subscriber.liveness().run
        process.kill()
        killed = time.monotonic()
        eventually(lambda: states(subscriber, 0.05)[-1] is Life.SILENT)
        assert time.monotonic() - killed < 2 * BEAT_S + 1.0
        assert subscriber.liveness().silent_s > 2 * BEAT_S
        process.start()
        eventually(lambda: states(subscriber, 0.1)[-1] is Life.ALIVE)
        assert subscriber.liveness().run != run
        assert subscriber.liveness().restarts == 1


def test_a_publisher_without_frames_stays_alive_and_its_heartbeat_is_not_in_the_way():
    with (
        Publisher(LOOPBACK, heartbeat_s=BEAT_S) as publisher,
        Subscriber(publisher.endpoint, ["cam1/face", "cam1/mesh"]) as subscriber,
    ):
        eventually(lambda: subscriber.liveness().state is Life.ALIVE)
        assert subscriber.receive(3 * BEAT_S) is None
        assert subscriber.liveness().state is Life.ALIVE
        assert subscriber.counters.received == 0
        assert publisher.wanted("cam1") == {Kind.FACE, Kind.MESH}


def test_a_publisher_that_closes_says_so():
    with Publisher(LOOPBACK) as publisher:
        subscriber = Subscriber(publisher.endpoint, "cam1/face")
        eventually(lambda: subscriber.liveness().state is Life.ALIVE)
    with subscriber:
        eventually(lambda: subscriber.liveness().state is Life.ENDED)


def test_who_asks_for_the_heartbeat_gets_it():
    with (
        Publisher(LOOPBACK, heartbeat_s=BEAT_S) as publisher,
        Subscriber(publisher.endpoint, f"{PUBLISHER}/status") as subscriber,
    ):
        first, second = subscriber.receive(2), subscriber.receive(2)
    assert isinstance(first, StatusMessage)
    assert first.state is SourceState.LIVE
    assert first.interval_ns == round(BEAT_S * 1e9)
    assert first.run == second.run == publisher.run
    assert second.seq == first.seq + 1


def test_a_status_is_repeated_with_the_age_of_the_last_frame_and_its_number():
    with (
        Publisher(LOOPBACK, heartbeat_s=BEAT_S) as publisher,
        Subscriber(publisher.endpoint, "cam1/status", newest=False) as subscriber,
    ):
        publisher.publish_status(SourceStatus("cam1", SourceState.LIVE, wall_ns=7))
        first = subscriber.receive(2)
        assert (first.frame_age_ns, first.frame_seq) == (None, None)
        publisher.publish(with_seq(make_result("cam1"), 41))
        repeated = subscriber.receive(2)
        while repeated.frame_seq is None:
            repeated = subscriber.receive(2)
    assert (repeated.state, repeated.frame_seq, repeated.stamps.wall) == (SourceState.LIVE, 41, 7)
    assert repeated.frame_age_ns > 0


def test_a_stream_that_was_removed_beats_no_longer():
    with (
        Publisher(LOOPBACK, heartbeat_s=BEAT_S) as publisher,
        Subscriber(publisher.endpoint, "", newest=False) as subscriber,
    ):
        publisher.publish_status(SourceStatus("cam1", SourceState.LIVE))
        assert subscriber.receive(2).stream == "cam1"
        publisher.forget("cam1")
        while subscriber.receive(0.1) is not None:
            pass
        assert subscriber.receive(3 * BEAT_S) is None


def test_no_source_takes_the_name_of_the_publisher():
    from streamprn.config import Config
    from streamprn.config.address import free_name

    with pytest.raises(ConfigError, match="name"):
        Config.from_mapping({"sources": [{"uri": "0", "name": PUBLISHER}]})
    assert free_name(PUBLISHER, ()) == f"{PUBLISHER}-2"
    with Publisher(LOOPBACK) as publisher, pytest.raises(InputError, match="own"):
        publisher.publish_status(SourceStatus(PUBLISHER, SourceState.LIVE))


def run_watch(endpoint, **options):
    out, stop = io.StringIO(), threading.Event()
    thread = threading.Thread(
        target=watch.run, args=(endpoint,), kwargs={"out": out, "stop": stop, **options}
    )
    thread.start()

    def end():
        stop.set()
        thread.join(5)
        assert not thread.is_alive()

    return out, end


def test_watch_says_that_a_publisher_was_killed_shows_nothing_stale_and_goes_on(process):
    out, end = run_watch(process.endpoint)
    try:
        eventually(lambda: "cam1 live" in out.getvalue() and "yaw=" in out.getvalue(), 10)
        process.kill()
        eventually(lambda: "silent for" in out.getvalue(), 5)
        line = out.getvalue().splitlines()[-1]
        assert line.startswith("cam1 silent ") and 'cause="silent for ' in line
        assert not any(f"{key}=" in line for key in ("yaw", "faces", "age", "fps"))
        at = len(out.getvalue())
        process.start()
        eventually(lambda: "cam1 live" in out.getvalue()[at:] and "yaw=" in out.getvalue()[at:], 10)
    finally:
        end()


def test_watch_json_tells_silence_and_return(process):
    out, end = run_watch(process.endpoint, topics=["cam1/face"], json_lines=True)

    def changes():
        lines = [json.loads(line) for line in out.getvalue().splitlines()]
        return [line for line in lines if line["kind"] == "liveness"]

    try:
        eventually(lambda: '"face"' in out.getvalue(), 10)
        process.kill()
        eventually(lambda: [line["state"] for line in changes()] == ["silent"])
        process.start()
        eventually(lambda: [line["state"] for line in changes()][1:] == ["alive"])
        assert changes()[1]["restarts"] == 1
    finally:
        end()


def test_watch_shows_no_stale_face_of_a_stream_that_stalled():
    board = watch.Board(local=True)
    with (
        Publisher(LOOPBACK) as publisher,
        Subscriber(publisher.endpoint, "cam1/face") as subscriber,
    ):
        eventually(lambda: publisher.wanted("cam1"))
        publisher.publish(make_result("cam1", faces=1))
        message = subscriber.receive(2)
        board.hear(subscriber.liveness())
    board.note(message)
    fresh = board.lines(message.received_ns + 1_000_000)[0]
    stale = board.lines(message.received_ns + 2_100_000_000)[0]
    assert "yaw=" in fresh and "faces=1" in fresh
    assert not any(f"{key}=" in stale for key in ("yaw", "faces", "age"))
