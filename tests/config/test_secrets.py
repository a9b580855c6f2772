"""No secret of an address is shown anywhere, however it is written."""

from __future__ import annotations

import io
import json
import logging
import re
import traceback

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamprn.cli.console import _Redacting
from streamprn.config import Config, SourceConfig, resolve
from streamprn.config.address import default_name
from streamprn.errors import ConfigError, InputError, SourceError
from streamprn.records import SourceState, SourceStatus
from streamprn.redact import redact, redact_text, remember, split_url

SECRET = "Hv7qZx"
TEXT = st.text("ab:/#?@[]%&=;,.'\"\\<>() *~|19é", max_size=8)
HOST = st.sampled_from(["cam", "10.0.0.1:554", "[::1]:554", "cam.example"])
SCHEME = st.sampled_from(["rtsp", "RTSP", "rtsps", "http", "https", "rtmp", "srt", "ftp"])


@st.composite
def users(draw: st.DrawFn) -> str:
    """User and password with the secret in one of them or both."""
    return draw(
        st.tuples(TEXT, TEXT, TEXT, TEXT).map(lambda t: f"{t[0]}{t[1]}:{t[2]}{SECRET}{t[3]}")
        | st.tuples(TEXT, TEXT, TEXT).map(lambda t: f"{t[0]}{SECRET}{t[1]}:{t[2]}")
        | st.tuples(TEXT, TEXT).map(lambda t: f"{t[0]}{SECRET}{t[1]}")
    )


def everything_shown(uri: str) -> str:
    """What the program makes out of an address, wherever it shows one."""
    shown = [redact(uri), default_name(uri)]
    try:
        address = resolve(uri)
        shown += [repr(address), address.name, address.safe_uri, address.doubt]
        uris = [uri, address.uri]
    except InputError as error:
        shown += [str(error), error.what, error.hint]
        uris = [uri]
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping({"engine": {"threads": uri}, "sources": [{"uri": uri}]})
    shown += [str(caught.value), repr(SourceConfig(uri, options={"headers": SECRET}))]
    for one in uris:
        for text in (one, repr(one), json.dumps(one), f"cannot open {one}: no such host"):
            shown += [redact_text(text), str(InputError(text)), SourceError(text, uri=one).uri]
            shown.append(repr(SourceStatus("cam", SourceState.FAILED, text)))
            shown.append(_logged(text))
    return "\n".join(shown)


def _logged(text: str) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Redacting("%(message)s"))
    try:
        raise ValueError(text)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "%s", (text,), None)
        record.exc_text = traceback.format_exc()
    handler.handle(record)
    return stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        f"rtsp:/admin:{SECRET}@cam/x",
        f"rtsp//admin:{SECRET}@cam/x",
        f"RTSP:admin:{SECRET}@cam/x",
        f"rtsp:\\\\admin:{SECRET}@cam\\x",
        f"http:/u:a@{SECRET}@cam/x",
        f"admin:{SECRET}@cam/x",
        f"admin:p/{SECRET}@[::1]:554/x",
        f"file://admin:{SECRET}@cam/x.mp4",
        f"rtmp://cam/live/12{SECRET}3456{SECRET}",
        f"http://cam/12{SECRET}3456{SECRET}.m3u8",
        f"http://cam/12{SECRET}3456{SECRET}.{SECRET}.{SECRET}/index.m3u8",
    ],
)
def test_a_slip_in_an_address_shows_no_password(text):
    assert SECRET not in redact_text(f"streamprn: error: {text}: no such file (check the path)")
    assert SECRET not in str(InputError(f"{text}: no such file"))
    if "://cam" in text:
        assert SECRET not in default_name(text)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("rtmp://cam/live/mystreamkey", "cam-live"),
        ("rtmps://cam/app/instance/abcd1234?x=1", "cam-app"),
        ("rtsps://10.0.0.1:7441/AbCdEfGhIjKlMnOp?enableSrtp", "10.0.0.1_7441"),
        ("rtsp://cam/user=admin_password=hunter2_channel=1.sdp", "cam"),
        ("rtsp://cam/admin:pw/ch1", "cam-ch1"),
        ("https://cam/token/abc123", "cam-token"),
        ("https://cam/api_key/abc123/live", "cam-api_key_live"),
        ("http://cam/hls/3f2c9d1be8/index.m3u8", "cam-hls_index.m3u8"),
        ("rtsp://cam/550e8400-e29b-41d4-a716-446655440000", "cam"),
        ("rtsp://cam/12345678901234567890", "cam"),
        ("rtsp://cam/h264Preview_01_main", "cam-h264Preview_01_main"),
        ("http://cam/ISAPI/Streaming/channels/102", "cam-ISAPI_Streaming_channels_102"),
        ("http://cam/axis-cgi/mjpg/video.cgi", "cam-axis-cgi_mjpg_video.cgi"),
    ],
)
def test_a_default_name_keeps_the_ordinary_words_of_a_path_alone(uri, name):
    assert default_name(uri) == name


@given(scheme=SCHEME, user=users(), host=HOST, path=st.sampled_from(["", "/", "/live", "/a?ch=1"]))
@example("rtsp", f"admin:p@ss/{SECRET}", "host", "/x")
@example("rtsp", f"admin:1/{SECRET}", "host", "/x")
@example("rtsp", f"admin/{SECRET}", "host", "")
@example("rtsp", f"{SECRET}/x@y", "host", "/a@b")
@example("http", f"a b:{SECRET} d", "host", "/x")
def test_the_secret_of_a_user_is_shown_nowhere(scheme, user, host, path):
    assert SECRET not in everything_shown(f"{scheme}://{user}@{host}{path}")


@given(
    name=st.text("abcdefgh_", min_size=1, max_size=8),
    before=TEXT,
    after=st.text("ab:/?[]%=,.~|19", max_size=6),
)
@example("passphrase", "", "")
@example("streamid", "#!::u=", ",r=x")
def test_a_value_in_the_query_is_shown_nowhere(name, before, after):
    value = f"{before}{SECRET}{after}"
    assert SECRET not in redact(f"srt://cam:9000?x=1&{name}x={value}")
    assert SECRET not in redact(f"http://cam/live?{name}x={value}&ch=1")
    assert SECRET not in redact(f"http://cam/live?{SECRET}")


@given(users(), HOST)
def test_ffmpeg_reads_the_user_that_was_written(user, host):
    parts = split_url(f"rtsp://{user}@{host}/x")
    if parts is None or not parts.certain:
        return
    assert (parts.user, parts.host) == (user, host)
    again = split_url(parts.joined())
    assert (again.user, again.host, again.rest) == (parts.encoded_user, host, "/x")
    assert not re.search(r"[/#?@\s\[\]]", parts.encoded_user)


@pytest.mark.parametrize(
    ("uri", "opened"),
    [
        ("RTSP://u:p@Cam/Live", "rtsp://u:p@Cam/Live"),
        ("rtsp://u:p#w/q?x@h:554/x", "rtsp://u:p%23w%2Fq%3Fx@h:554/x"),
        ("rtsp://u:p@ss@h/x", "rtsp://u:p%40ss@h/x"),
        ("rtsp://u:a%40b%zz@h/x", "rtsp://u:a%40b%25zz@h/x"),
        ("http://u:a b:c@h/x y", "http://u:a%20b:c@h/x y"),
        ("http://h/@user/live", "http://h/@user/live"),
        ("udp://@239.0.0.1:1234", "udp://@239.0.0.1:1234"),
    ],
)
def test_what_is_special_in_a_password_is_encoded_for_ffmpeg(uri, opened):
    assert resolve(uri).uri == opened


@pytest.mark.parametrize(
    "uri",
    ["rtsp://admin:p@ss/w0rd@host/x", "rtsp://admin:w0rd", "rtsp://a:w0rd/x@h/y@z"],
)
def test_what_can_be_read_in_two_ways_is_not_opened_and_says_what_to_do(uri):
    with pytest.raises(InputError, match=r"percent-encode .* %2F for /") as caught:
        resolve(uri)
    assert "w0rd" not in str(caught.value)


def test_an_address_that_might_hold_a_password_says_so_when_it_does_not_work():
    assert "percent-encode" in resolve("rtsp://admin:12/34@host/x").doubt
    assert resolve("rtsp://admin:12%2F34@host/x").doubt == ""
    assert resolve("rtsp://admin:12/34@host/x").name == "rtsp"


def test_the_header_that_ffmpeg_makes_of_a_password_is_known():
    remember("rtsp://admin:Qv%2F8kkw2@cam/x")
    text = "Authorization: Basic YWRtaW46UXYvOGtrdzI=, admin:Qv/8kkw2"
    assert redact_text(text) == "Authorization: Basic ***, ***"


@pytest.mark.parametrize(
    "text",
    [
        "known are rtsp://, http:// and lavfi:",
        "write it like tcp://127.0.0.1:5870",
        "tcp://HOST:PORT, ipc://PATH or inproc://NAME",
        "tcp://*:5870, and http://127.0.0.1:8088/docs.",
        "file:///home/me/clip@2x.mp4",
        "C:\\Users\\me@home\\clip.mp4: no such file",
        "[rtsp @ 0x55d0] 12:30:05 me@home",
        "lavfi:testsrc@left=rate=30",
        "(rtsp://cam/x)",
        "binding to 'tcp://127.0.0.1:port'",
    ],
)
def test_what_holds_no_secret_is_left_alone(text):
    assert redact_text(text) == text


def test_a_text_of_any_length_is_read_quickly():
    assert redact_text("a" * 200_000 + "://") == "a" * 200_000 + "://"
    for many in ("rtsp:" * 40_000, "ab:" * 70_000, "a:b@ " * 40_000, "x" * 200_000):
        assert redact_text(f"@ {many}")
