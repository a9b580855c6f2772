from __future__ import annotations

import itertools
import logging
import socket
import time

import pytest

from streamprn.records import SourceState
from streamprn.source.timing import Backoff
from tests.support.rtsp_server import BlackHole, RtspServer
from tests.support.wire import eventually


@pytest.fixture(scope="module")
def clip(clips):
    return clips.moving(frames=45)


@pytest.mark.timed
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_the_first_frame_comes_within_half_a_second(clip, play, transport):
    with RtspServer([clip.path]) as server:
        player = play(server.url, rtsp_transport=transport)
        (frame,) = player.take(1)
        assert time.monotonic() - player.started < 0.5
        assert (frame.image.width, frame.image.height) == (640, 480)
        assert frame.image.planes is not None
        assert player.states == [SourceState.CONNECTING, SourceState.LIVE]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_time_stamps_grow_over_the_servers_loops(clip, play, transport):
    with RtspServer([clip.path], fps=90) as server:
        frames = play(server.url, rtsp_transport=transport, capacity=200).take(100)
        assert [frame.seq for frame in frames] == list(range(100))
        times = [frame.pts_ns for frame in frames]
        assert all(a < b for a, b in itertools.pairwise(times))
        assert all(frame.captured_ns <= frame.decoded_ns for frame in frames)


@pytest.mark.timed
def test_a_slow_taker_gets_the_newest_frame_and_gaps_in_seq(clip, play):
    with RtspServer([clip.path], fps=60) as server:
        player = play(server.url, capacity=1)
        first = player.take(1)[0]
        time.sleep(0.5)
        later = player.take(1)[0]
        assert later.seq - first.seq > 10
        assert time.monotonic_ns() - later.captured_ns < 150e6
        assert player.reader.counters.dropped >= later.seq - first.seq - 2


@pytest.mark.timed
def test_a_stall_is_reported_and_the_stream_comes_back(clip, play):
    with RtspServer([clip.path]) as server:
        player = play(server.url, stall_timeout_s=0.5)
        player.take(3)
        server.stalled = True
        began = time.monotonic()
        cause = player.wait_for(SourceState.STALLED).cause
        assert time.monotonic() - began < 1.5
        assert cause == "no frame for 0.5 s"
        server.stalled = False
        player.wait_for(SourceState.RECONNECTING)
        player.channel.clear()
        assert len(player.take(3)) == 3
        assert player.reader.counters.reconnects >= 1


def test_a_server_that_dies_and_returns_is_found_again(clip, play):
    with RtspServer([clip.path]) as server:
        player = play(server.url, backoff_max_s=0.3)
        before = player.take(3)[-1]
        server.vanish()
        assert "ended" in player.wait_for(SourceState.RECONNECTING).cause
        player.wait_for_cause("connection refused")
        player.channel.clear()
        server.come_back()
        after = player.take(3)
        assert len(after) == 3
        assert after[0].seq > before.seq
        assert after[0].pts_ns > before.pts_ns
        assert player.reader.status.state is SourceState.LIVE


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_credentials_work_and_wrong_ones_are_retried_slowly(clip, play, caplog, auth):
    caplog.set_level(logging.DEBUG)
    with RtspServer([clip.path], credentials=("admin", "s3cr&t"), auth=auth) as server:
        assert play(server.url_with("admin", "s3cr%26t")).take(1)
        player = play(server.url_with("admin", "wr0ng"))
        report = player.wait_for(SourceState.RECONNECTING)
        assert "refuses the credentials (401)" in report.cause
        time.sleep(0.6)
        assert player.tries == 1, "no quick second try"
        shown = " ".join(report.cause for report in player.reports) + caplog.text
        shown += repr((player.reader.config, player.reader.address))
        assert "wr0ng" not in shown
        assert "admin" not in shown


@pytest.mark.timed
def test_a_wrong_path_is_reported_as_such(clip, play):
    with RtspServer([clip.path]) as server:
        player = play(server.url.replace("/live", "/nowhere"))
        assert "no such path (404)" in player.wait_for(SourceState.RECONNECTING).cause
        # Servers say so until the camera publishes: it is tried again soon, at the defaults.
        eventually(lambda: player.tries >= 2, 1.5)


def test_refusals_are_tried_soon_at_first_and_wrong_passwords_are_not():
    backoff = Backoff(0.25, 8.0, 30.0)
    waits = [backoff.next_s(refused=True) for _ in range(12)]
    assert waits[0] < 0.5
    assert max(waits) <= 30.0
    assert waits[-1] > 20.0
    assert backoff.next_s(for_good=True) > 20.0
    backoff.reset()
    assert max(backoff.next_s() for _ in range(12)) <= 8.0


@pytest.mark.timed
@pytest.mark.parametrize(
    ("refusal", "away", "here", "often"),
    [
        ("no such path", {"path": "/away"}, {"path": "/live"}, True),
        # Cameras lock an account after a few wrong passwords.
        ("refuses the credentials", {"credentials": ("a", "b")}, {"credentials": None}, False),
    ],
)
def test_what_worked_and_is_refused_is_tried_again_as_often_as_what_is_away(
    clip, play, refusal, away, here, often
):
    with RtspServer([clip.path]) as server:
        player = play(server.url, backoff_initial_s=0.05, backoff_max_s=0.1, backoff_refused_s=30.0)
        player.take(3)
        _set(server, away)
        server.drop_clients()
        player.wait_for(SourceState.RECONNECTING)
        tries = player.tries
        if often:
            eventually(lambda: player.tries - tries >= 10, 2.5)
        else:
            time.sleep(2.5)
            assert player.tries - tries <= 7
        player.wait_for_cause(refusal, timeout=0.5)
        _set(server, here)
        if often:
            player.channel.clear()
            assert len(player.take(3)) == 3


def _set(server, switches):
    for name, value in switches.items():
        setattr(server, name, value)


def test_damaged_pictures_are_counted_and_skipped(clip, play):
    with RtspServer([clip.path], fps=60, corrupt=0.2) as server:
        player = play(server.url, capacity=200)
        assert len(player.take(40)) == 40
        assert player.reader.counters.corrupt > 0
        assert player.reader.counters.reconnects == 0


def test_pictures_may_change_size_in_mid_stream(clip, clips, play):
    small = clips.still(frames=15, width=320, height=240)
    with RtspServer([small.path, clip.path], fps=60) as server:
        frames = play(server.url, capacity=200).take(60)
        sizes = [(frame.image.width, frame.image.height) for frame in frames]
        assert set(sizes) == {(320, 240), (640, 480)}
        for frame in (frames[0], frames[-1]):
            assert frame.image.rgb.shape == (frame.image.height, frame.image.width, 3)


def test_a_stream_that_leaves_the_crop_box_says_so(clip, clips, play):
    small = clips.still(frames=15, width=320, height=240)
    with RtspServer([clip.path, small.path], fps=90) as server:
        player = play(server.url, crop=(200, 100, 400, 300), capacity=200)
        assert player.take(5)[0].image.rgb.shape == (300, 400, 3)
        cause = player.wait_for(SourceState.RECONNECTING).cause
        assert "lies outside the 320x240 frame" in cause


# -- stopping ------------------------------------------------------------------------------------


@pytest.mark.timed
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_stopping_does_not_wait_for_a_stalled_server(clip, play, transport):
    with RtspServer([clip.path]) as server:
        player = play(server.url, rtsp_transport=transport, stall_timeout_s=30.0)
        player.take(3)
        server.stalled = True
        time.sleep(0.3)
        assert player.stop() < 0.8
        assert player.states[-1] is SourceState.ENDED
        assert SourceState.STALLED not in player.states
        assert server.wait_for_clients(0, 2), "the socket is closed"


@pytest.mark.timed
def test_stopping_does_not_wait_for_a_server_that_never_answers(play):
    with BlackHole() as hole:
        player = play(f"rtsp://127.0.0.1:{hole.port}/x", open_timeout_s=30.0)
        time.sleep(0.3)
        assert hole.connections == 1
        assert player.stop() < 0.8


def test_a_server_that_never_answers_is_given_up_in_time(play):
    with BlackHole() as hole:
        player = play(f"rtsp://127.0.0.1:{hole.port}/x", open_timeout_s=0.4)
        assert "no answer in time" in player.wait_for(SourceState.RECONNECTING, 3).cause


@pytest.mark.timed
def test_stopping_interrupts_the_delay_between_connections(play):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    player = play(f"rtsp://127.0.0.1:{port}/x", backoff_initial_s=8.0, backoff_max_s=8.0)
    assert "connection refused" in player.wait_for(SourceState.RECONNECTING).cause
    assert player.stop() < 0.2


def test_garbage_in_place_of_a_server_is_an_error_and_no_hang(play):
    with BlackHole(b"\x00\xff" * 4000) as hole:
        player = play(f"rtsp://127.0.0.1:{hole.port}/x", open_timeout_s=0.5)
        assert player.wait_for(SourceState.RECONNECTING, 4).cause


def test_other_readers_go_on_when_one_is_stopped(clip, play):
    with RtspServer([clip.path]) as server:
        one, other = play(server.url), play(server.url)
        one.take(2)
        other.take(2)
        one.stop()
        other.channel.clear()
        assert len(other.take(5)) == 5
        assert other.states[-1] is SourceState.LIVE
