"""Passwords may stand in the environment or in a file; what names them shows where, not what."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamprn.config import Config, SourceConfig
from streamprn.config.secrets import address_of, expand, options_of
from streamprn.errors import InputError
from streamprn.redact import redact_text, split_url

PASSWORD = "p@ss/w:rd?#%41 é"


@pytest.fixture
def password_file(tmp_path):
    path = tmp_path / "door.password"
    path.write_text(PASSWORD + "\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def test_a_variable_is_put_in_when_the_source_is_opened(monkeypatch):
    monkeypatch.setenv("CAM_PASSWORD", PASSWORD)
    source = SourceConfig(uri="rtsp://admin:${CAM_PASSWORD}@cam/door")
    address = address_of(source)
    assert address.uri == "rtsp://admin:p%40ss%2Fw%3Ard%3F%23%2541%20%C3%A9@cam/door"
    assert (address.name, address.safe_uri) == ("cam-door", "rtsp://cam/***")
    assert source.uri == "rtsp://admin:${CAM_PASSWORD}@cam/door"
    assert redact_text(f"cannot open {address.uri}") == "cannot open rtsp://***@cam/door"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_password_leaves_the_host_where_it_is(password):
    before = os.environ.get("CAM_PASSWORD")
    os.environ["CAM_PASSWORD"] = password
    try:
        uri = address_of(SourceConfig(uri="rtsp://u:${CAM_PASSWORD}@cam:554/x")).uri
    finally:
        os.environ.pop("CAM_PASSWORD")
        if before is not None:
            os.environ["CAM_PASSWORD"] = before
    parts = split_url(uri)
    assert parts is not None
    assert (parts.host, parts.rest, parts.certain) == ("cam:554", "/x", True)


def test_a_whole_address_and_an_option_may_be_variables(monkeypatch):
    monkeypatch.setenv("CAM_URI", "rtsp://u:p@cam/x")
    monkeypatch.setenv("TOKEN", "abc def")
    source = SourceConfig(uri="${CAM_URI}", options={"headers": "Authorization: Bearer ${TOKEN}"})
    assert address_of(source).uri == "rtsp://u:p@cam/x"
    assert options_of(source) == {"headers": "Authorization: Bearer abc def"}
    query = SourceConfig(uri="http://cam/snap?token=${TOKEN}")
    assert address_of(query).uri == "http://cam/snap?token=abc%20def"


def test_a_missing_variable_is_one_clear_line(monkeypatch):
    monkeypatch.delenv("NO_SUCH", raising=False)
    with pytest.raises(InputError, match="the variable NO_SUCH is not set") as found:
        address_of(SourceConfig(uri="rtsp://u:${NO_SUCH}@cam/"))
    assert "export NO_SUCH" in str(found.value)


def test_what_is_no_variable_stays():
    assert expand("a$b ${} ${1} $${HOME} $") == "a$b ${} ${1} ${HOME} $"


def test_a_password_file_gives_its_user_a_password(password_file):
    source = SourceConfig(uri="rtsp://admin@cam/door", password_file=str(password_file))
    assert address_of(source).uri == "rtsp://admin:p%40ss%2Fw%3Ard%3F%23%2541%20%C3%A9@cam/door"
    assert PASSWORD not in str(Config(sources=(source,)).to_mapping())


@pytest.mark.parametrize("uri", ["rtsp://cam/door", "rtsp://admin:pw@cam/door", "lavfi:testsrc2"])
def test_a_password_file_wants_a_user_without_a_password(password_file, uri):
    with pytest.raises(InputError, match="needs an address with a user and no password"):
        address_of(SourceConfig(uri=uri, password_file=str(password_file)))


def test_a_password_file_that_others_read_is_refused(password_file):
    password_file.chmod(0o644)
    source = SourceConfig(uri="rtsp://admin@cam/door", password_file=str(password_file))
    with pytest.raises(InputError, match=r"other users can read.*mode 0644.*chmod 600"):
        address_of(source)


def test_a_missing_empty_or_odd_password_file_is_one_clear_line(tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe")
    (two := tmp_path / "two").write_text("a\nb\n")
    (empty := tmp_path / "empty").write_text("\n")
    (long := tmp_path / "long").write_text("x" * 5000)
    for path in (two, empty, long):
        path.chmod(0o600)
    for path, what in (
        (tmp_path / "none", "no password can be read: No such file"),
        (pipe, "not a file"),
        (two, "expected a password on one line"),
        (empty, "expected a password on one line"),
        (long, "too long for a password"),
    ):
        with pytest.raises(InputError, match=what):
            address_of(SourceConfig(uri="rtsp://admin@cam/", password_file=str(path)))
