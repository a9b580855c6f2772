"""What a source's address is, the name of its stream, and addresses without their secrets."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamprn.config import Config, SourceConfig, SourceKind, resolve
from streamprn.config.address import default_name, stream_names
from streamprn.config.redact import redact, redact_text
from streamprn.errors import InputError, SourceError

TEXT = st.text("abcXYZ019-._~!$'()*+,", min_size=3, max_size=12)


@pytest.mark.parametrize(
    ("text", "kind", "name", "live"),
    [
        ("rtsp://u:p@10.0.0.2:554/cam/1?x=2", SourceKind.RTSP, "10.0.0.2_554-cam_1", True),
        ("rtsps://cam.example/live", SourceKind.RTSP, "cam.example-live", True),
        ("rtsp://cam.local", SourceKind.RTSP, "cam.local", True),
        ("HTTP://cam.example/video.mjpg", SourceKind.HTTP, "cam.example-video.mjpg", True),
        ("https://cam.example/a/b.m3u8", SourceKind.HTTP, "cam.example-a_b.m3u8", True),
        ("0", SourceKind.WEBCAM, "webcam0", True),
        (" 07 ", SourceKind.WEBCAM, "webcam7", True),
        ("/dev/video2", SourceKind.WEBCAM, "video2", True),
        ("lavfi:testsrc=size=64x64", SourceKind.LAVFI, "lavfi", False),
        ("lavfi:testsrc,realtime", SourceKind.LAVFI, "lavfi", True),
        ("testsrc2", SourceKind.LAVFI, "testsrc2", True),
    ],
)
def test_kinds_are_told_from_the_text(text, kind, name, live):
    address = resolve(text)
    assert (address.kind, address.name, address.live) == (kind, name, live)
    assert address.reconnects is (live and kind is not SourceKind.LAVFI)


def test_paths_are_told_by_what_is_there(tmp_path):
    for name in ("clip.mp4", "picture.JPG", "a b#c%d:e.mkv"):
        (tmp_path / name).touch()
    assert resolve(str(tmp_path / "clip.mp4")).kind is SourceKind.FILE
    assert resolve(str(tmp_path / "picture.JPG")).kind is SourceKind.IMAGE
    assert resolve(str(tmp_path)).kind is SourceKind.FOLDER
    assert resolve(f"file://{tmp_path}/clip.mp4").name == "clip"
    odd = resolve(str(tmp_path / "a b#c%d:e.mkv"))
    assert odd.name == "a_b_c_d_e"
    assert odd.uri == str(tmp_path / "a b#c%d:e.mkv")


def test_a_folder_with_a_number_for_its_name_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve("2024").name == "webcam2024"
    (tmp_path / "2024").mkdir()
    assert (resolve("2024").kind, resolve("2024").name) == (SourceKind.FOLDER, "2024")


def test_a_link_to_a_webcam_is_a_webcam(tmp_path):
    link = tmp_path / "usb-Front_Door-video-index0"
    link.symlink_to("/dev/video9")
    assert resolve(str(link)).kind is SourceKind.WEBCAM
    unplugged = resolve("/dev/v4l/by-id/usb-Front_Door-video-index0")
    assert unplugged.kind is SourceKind.WEBCAM
    assert unplugged.name == "usb-Front_Door-video-index0"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lavfi: ", "names no filter graph"),
        ("file://clip.mp4", r"names no file \(write file:///folder/clip.mp4\)"),
        ("file://", "names no file"),
        ("file://[x/clip.mp4", "names no file"),
        ("ftp://user:pw@host/x.mp4", "unknown scheme ftp://"),
        ("gopher://x", "known are rtsp://"),
        ("", "empty source"),
        ("rtsp:///x", "names no host"),
    ],
)
def test_an_unusable_address_is_one_clear_line(text, words):
    with pytest.raises(InputError, match=words) as caught:
        resolve(text)
    assert "\n" not in str(caught.value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("text", ["/no/such/file.mp4", "no_such_folder/x.jpg", "a\0b", "x" * 5000])
def test_a_missing_file_is_one_clear_line(text):
    with pytest.raises(SourceError, match=r"no such file|not a usable path"):
        resolve(text)


@pytest.mark.parametrize(
    ("text", "drop_late", "newest"),
    [
        ("rtsp://cam/x", False, True),
        ("testsrc2", False, True),
        ("lavfi:testsrc2", False, False),
        ("lavfi:testsrc2", True, True),
    ],
)
def test_only_the_newest_frame_counts_of_live_sources_and_where_asked(text, drop_late, newest):
    assert SourceConfig(text, drop_late=drop_late).keeps_newest(resolve(text)) is newest


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        ([(None, "clips/Front door.mp4")], ("Front_door",)),
        ([(None, "0"), (None, "rtsp://u:p@h/x")], ("webcam0", "h-x")),
        (
            [(None, "rtsp://cam.local/a"), (None, "rtsp://cam.local/b")],
            ("cam.local-a", "cam.local-b"),
        ),
        ([(None, "a.mp4"), (None, "b/a.mp4"), ("a-2", "c")], ("a", "a-3", "a-2")),
        ([(None, "pictures/")], ("pictures",)),
        ([(None, "file:///clips/Front%20door.mp4")], ("Front_door",)),
        ([(None, "²"), (None, "9" * 5000)], ("source", "9" * 64)),
        ([(None, "..."), (None, "顔.mp4")], ("source", "source-2")),
        ([(None, "x" * 100), (None, "x" * 100)], ("x" * 64, "x" * 60 + "-2")),
    ],
)
def test_streams_without_a_name_get_one_from_the_address(sources, names):
    config = Config.from_mapping({"sources": [{"name": n, "uri": uri} for n, uri in sources]})
    assert config.stream_names() == names


@given(
    st.text()
    | st.sampled_from(["rtsp://", "file://", "lavfi:", "0"]).flatmap(
        lambda start: st.text().map(start.__add__)
    )
)
@example("file://[")
@example("\0")
def test_every_text_has_a_name_that_topics_can_carry(text):
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", default_name(text))


@given(st.lists(st.tuples(st.none(), st.sampled_from(["x" * 70, "a", "a-2", "0"])), max_size=256))
def test_names_are_unique_and_no_longer_than_allowed(sources):
    names = stream_names(sources)
    assert len(set(names)) == len(names) == len(sources)
    assert all(len(name) <= 64 for name in names)


# -- credentials ---------------------------------------------------------------------------------


@given(user=TEXT, password=TEXT, host=st.sampled_from(["cam", "10.0.0.1:554", "[::1]:554"]))
def test_user_and_password_never_survive(user, password, host):
    uri = f"rtsp://{user}:{password}@{host}/live"
    shown = f"rtsp://***@{host}/live"
    assert redact(uri) == shown
    assert redact_text(f"cannot open {uri} now") == f"cannot open {shown} now"


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


def test_neither_an_address_nor_a_configuration_shows_credentials():
    config = Config.from_mapping(
        {
            "sources": [
                {
                    "uri": "rtsp://me:hunter2@cam/x",
                    "options": {"headers": "Authorization: hunter2"},
                }
            ]
        }
    )
    address = resolve(config.sources[0].uri)
    assert "hunter2" not in repr(config) + repr(address) + address.name + address.safe_uri
    assert "hunter2" in address.uri
