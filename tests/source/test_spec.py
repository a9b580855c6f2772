from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamprn.errors import InputError, SourceError
from streamprn.source import SourceKind, parse_source, redact
from streamprn.source.opening import _target

TEXT = st.text("abcXYZ019-._~!$'()*+,", min_size=3, max_size=12)


@pytest.mark.parametrize(
    ("text", "kind", "name", "live"),
    [
        ("rtsp://u:p@10.0.0.2:554/cam/1?x=2", SourceKind.RTSP, "10.0.0.2_554-cam_1", True),
        ("rtsps://cam.example/live", SourceKind.RTSP, "cam.example-live", True),
        ("HTTP://cam.example/video.mjpg", SourceKind.HTTP, "cam.example-video.mjpg", True),
        ("https://cam.example/a/b.m3u8", SourceKind.HTTP, "cam.example-a_b.m3u8", True),
        ("0", SourceKind.WEBCAM, "webcam0", True),
        ("/dev/video2", SourceKind.WEBCAM, "video2", True),
        ("lavfi:testsrc=size=64x64", SourceKind.LAVFI, "lavfi", False),
        ("lavfi:testsrc,realtime", SourceKind.LAVFI, "lavfi", True),
        ("testsrc2", SourceKind.LAVFI, "testsrc2", True),
    ],
)
def test_kinds_are_told_from_the_text(text, kind, name, live):
    spec = parse_source(text)
    assert (spec.kind, spec.name, spec.live) == (kind, name, live)
    assert spec.newest_only is live


def test_paths_are_told_by_what_is_there(tmp_path):
    for name in ("clip.mp4", "picture.JPG", "a b#c%d:e.mkv"):
        (tmp_path / name).touch()
    assert parse_source(str(tmp_path / "clip.mp4")).kind is SourceKind.FILE
    assert parse_source(str(tmp_path / "picture.JPG")).kind is SourceKind.IMAGE
    assert parse_source(str(tmp_path)).kind is SourceKind.FOLDER
    assert parse_source(f"file://{tmp_path}/clip.mp4").name == "clip"
    odd = parse_source(str(tmp_path / "a b#c%d:e.mkv"))
    assert odd.name == "a_b_c_d_e"
    assert _target(odd, odd.uri)[0] == f"file:{odd.uri}"


def test_a_link_to_a_webcam_is_a_webcam(tmp_path):
    link = tmp_path / "usb-Front_Door-video-index0"
    link.symlink_to("/dev/video9")
    assert parse_source(str(link)).kind is SourceKind.WEBCAM
    unplugged = parse_source("/dev/v4l/by-id/usb-Front_Door-video-index0")
    assert unplugged.kind is SourceKind.WEBCAM
    assert _target(unplugged, unplugged.uri) == (unplugged.uri, "v4l2", {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lavfi: ", "names no filter graph"),
        ("file://clip.mp4", r"names no file \(write file:///folder/clip.mp4\)"),
        ("file://", "names no file"),
        ("ftp://user:pw@host/x.mp4", "unknown scheme ftp://"),
        ("gopher://x", "known are rtsp://"),
        ("", "empty source"),
        ("rtsp:///x", "names no host"),
    ],
)
def test_an_unusable_address_is_one_clear_line(text, words):
    with pytest.raises(InputError, match=words) as caught:
        parse_source(text)
    assert "\n" not in str(caught.value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("text", ["/no/such/file.mp4", "no_such_folder/x.jpg", "a\0b", "x" * 5000])
def test_a_missing_file_is_one_clear_line(text):
    with pytest.raises(SourceError, match=r"no such file|not a usable path"):
        parse_source(text)


@pytest.mark.parametrize(
    "options",
    [
        {"max_fps": math.nan},
        {"max_fps": -1},
        {"max_fps": "30"},
        {"stall_timeout_s": math.inf},
        {"stall_timeout_s": True},
        {"threads": 0},
        {"backoff_initial_s": 4.0, "backoff_max_s": 1.0},
        {"rotate": 45},
        {"rotate": False},
        {"rtsp_transport": "quic"},
        {"crop_xywh": (0, 0, 10)},
        {"crop_xywh": (-1, 0, 10, 10)},
        {"crop_xywh": (0, 0, 0, 10)},
        {"crop_xywh": (0, 0, 1.5, 10)},
        {"name": "a/b"},
        {"name": ""},
        {"name": "x" * 65},
    ],
    ids=str,
)
def test_values_out_of_bounds_are_refused(options):
    with pytest.raises(InputError):
        parse_source("testsrc", **options)


def test_an_unknown_option_names_the_nearest_one():
    with pytest.raises(InputError, match="did you mean 'realtime'"):
        parse_source("testsrc", realtim=True)


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms have other camera devices")
def test_a_webcam_number_is_a_device_path():
    assert _target(parse_source("3"), "3")[:2] == ("/dev/video3", "v4l2")


# -- credentials ---------------------------------------------------------------------------------


@given(user=TEXT, password=TEXT, host=st.sampled_from(["cam", "10.0.0.1:554", "[::1]:554"]))
def test_user_and_password_never_survive(user, password, host):
    shown = redact(f"rtsp://{user}:{password}@{host}/live")
    assert shown == f"rtsp://***@{host}/live"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://u:p@ss@h/x", "rtsp://***@h/x"),
        ("rtsp://u:p/w@h/x", "rtsp://***@h/x"),
        ("rtsp://u:p#w?q@h:554/x", "rtsp://***@h:554/x"),
        ("rtsp://token@h/x", "rtsp://***@h/x"),
        ("rtsp://h:554/a@b", "rtsp://h:554/a@b"),
        ("http://h/v?user=me&pwd=you&ch=1", "http://h/v?user=***&pwd=***&ch=1"),
        ("http://h/v?access_token=a.b-c", "http://h/v?access_token=***"),
        (
            "rtsp://h/user=a_password=b_channel=1.sdp",
            "rtsp://h/user=***_password=***_channel=1.sdp",
        ),
        ("/home/u:p@ss/clip.mp4", "/home/u:p@ss/clip.mp4"),
    ],
)
def test_credentials_are_cut_out_wherever_they_stand(uri, shown):
    assert redact(uri) == shown


def test_a_spec_shows_no_credentials():
    spec = parse_source("rtsp://me:secret@cam/x", options={"headers": "Authorization: secret"})
    assert "secret" not in repr(spec) + spec.name + spec.safe_uri


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
    spec = parse_source("1")
    monkeypatch.setattr("sys.platform", platform)
    assert _target(spec, spec.uri)[:2] == opened
