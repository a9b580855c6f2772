from __future__ import annotations

import itertools
import shutil
import time

import cv2
import numpy as np
import pytest

from streamprn.records import SourceState
from tests.support.clips import draw, encode
from tests.support.http_server import HttpServer, write_hls
from tests.support.rtsp_server import BlackHole


@pytest.fixture(scope="module")
def images(clips):
    clip = clips.moving(frames=45)
    return [draw(transforms, 320, 240) for transforms in clip.transforms[:10]]


@pytest.mark.timed
def test_mjpeg_plays_at_once(images, play):
    with HttpServer(images) as server:
        player = play(server.url("/mjpeg"), capacity=100)
        frames = player.take(10)
        assert frames[0].captured_ns / 1e9 - player.started < 0.5
        difference = np.abs(frames[0].image.rgb.astype(int) - images[0].astype(int))
        assert difference.mean() < 6
        assert frames[0].image.planes.full_range


def test_mjpeg_credentials_are_used_and_never_shown(images, play):
    with HttpServer(images, credentials=("admin", "hunter2")) as server:
        assert play(server.url("/mjpeg", "admin:hunter2")).take(1)
        player = play(server.url("/mjpeg?token=abc", "admin:wr0ng"))
        cause = player.wait_for(SourceState.RECONNECTING).cause
        assert "refuses the credentials (401)" in cause
        assert not any(secret in cause for secret in ("admin", "wr0ng", "abc"))


def test_hls_arrives_in_bursts_but_plays_at_its_own_speed(clips, play, tmp_path):
    clip = clips.moving(frames=45)
    write_hls(clip.path, tmp_path)
    with HttpServer(folder=tmp_path) as server:
        player = play(server.url("/live.m3u8"), capacity=2)
        frames = player.take(timeout=6)
        assert len(frames) == 45
        length_s = (frames[-1].captured_ns - frames[0].captured_ns) / 1e9
        assert length_s == pytest.approx(44 / 30, rel=0.1)
        assert player.wait_for(SourceState.ENDED).cause == ""


@pytest.mark.timed
@pytest.mark.parametrize(
    "greeting",
    [
        b"",
        b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n--b\r\n",
    ],
    ids=["never answers", "stops after its header"],
)
def test_stopping_does_not_wait_for_a_silent_server(play, greeting):
    with BlackHole(greeting) as hole:
        player = play(f"http://127.0.0.1:{hole.port}/x", open_timeout_s=30.0, stall_timeout_s=30.0)
        time.sleep(0.3)
        assert player.stop() < 0.8


def test_a_film_with_its_index_at_its_end_plays_by_ranges(clips, play, tmp_path):
    shutil.copy(clips.moving(frames=45).path, tmp_path / "clip.mp4")
    with HttpServer(folder=tmp_path, ranges=True) as server:
        player = play(server.url("/clip.mp4"), capacity=100)
        assert len(player.take(timeout=5)) == 45
        assert player.wait_for(SourceState.ENDED).cause == ""


def test_a_film_with_its_index_at_its_end_says_what_it_needs(clips, play, tmp_path):
    # This server cannot go back from there.
    shutil.copy(clips.moving(frames=45).path, tmp_path / "clip.mp4")
    with HttpServer(folder=tmp_path) as server:
        player = play(server.url("/clip.mp4"))
        cause = player.wait_for(SourceState.RECONNECTING).cause
    assert "/***: the index of this film stands at its end" in cause
    assert "serve it with byte ranges, or write it with -movflags +faststart" in cause


# -- once live, always live ------------------------------------------------------------------------


@pytest.mark.timed
def test_an_address_of_single_pictures_is_polled_at_its_rate(images, play):
    with HttpServer(images) as server:
        player = play(server.url("/snap.jpg"), capacity=100, poll_fps=10, stall_timeout_s=0.3)
        frames = player.take(8, timeout=4)
        took = time.monotonic() - player.started
        player.stop()
        assert len(frames) == 8
        assert 0.6 < took < 2.5
        assert player.states == [SourceState.CONNECTING, SourceState.LIVE, SourceState.ENDED]
        assert len(server.requests) <= took * 10 + 2
    for frame, image in zip(frames, images, strict=False):
        assert np.abs(frame.image.rgb.astype(int) - image.astype(int)).mean() < 6
    steps = np.diff([frame.pts_ns for frame in frames]) / 1e9
    assert steps[1:].mean() == pytest.approx(0.1, abs=0.06)


def test_a_snapshot_address_that_goes_away_is_tried_again(images, play, tmp_path):
    jpeg = tmp_path / "snap.jpeg"
    first = cv2.imencode(".jpg", images[0])[1].tobytes()
    jpeg.write_bytes(first)
    with HttpServer(folder=tmp_path) as server:
        player = play(server.url("/snap.jpeg"), capacity=1, poll_fps=20, backoff_refused_s=0.1)
        assert player.take(3)
        jpeg.unlink()
        assert "(404)" in player.wait_for(SourceState.RECONNECTING).cause
        jpeg.write_bytes(first)
        player.channel.clear()
        assert player.take(2)
        assert player.reader.status.state is SourceState.LIVE


def test_a_broadcast_that_ends_is_connected_again(clips, play, tmp_path):
    path = encode(tmp_path / "clip.ts", [np.full((64, 96, 3), 20 * n, np.uint8) for n in range(8)])
    with HttpServer(broadcast=path.read_bytes()) as server:
        player = play(server.url("/broadcast"), capacity=100, backoff_max_s=0.3)
        frames = player.take(20, timeout=6)
        assert len(frames) == 20
        cause = player.wait_for(SourceState.RECONNECTING).cause
        assert "reading broke off" in cause or "the stream ended" in cause
        assert SourceState.ENDED not in player.states
        assert all(a.pts_ns < b.pts_ns for a, b in itertools.pairwise(frames))


def test_a_live_playlist_that_gets_its_end_tag_is_waited_for(clips, play, tmp_path):
    playlist = write_hls(clips.moving(frames=45).path, tmp_path)
    whole = playlist.read_text()
    assert "#EXT-X-ENDLIST" in whole
    open_ended = whole.replace("#EXT-X-ENDLIST\n", "")
    playlist.write_text(open_ended)
    with HttpServer(folder=tmp_path) as server:
        player = play(server.url("/live.m3u8"), capacity=200, backoff_max_s=0.3)
        first = player.take(20, timeout=6)
        playlist.write_text(whole)
        player.wait_for_cause("its address gives what it was")
        player.channel.clear()
        assert not player.take(1, timeout=0.5), "the past is not played again"
        playlist.write_text(open_ended)
        again = player.take(5, timeout=6)
        assert len(again) == 5
        assert again[0].pts_ns > first[-1].pts_ns


def test_a_missing_page_is_reported(images, play):
    with HttpServer(images) as server:
        player = play(server.url("/none"))
        assert "no such path (404)" in player.wait_for(SourceState.RECONNECTING).cause
