"""What FFmpeg is told to open."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from streamprn.config import SourceConfig, resolve
from streamprn.source.opening import _target

#: What FFmpeg is told of every source.
ALWAYS = {"max_pixels": str(SourceConfig("x").max_pixels)}


def target(text, **settings):
    return _target(SourceConfig(text, **settings), resolve(text))


def test_a_path_is_opened_as_a_path_whatever_its_characters(tmp_path):
    odd = tmp_path / "a b#c%d:e.mkv"
    odd.touch()
    assert target(str(odd)) == (f"file:{odd}", None, ALWAYS | {"pattern_type": "none"})


def test_further_options_go_to_ffmpeg(tmp_path):
    assert target("lavfi:testsrc2", options={"a": "b"}) == (
        "testsrc2",
        "lavfi",
        ALWAYS | {"a": "b"},
    )
    options = target("rtsp://cam/x", rtsp_transport="udp", options={"probesize": "500"})[2]
    assert (options["rtsp_transport"], options["probesize"]) == ("udp", "500")


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms have other camera devices")
def test_a_webcam_number_is_a_device_path():
    assert target("3")[:2] == ("/dev/video3", "v4l2")
    assert target("/dev/v4l/by-id/usb-video-index0") == (
        "/dev/v4l/by-id/usb-video-index0",
        "v4l2",
        ALWAYS,
    )


@pytest.mark.parametrize(
    ("platform", "opened"),
    [
        ("linux", ("/dev/video1", "v4l2")),
        ("darwin", ("1:none", "avfoundation")),
        ("win32", ("video=Second", "dshow")),
    ],
)
def test_a_webcam_is_opened_by_the_input_of_the_platform(monkeypatch, platform, opened):
    cameras = [SimpleNamespace(name=name, media_types=["video"]) for name in ("First", "Second")]
    monkeypatch.setattr("av.device.enumerate_input_devices", lambda form: cameras)
    config, address = SourceConfig("1"), resolve("1")
    monkeypatch.setattr("sys.platform", platform)
    assert _target(config, address)[:2] == opened
