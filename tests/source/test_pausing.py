"""Pausing: files keep their place and their schedule, live sources disconnect meanwhile."""

from __future__ import annotations

import itertools
import socket
import time

import cv2
import numpy as np
import pytest

from streamprn.records import SourceState
from tests.support.rtsp_server import BlackHole, RtspServer
from tests.support.wire import eventually

LIVE, PAUSED, CONNECTING = SourceState.LIVE, SourceState.PAUSED, SourceState.CONNECTING
PAUSE_S = 0.6


@pytest.fixture(scope="module")
def clip(clips):
    return clips.moving(frames=45)


def pause(player) -> float:
    """Pause; return how long the call took, once the source says that it is paused."""
    began = time.monotonic()
    player.reader.pause()
    took = time.monotonic() - began
    player.wait_for(PAUSED)
    return took


def rest(player) -> None:
    """Spend the pause, in which no frame may come."""
    player.channel.clear()
    assert player.take(1, timeout=PAUSE_S) == []
    assert player.reader.status.state is PAUSED


# -- what keeps its place ------------------------------------------------------------------------


@pytest.mark.timed
def test_a_paced_file_goes_on_with_the_next_frame_and_none_is_late(clip, play):
    player = play(clip.uri, realtime=True, capacity=100)
    before = player.take(10)
    assert pause(player) < 0.05
    before += player.take(100, timeout=0.1)
    rest(player)
    player.reader.resume()
    after = player.take()
    frames = before + after
    assert [frame.seq for frame in frames] == list(range(45))
    due = np.array([frame.captured_ns for frame in frames])
    steps = np.diff(due)
    assert steps[len(before) - 1] > PAUSE_S * 1e9
    np.testing.assert_allclose(np.delete(steps, len(before) - 1), 1e9 / 30, atol=1e3)
    late = [frame.decoded_ns - frame.captured_ns for frame in after]
    assert np.median(late) < 15e6
    assert [frame.pts_ns for frame in frames] == sorted(frame.pts_ns for frame in frames)
    assert player.states == [CONNECTING, LIVE, PAUSED, LIVE, SourceState.ENDED]


@pytest.mark.timed
def test_a_pause_while_the_taker_is_late_makes_no_frame_later(clips, play):
    player = play(clips.still(frames=45).uri, realtime=True, capacity=1)
    first = player.take(3)
    player.reader.pause()
    time.sleep(PAUSE_S)
    player.reader.resume()
    frames = first + player.take()
    assert [frame.seq for frame in frames] == list(range(45))
    assert max(frame.decoded_ns - frame.captured_ns for frame in frames[6:]) < 0.5 * PAUSE_S * 1e9


def test_a_file_read_as_fast_as_possible_keeps_its_place(clip, play):
    player = play(clip.uri, capacity=2)
    frames = player.take(10)
    player.reader.pause()
    frames += player.take(100, timeout=0.3)
    player.wait_for(PAUSED)
    assert len(frames) <= 14
    rest(player)
    player.reader.resume()
    frames += player.take()
    assert [frame.seq for frame in frames] == list(range(45))


def test_a_folder_and_a_filter_graph_keep_their_place(tmp_path, play):
    for index in range(20):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((4, 4 + index, 3), 9, np.uint8))
    folder = play(str(tmp_path), realtime=True, image_fps=50)
    graph = play("lavfi:testsrc2=size=64x48:rate=50:duration=0.4", realtime=True)
    for player in (folder, graph):
        frames = player.take(5)
        pause(player)
        frames += player.take(100, timeout=0.1)
        rest(player)
        player.reader.resume()
        frames += player.take()
        assert [frame.seq for frame in frames] == list(range(20))
        steps = np.diff([frame.captured_ns for frame in frames])
        assert (steps > 0.9 * PAUSE_S * 1e9).sum() == 1
        np.testing.assert_allclose(np.sort(steps)[:-1], 2e7, atol=1e3)


def test_a_file_may_be_paused_before_it_starts_and_more_than_once(clip, play):
    player = play(clip.uri, realtime=True, capacity=100, start=False)
    player.reader.pause()
    player.reader.pause()
    player.reader.start()
    player.wait_for(PAUSED)
    rest(player)
    assert LIVE not in player.states
    player.reader.resume()
    player.reader.resume()
    frames = player.take(5)
    for _ in range(3):
        player.reader.pause()
        time.sleep(0.05)
        player.reader.resume()
    frames += player.take()
    assert [frame.seq for frame in frames] == list(range(45))


# -- what disconnects ----------------------------------------------------------------------------


@pytest.mark.timed
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_network_stream_disconnects_and_comes_back_at_once(clip, play, transport):
    with RtspServer([clip.path]) as server:
        player = play(server.url, rtsp_transport=transport, backoff_initial_s=30, backoff_max_s=60)
        before = player.take(3)[-1]
        assert pause(player) < 0.05
        assert server.wait_for_clients(0, 1), "the connection is closed"
        rest(player)
        began = time.monotonic()
        player.reader.resume()
        (after,) = player.take(1)
        assert time.monotonic() - began < 1.0
        assert after.seq > before.seq
        assert after.pts_ns > before.pts_ns
        assert player.states == [CONNECTING, LIVE, PAUSED, CONNECTING, LIVE]
        assert player.reader.counters.reconnects == 0


def test_a_pause_too_short_to_be_seen_disconnects_without_an_error(clip, play):
    with RtspServer([clip.path]) as server:
        player = play(server.url, backoff_initial_s=30, backoff_max_s=60)
        player.take(3)
        for _ in range(20):
            player.reader.pause()
            player.reader.resume()
        player.channel.clear()
        assert len(player.take(5)) == 5
        assert {SourceState.STALLED, SourceState.RECONNECTING}.isdisjoint(player.states)


@pytest.mark.timed
def test_a_pause_does_not_wait_for_a_stalled_server(clip, play):
    with RtspServer([clip.path]) as server:
        player = play(server.url, stall_timeout_s=30.0)
        player.take(3)
        server.stalled = True
        time.sleep(0.3)
        began = time.monotonic()
        pause(player)
        assert time.monotonic() - began < 0.5
        assert server.wait_for_clients(0, 1)
        server.stalled = False
        player.channel.clear()
        player.reader.resume()
        assert player.take(1)
        assert SourceState.STALLED not in player.states


@pytest.mark.timed
def test_a_pause_interrupts_connecting(play):
    with BlackHole() as hole:
        player = play(f"rtsp://127.0.0.1:{hole.port}/x", open_timeout_s=30.0)
        time.sleep(0.3)
        assert hole.connections == 1
        began = time.monotonic()
        pause(player)
        assert time.monotonic() - began < 0.5
        assert SourceState.RECONNECTING not in player.states


def test_resuming_does_not_wait_for_the_delay_between_connections(clip, play):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    player = play(f"rtsp://127.0.0.1:{port}/x", backoff_initial_s=30, backoff_max_s=60)
    player.wait_for(SourceState.RECONNECTING)
    pause(player)
    count = player.tries
    player.reader.resume()
    eventually(lambda: player.tries > count, 1)
    assert player.tries == count + 1


# -- stopping ------------------------------------------------------------------------------------


@pytest.mark.timed
@pytest.mark.parametrize("live", [False, True], ids=["file", "network"])
def test_stopping_while_paused_takes_no_time(clip, play, live):
    with RtspServer([clip.path]) as server:
        player = play(server.url if live else clip.uri, realtime=True)
        player.take(2)
        pause(player)
        assert player.stop() < 0.1
        assert player.reader.status.state is SourceState.ENDED
        assert player.reader.status.cause == "stopped"


@pytest.mark.timed
@pytest.mark.parametrize("live", [False, True], ids=["file", "network"])
def test_stopping_without_patience_returns_at_once_and_the_thread_ends_soon(clip, play, live):
    with RtspServer([clip.path]) as server:
        player = play(server.url if live else clip.uri, realtime=True, stall_timeout_s=30.0)
        player.take(2)
        server.stalled = True
        time.sleep(0.2)
        began = time.monotonic()
        player.reader.stop(timeout=0)
        assert time.monotonic() - began < 0.05
        assert player.reader.join(0.8)


def test_frames_are_numbered_from_where_another_reader_left_off(clip, play):
    frames = play(clip.uri, first_seq=1000).take()
    assert [frame.seq for frame in frames] == list(range(1000, 1045))
    assert all(a.pts_ns < b.pts_ns for a, b in itertools.pairwise(frames))
