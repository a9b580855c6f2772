"""Recordings played again: what a subscriber sees."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from streamprn import Publisher, Subscriber
from streamprn.errors import InputError
from streamprn.records import Kind, SourceState
from streamprn.wire import StatusMessage, TopologyMessage
from streamprn.wire.record import Recorder
from streamprn.wire.replay import Replay, find
from tests.support.wire import eventually, make_result, make_topology

LOOPBACK = "tcp://127.0.0.1:*"
INTERVAL_NS = 40_000_000


@pytest.fixture
def recording(tmp_path):
    """Two streams of six frames, 40 ms apart; the results."""
    recorder = Recorder(tmp_path, make_topology(20), (Kind.FACE, Kind.MESH))
    results = []
    for stream in ("door", "yard"):
        for seq in range(3, 9):
            result = make_result(stream, seq=seq, vertices=20)
            moment = 10**18 + seq * INTERVAL_NS
            frame = replace(
                result.frame, wall_ns=moment, captured_ns=moment, decoded_ns=moment + 1_000_000
            )
            result = replace(
                result, frame=frame, tracked_ns=moment + 2_000_000, inferred_ns=moment + 3_000_000
            )
            recorder.take(result, moment + 5_000_000)
            results.append(result)
    recorder.close()
    return tmp_path, results


def played(folder, topics, *, speed=1.0, times=1):
    """What a subscriber gets of a replay, but for states; and how long that took."""
    messages = []
    with (
        Publisher(LOOPBACK, heartbeat_s=60) as publisher,
        Subscriber(publisher.endpoint, topics, newest=False, receive_hwm=1000) as subscriber,
    ):
        eventually(lambda: publisher.wanted("door") or publisher.wanted("yard"))
        replay = Replay(find(folder), publisher, speed)
        began = time.monotonic()
        for _ in range(times):
            replay.play(threading.Event())
        took = time.monotonic() - began
        replay.end()
        while (message := subscriber.receive(0.3)) is not None:
            messages.append(message)
    return messages, took


def test_a_replay_gives_the_recorded_faces_and_meshes_with_the_stamps_of_now(recording):
    folder, results = recording
    before = time.monotonic_ns()
    messages, _ = played(folder, ["door/", "yard/"])
    for stream in ("door", "yard"):
        truths = [result for result in results if result.frame.stream == stream]
        faces = [m for m in messages if m.stream == stream and m.kind is Kind.FACE]
        meshes = [m for m in messages if m.stream == stream and m.kind is Kind.MESH]
        assert [m.seq for m in faces] == [m.seq for m in meshes] == list(range(3, 9))
        for truth, face, mesh in zip(truths, faces, meshes, strict=True):
            (one,) = truth.faces
            assert np.array_equal(mesh.vertices[one.id], one.vertices)
            assert face.faces[0].pose.yaw == pytest.approx(one.pose.yaw)
            assert before < face.stamps.captured < face.stamps.published < time.monotonic_ns()
            assert face.stamps.published - face.stamps.captured == 5_000_000
            assert abs(face.stamps.wall - time.time_ns()) < 10e9


def test_a_replay_tells_the_topology_and_the_states(recording):
    folder, _ = recording
    messages, _ = played(folder, "door/")
    (topology,) = [m for m in messages if isinstance(m, TopologyMessage)]
    assert np.array_equal(topology.triangles, make_topology(20).triangles)
    states = [m.state for m in messages if isinstance(m, StatusMessage)]
    assert states == [SourceState.LIVE, SourceState.ENDED]


@pytest.mark.timed
@pytest.mark.parametrize(("speed", "least", "most"), [(1.0, 0.19, 2.0), (4.0, 0.04, 0.19)])
def test_a_replay_keeps_the_pace(recording, speed, least, most):
    folder, _ = recording
    _, took = played(folder, "door/face", speed=speed)
    assert least < took < most


def test_frames_are_numbered_on_where_a_recording_starts_again(recording):
    folder, _ = recording
    messages, _ = played(folder, "door/face", speed=50, times=2)
    assert [m.seq for m in messages] == list(range(3, 15))


@pytest.mark.timed
def test_long_pauses_are_passed_over(tmp_path):
    recorder = Recorder(tmp_path, make_topology(20))
    for seq, moment in enumerate((10**18, 10**18 + 3600 * 10**9)):
        result = make_result("door", seq=seq)
        frame = replace(result.frame, wall_ns=moment, captured_ns=moment)
        recorder.take(replace(result, frame=frame), moment)
    recorder.close()
    messages, took = played(tmp_path, "door/face")
    assert [m.seq for m in messages] == [0, 1]
    assert took < 3


def test_one_stream_or_one_file_can_be_played(recording):
    folder, _ = recording
    assert list(find(folder)) == ["door", "yard"]
    assert list(find(folder / "door")) == ["door"]
    (file,) = find(folder)["door"]
    assert find(file) == {file.stem: [file]}


def test_what_is_no_recording_is_said(tmp_path):
    with pytest.raises(InputError, match="no recording in it"):
        find(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        find(tmp_path / "missing")


def test_damage_costs_the_rest_of_a_file_and_not_the_replay(recording, caplog):
    folder, _ = recording
    (file,) = find(folder)["door"]
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)
    messages, _ = played(folder, ["door/face", "yard/face"], speed=50)
    assert "damaged" in caplog.text
    assert len([m for m in messages if m.stream == "yard"]) == 6
    assert len([m for m in messages if m.stream == "door"]) == 6
