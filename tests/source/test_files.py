from __future__ import annotations

import itertools
import os
import sys
import threading
import time
import wave

import cv2
import numpy as np
import pytest

from streamprn.channel import Channel
from streamprn.config import Address, SourceConfig, SourceKind, resolve
from streamprn.records import SourceState
from streamprn.source import SourceReader
from tests.support.clips import astronaut, draw, encode


def failure(player) -> str:
    """The cause of the failure of a finite source, which is not tried again."""
    assert player.take() == []
    cause = player.wait_for(SourceState.FAILED).cause
    assert player.states == [SourceState.CONNECTING, SourceState.FAILED]
    assert cause
    assert "\n" not in cause
    return cause


@pytest.fixture(scope="module")
def clip(clips):
    return clips.moving(frames=45)


def test_a_looped_file_that_goes_away_is_tried_again_until_it_is_back(play, tmp_path):
    path = encode(tmp_path / "clip.ts", [np.full((64, 96, 3), 20 * n, np.uint8) for n in range(8)])
    player = play(str(path), loop=True, backoff_max_s=0.3)
    assert len(player.take(20)) == 20
    path.rename(tmp_path / "away.ts")
    player.channel.clear()
    gone = player.wait_for(SourceState.RECONNECTING)
    assert "no such file" in gone.cause
    assert "next try in" in gone.cause
    # A pause ends no wait too early, and is kept.
    player.reader.pause()
    player.wait_for(SourceState.PAUSED)
    reports = len(player.reports)
    time.sleep(0.5)
    assert len(player.reports) == reports
    player.reader.resume()
    (tmp_path / "away.ts").rename(path)
    player.channel.clear()
    first = player.take(20)
    assert len(first) == 20
    assert player.reader.status.state is SourceState.LIVE
    assert player.reader.counters.reconnects >= 1
    assert SourceState.FAILED not in player.states


# -- video files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("b_frames", [0, 3])
def test_a_file_loses_no_frame_and_ends(clips, play, b_frames):
    clip = clips.moving(frames=45, b_frames=b_frames)
    player = play(clip.uri, capacity=2)
    frames = player.take()
    assert [frame.seq for frame in frames] == list(range(45))
    assert [round(frame.pts_ns * 30 / 1e9) for frame in frames] == list(range(45))
    assert player.states == [SourceState.CONNECTING, SourceState.LIVE, SourceState.ENDED]
    for index in (0, 20, 44):
        truth = draw(clip.transforms[index], 640, 480)
        assert np.abs(frames[index].image.rgb.astype(int) - truth).mean() < 4


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".avi", ".ts", ".h264"])
def test_other_containers_play_too(tmp_path, play, suffix):
    images = [np.full((64, 96, 3), 20 * index, np.uint8) for index in range(8)]
    path = str(encode(tmp_path / f"clip{suffix}", images))
    frames = play(path).take()
    assert len(frames) == 8
    looped = play(path, loop=True).take(24)
    assert [frame.image.rgb[5, 5, 0] for frame in looped] == 3 * [
        frame.image.rgb[5, 5, 0] for frame in frames
    ]
    assert all(a.pts_ns < b.pts_ns for a, b in itertools.pairwise(looped))
    assert all(a.pts_ns < b.pts_ns for a, b in itertools.pairwise(frames))


def test_a_loop_is_seamless(clip, play):
    frames = play(clip.uri, loop=True).take(100)
    steps = np.diff([frame.pts_ns for frame in frames])
    assert [frame.seq for frame in frames] == list(range(100))
    np.testing.assert_allclose(steps, 1e9 / 30, atol=2)


@pytest.mark.timed
@pytest.mark.parametrize("b_frames", [0, 3])
def test_a_paced_file_keeps_its_schedule_over_the_loop(clips, play, b_frames):
    clip = clips.still(frames=15, b_frames=b_frames)
    player = play(clip.uri, loop=True, realtime=True)
    frames = player.take(40)
    due = np.array([frame.captured_ns for frame in frames])
    np.testing.assert_allclose(np.diff(due), 1e9 / 30, atol=1e3)
    late_ms = np.array([frame.decoded_ns - frame.captured_ns for frame in frames]) / 1e6
    assert late_ms.min() >= 0
    assert np.median(late_ms) < 15


def test_a_late_taker_does_not_shift_the_schedule(clips, play):
    player = play(clips.still(frames=30).uri, realtime=True, capacity=1)
    frames = player.take(5)
    time.sleep(0.4)
    frames += player.take()
    assert len(frames) == 30
    due = np.array([frame.captured_ns for frame in frames])
    np.testing.assert_allclose(np.diff(due), 1e9 / 30, atol=1e3)
    assert max(frame.decoded_ns - frame.captured_ns for frame in frames) > 200e6


def test_a_paced_file_may_drop_when_asked(clips, play):
    player = play(clips.still(frames=30).uri, realtime=True, drop_late=True, capacity=1)
    time.sleep(0.5)
    assert player.take(1)[0].seq > 5
    assert player.reader.counters.dropped > 5


def test_the_frame_rate_can_be_bounded(clip, play):
    player = play(clip.uri, max_fps=10)
    frames = player.take()
    assert len(frames) == 15
    assert [frame.seq for frame in frames] == list(range(15)), "left-out frames are no drops"
    np.testing.assert_allclose(np.diff([frame.pts_ns for frame in frames]), 1e8, atol=3)
    assert player.reader.counters.skipped == 30


def test_a_rate_above_the_files_own_changes_nothing(clip, play):
    assert len(play(clip.uri, max_fps=60).take()) == 45


def test_a_filter_graph_is_a_source_that_loops(play):
    graph = "lavfi:testsrc2=size=64x48:rate=25:duration=0.4"
    assert len(play(graph).take()) == 10
    frames = play(graph, loop=True).take(25)
    np.testing.assert_allclose(np.diff([frame.pts_ns for frame in frames]), 4e7, atol=2)


def test_a_test_picture_is_live(play):
    player = play("testsrc2", capacity=1)
    assert player.take(2)[0].image.rgb.shape == (480, 640, 3)
    assert player.reader.address.live


@pytest.mark.timed
def test_stopping_a_file_that_waits_for_room_or_for_its_time_is_quick(clip, play):
    full = play(clip.uri, capacity=1)
    paced = play(clip.uri, realtime=True, max_fps=1)
    full.wait_for(SourceState.LIVE)
    time.sleep(0.1)
    assert full.stop() < 0.5
    assert paced.stop() < 0.5
    assert full.states[-1] is SourceState.ENDED


def test_a_reader_can_be_stopped_before_it_starts(clip):
    channel = Channel(1, newest=False, ready=threading.Condition())
    reader = SourceReader(SourceConfig(clip.uri), resolve(clip.uri), channel, lambda _status: None)
    assert reader.stop()
    assert channel.closed


def test_a_failing_status_callback_does_not_end_the_stream(clip, caplog):
    def fail(_status):
        raise RuntimeError("listener's own fault")

    channel = Channel(100, newest=False, ready=threading.Condition())
    reader = SourceReader(SourceConfig(clip.uri), resolve(clip.uri), channel, fail)
    reader.start()
    assert reader.join(10)
    assert len(channel) == 45
    assert "status callback failed" in caplog.text


# -- bad files -----------------------------------------------------------------------------------


def test_a_zero_byte_file_fails_with_its_cause(tmp_path, play):
    path = tmp_path / "empty.mp4"
    path.touch()
    assert "holds no readable video" in failure(play(str(path)))


def test_text_called_mp4_fails_with_its_cause(tmp_path, play):
    path = tmp_path / "text.mp4"
    path.write_text("This is no video, whatever its name says.\n" * 200)
    assert "holds no readable video" in failure(play(str(path)))


def test_random_bytes_fail_with_their_cause(tmp_path, play):
    path = tmp_path / "noise.mkv"
    path.write_bytes(np.random.default_rng(0).bytes(100_000))
    assert str(path) in failure(play(str(path)))


def test_a_file_cut_before_its_index_fails_with_its_cause(tmp_path, clip, play):
    path = tmp_path / "cut.mp4"
    data = clip.path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert "holds no readable video" in failure(play(str(path)))


def test_a_cut_file_with_its_index_in_front_plays_what_is_there(tmp_path, play, clip):
    images = [draw(transforms, 640, 480) for transforms in clip.transforms[:20]]
    whole = encode(tmp_path / "whole.ts", images)
    path = tmp_path / "cut.ts"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    player = play(str(path))
    assert 3 < len(player.take()) < 20
    assert player.states[-1] is SourceState.ENDED


def test_damage_in_the_middle_is_counted_and_skipped(tmp_path, clip, play):
    data = bytearray(clip.path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 4000] = np.random.default_rng(1).bytes(4000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    player = play(str(path))
    frames = player.take()
    assert 20 < len(frames) < 45
    assert player.reader.counters.corrupt > 0
    assert player.states[-1] is SourceState.ENDED


def test_sound_alone_fails_with_its_cause(tmp_path, play):
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    assert "holds no video" in failure(play(str(path)))


def test_a_file_that_vanished_fails_with_its_cause(tmp_path, play):
    gone = Address(SourceKind.FILE, str(tmp_path / "gone.mp4"), "gone")
    assert "no such file" in failure(play(gone.uri, address=gone))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all files")
def test_an_unreadable_file_fails_with_its_cause(tmp_path, clip, play):
    path = tmp_path / "locked.mp4"
    path.write_bytes(clip.path.read_bytes())
    path.chmod(0)
    assert "no permission" in failure(play(str(path)))


def test_a_bad_filter_graph_fails_with_its_cause(play):
    cause = failure(play("lavfi:nosuchfilter=1"))
    assert (
        "lavfi:nosuchfilter=***: cannot be opened: Invalid argument (check the filter graph)"
        in cause
    )


def test_a_crop_outside_the_frame_fails_with_its_cause(clip, play):
    player = play(clip.uri, crop=(600, 400, 100, 100))
    player.take()
    assert "lies outside the 640x480 frame" in player.wait_for(SourceState.FAILED).cause


@pytest.mark.skipif(sys.platform != "linux", reason="cameras are device files on Linux only")
def test_a_missing_webcam_is_reported_and_tried_again(play):
    player = play("97", backoff_max_s=0.3)
    assert (
        "no such webcam (see `streamprn doctor`)" in player.wait_for(SourceState.RECONNECTING).cause
    )


@pytest.mark.skipif(not os.path.exists("/dev/video0"), reason="needs a webcam at /dev/video0")
def test_a_webcam_plays(play):
    assert play("0").take(1)


# -- pictures ------------------------------------------------------------------------------------


def picture(play, path, image) -> np.ndarray:
    assert cv2.imwrite(str(path), image)
    (frame,) = play(str(path)).take()
    return frame.image.rgb


def test_images_of_every_depth_become_rgb(tmp_path, play):
    colour = np.ascontiguousarray(astronaut()[:101, :77])
    bgr = colour[:, :, ::-1]
    grey = bgr[:, :, 1]
    deep = grey.astype(np.uint16) * 257
    np.testing.assert_array_equal(picture(play, tmp_path / "a.png", bgr), colour)
    for name, image in [("grey8.png", grey), ("grey16.png", deep), ("grey16.tif", deep)]:
        shown = picture(play, tmp_path / name, image)
        assert np.abs(shown.astype(int) - grey[:, :, None]).max() <= 2, name
    deep_colour = bgr.astype(np.uint16) * 257
    shown = picture(play, tmp_path / "rgb16.png", deep_colour)
    assert np.abs(shown.astype(int) - colour).max() <= 2
    assert np.abs(picture(play, tmp_path / "a.jpg", bgr).astype(int) - colour).mean() < 6
    alpha = np.dstack([bgr, np.full(bgr.shape[:2], 128, np.uint8)])
    white = np.round((colour * 128.0 + 255 * 127) / 255)
    assert np.abs(picture(play, tmp_path / "alpha.png", alpha) - white).max() <= 1
    assert np.abs(picture(play, tmp_path / "a.bmp", bgr).astype(int) - colour).max() == 0
    assert picture(play, tmp_path / "a.webp", bgr).shape == colour.shape


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_a_picture_of_one_pixel_is_a_picture(tmp_path, play, suffix):
    shown = picture(play, tmp_path / f"dot{suffix}", np.full((1, 1, 3), 200, np.uint8))
    assert shown.shape == (1, 1, 3)
    assert np.abs(shown.astype(int) - 200).max() <= 3


def test_an_8k_picture_is_a_picture(tmp_path, play):
    image = cv2.resize(astronaut(), (7680, 4320))
    assert cv2.imwrite(str(tmp_path / "8k.jpg"), image)
    (frame,) = play(str(tmp_path / "8k.jpg")).take()
    assert frame.image.rgb.shape == (4320, 7680, 3)
    assert frame.image.planes.y.shape == (4320, 7680)


def test_a_looped_picture_is_shown_at_the_rate_given(tmp_path, play):
    cv2.imwrite(str(tmp_path / "one.png"), astronaut())
    frames = play(str(tmp_path / "one.png"), loop=True, realtime=True, image_fps=50).take(10)
    np.testing.assert_allclose(np.diff([frame.captured_ns for frame in frames]), 2e7)
    np.testing.assert_allclose(np.diff([frame.pts_ns for frame in frames]), 2e7)


@pytest.mark.parametrize("content", [b"", b"no picture " * 100, None], ids=["empty", "text", "cut"])
def test_a_bad_picture_fails_with_its_cause(tmp_path, play, content):
    path = tmp_path / "bad.png"
    if content is None:
        cv2.imwrite(str(path), astronaut())
        content = path.read_bytes()[:2000]
    path.write_bytes(content)
    assert f"{path}: holds no readable picture" in failure(play(str(path)))


def test_a_folder_is_played_in_natural_order(tmp_path, play):
    for number in (10, 2, 1, 33):
        cv2.imwrite(str(tmp_path / f"img{number}.png"), np.full((4, 4 + number, 3), 9, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "img5%03d.jpg").write_bytes(b"broken")
    player = play(str(tmp_path))
    frames = player.take()
    assert [frame.image.width - 4 for frame in frames] == [1, 2, 10, 33]
    assert [frame.seq for frame in frames] == [0, 1, 2, 3]
    assert player.reader.counters.corrupt == 1
    assert player.states[-1] is SourceState.ENDED


def test_a_percent_sign_in_a_name_is_no_pattern(tmp_path, play):
    name = tmp_path / "shot%03d.png"
    assert picture(play, name, np.zeros((3, 5, 3), np.uint8)).shape == (3, 5, 3)


def test_a_folder_without_images_fails_with_its_cause(tmp_path, play):
    (tmp_path / "readme.txt").write_text("nothing")
    assert "holds no images" in failure(play(str(tmp_path)))


def test_a_folder_of_broken_images_fails_with_its_cause(tmp_path, play):
    (tmp_path / "a.png").write_bytes(b"x")
    assert "not one of its images is readable" in failure(play(str(tmp_path)))
