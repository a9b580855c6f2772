from __future__ import annotations

import shutil
import time

import numpy as np
import pytest

from streamprn.records import SourceState
from tests.support.clips import draw
from tests.support.http_server import HttpServer, write_hls
from tests.support.rtsp_server import BlackHole


@pytest.fixture(scope="module")
def images(clips):
    clip = clips.moving(frames=45)
    return [draw(transforms, 320, 240) for transforms in clip.transforms[:10]]


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


def test_a_film_that_breaks_off_is_not_said_to_be_unopened(clips, play, tmp_path):
    # Its index is at its end, and this server cannot go back from there.
    shutil.copy(clips.moving(frames=45).path, tmp_path / "clip.mp4")
    with HttpServer(folder=tmp_path) as server:
        player = play(server.url("/clip.mp4"))
        cause = player.wait_for(SourceState.RECONNECTING).cause
    assert cause.startswith("reading broke off: http://127.0.0.1:")
    assert "/clip.mp4: cannot be read on: Input/output error; next try in" in cause


def test_a_missing_page_is_reported(images, play):
    with HttpServer(images) as server:
        player = play(server.url("/none"))
        assert "no such path (404)" in player.wait_for(SourceState.RECONNECTING).cause
