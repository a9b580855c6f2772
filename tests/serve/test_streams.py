"""Streams over HTTP: added, listed, changed, paused, removed; errors that say what to do."""

from __future__ import annotations

import pytest

from streamprn.records import SourceState
from tests.serve.conftest import PICTURE
from tests.support.wire import eventually


@pytest.fixture
def call(served):
    yield served.client
    for name in served.pipeline.streams.names:
        served.pipeline.streams.remove(name)


def test_a_stream_comes_is_seen_and_goes(call, served):
    made = call("POST", "/streams", {"uri": PICTURE, "name": "door", "max_fps": 20})
    assert made.status == 201
    assert made.headers["Location"] == "/streams/door"
    assert made.json["source"]["max_fps"] == 20

    def is_live():
        shown = call("GET", "/streams/door").json
        return shown["state"] == "live" and shown["frames"] > 3 and shown["last_frame_age_s"] < 1

    eventually(is_live)
    shown = call("GET", "/streams").json["streams"]
    assert [one["name"] for one in shown] == ["door"]
    assert shown[0]["latency_ms"]["p50"] > 0
    assert call("DELETE", "/streams/door").status == 204
    assert served.pipeline.streams.names == ()
    call.problem(404, "no-such-stream", "GET", "/streams/door")


def test_a_stream_without_a_name_gets_one_from_its_address(call, clips):
    made = call("POST", "/streams", {"uri": clips.still().uri})
    assert made.headers["Location"] == f"/streams/{made.json['name']}"
    again = call("POST", "/streams", {"uri": clips.still().uri})
    assert again.json["name"] == made.json["name"] + "-2"


def test_a_stream_is_paused_and_goes_on(call):
    call("POST", "/streams", {"uri": PICTURE, "name": "door"})
    eventually(lambda: call("GET", "/streams/door").json["state"] == "live")
    assert call("POST", "/streams/door/pause").json["state"] == "paused"
    assert call("POST", "/streams/door/resume").json["state"] != "paused"
    eventually(lambda: call("GET", "/streams/door").json["state"] == "live")


def test_settings_change_in_place_and_nothing_is_opened_again_for_the_same(call, served):
    call("POST", "/streams", {"uri": PICTURE, "name": "door"})
    eventually(lambda: call("GET", "/streams/door").json["frames"] > 2)
    first = served.pipeline.streams.find("door").reader
    same = call("PATCH", "/streams/door", {"max_fps": None})
    assert same.status == 200
    assert served.pipeline.streams.find("door").reader is first
    before = first.next_seq
    changed = call("PATCH", "/streams/door", {"max_fps": 5})
    assert changed.json["source"]["max_fps"] == 5
    assert served.pipeline.streams.find("door").reader.next_seq >= before > 0


def test_a_paused_stream_stays_paused_when_its_settings_change(call, served):
    call("POST", "/streams", {"uri": PICTURE, "name": "door"})
    eventually(lambda: call("GET", "/streams/door").json["state"] == "live")
    call("POST", "/streams/door/pause")
    call("PATCH", "/streams/door", {"max_fps": 7})
    eventually(lambda: call("GET", "/streams/door").json["state"] == "paused")


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ({}, ["body: the key 'uri' is missing"]),
        ({"uri": "testsrc2", "max_fsp": 3}, ["body: max_fsp: unknown key"]),
        ({"uri": "testsrc2", "max_fps": 0}, ["body: max_fps: got 0, allowed: 0.01 to 1000"]),
        ({"uri": "testsrc2", "name": "a/b"}, ["body: name: got the text 'a/b'"]),
        ({"uri": "testsrc2", "boxes": [[5, 5, 1, 1]]}, ["boxes.0", "x0 < x1"]),
        ({"uri": "gopher://x"}, ["unknown scheme gopher://"]),
        ({"uri": "/no/such/file.mp4"}, ["no such file or folder"]),
        ({"uri": "rtsp://***@camera/x"}, ["body: uri: holds ***"]),
        ([1], ["body: expected an object of keys, got list"]),
    ],
)
def test_a_wrong_body_is_a_problem_with_the_key_and_the_next_step(call, served, body, parts):
    problem = call.problem(422, "wrong-value", "POST", "/streams", body)
    for part in parts:
        assert part in problem["detail"]
    assert served.pipeline.streams.names == ()


def test_the_message_is_that_of_the_configuration_file(call, tmp_path):
    from streamprn.config import load_config
    from streamprn.errors import ConfigError

    path = tmp_path / "c.yaml"
    path.write_text("sources:\n- uri: testsrc2\n  rtsp_transport: tpc\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    problem = call.problem(
        422, "wrong-value", "POST", "/streams", {"uri": "testsrc2", "rtsp_transport": "tpc"}
    )
    assert caught.value.what.partition("sources.0.")[2] == problem["detail"].removeprefix("body: ")
    assert problem["next_step"] == caught.value.hint == "did you mean 'tcp'?"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"\xff", b'{"uri": "a", "uri": "b"}', b'{"max_fps": NaN}', b"[" * 100_000,
        b'{"uri": Infinity}',
    ],
)  # fmt: skip
def test_what_is_no_json_is_said_to_be_none(call, data):
    call.problem(
        400, "bad-request", "POST", "/streams", data, **{"Content-Type": "application/json"}
    )


def test_a_body_of_another_type_or_too_large_is_refused(call):
    kind = {"Content-Type": "text/plain"}
    call.problem(415, "wrong-type", "POST", "/streams", b'{"uri": "testsrc2"}', **kind)
    call.problem(413, "too-large", "POST", "/streams", {"uri": "a" * 300_000})


def test_conflicts_and_unknown_names_have_statuses_of_their_own(call, served):
    call("POST", "/streams", {"uri": PICTURE, "name": "door"})
    call.problem(409, "stream-exists", "POST", "/streams", {"uri": PICTURE, "name": "door"})
    for method, path in (
        ("GET", "/streams/dor"),
        ("DELETE", "/streams/dor"),
        ("POST", "/streams/dor/pause"),
        ("POST", "/streams/dor/resume"),
        ("GET", "/streams/dor/snapshot.jpg"),
        ("GET", "/streams/dor/overlay.mjpg"),
    ):
        problem = call.problem(404, "no-such-stream", method, path)
        assert problem["next_step"] == "did you mean 'door'?"
    call.problem(404, "no-such-stream", "PATCH", "/streams/dor", {"loop": True})
    problem = call.problem(422, "wrong-value", "PATCH", "/streams/door", {"name": "gate"})
    assert "keeps its name" in problem["detail"]
    call.problem(404, "no-such-page", "GET", "/stream")
    problem = call.problem(405, "wrong-method", "PUT", "/streams/door")
    assert problem["next_step"] == "allowed: DELETE, GET, PATCH"
    assert call("HEAD", "/streams/door/overlay.mjpg").status == 405


SECRET = "hunter2"


@pytest.mark.parametrize(
    "uri",
    [
        f"rtsp://admin:{SECRET}@127.0.0.1:1/live",
        f"rtsp://admin:12/{SECRET}@127.0.0.1:1/live",
        f"http://127.0.0.1:1/video?user=a&password={SECRET}",
        f"http://127.0.0.1:1/{SECRET}/video.mjpg",
        f"http://127.0.0.1:1/video?u=a&p={SECRET}",
    ],
)
def test_no_answer_shows_a_secret(call, uri):
    options = {"headers": f"Authorization: {SECRET}"}
    answers = [call("POST", "/streams", {"uri": uri, "name": "door", "options": options})]
    eventually(lambda: call("GET", "/streams/door").json["state"] == "reconnecting")
    answers.append(call("PATCH", "/streams/door", {"max_fps": 3}))
    answers += [call("GET", path) for path in ("/streams", "/streams/door", "/readyz", "/metrics")]
    # Of an address that can be read in two ways not even the host is shown.
    certain = f"/{SECRET}@" not in uri
    assert (b"127.0.0.1:1" in answers[0].data) == certain
    for answer in answers:
        assert SECRET.encode() not in answer.data


def test_there_is_a_bound_on_streams(call, served, monkeypatch):
    monkeypatch.setattr("streamprn.serve.control.MAX_SOURCES", 2)
    for name in ("a", "b"):
        assert call("POST", "/streams", {"uri": PICTURE, "name": name}).status == 201
    call.problem(409, "too-many-streams", "POST", "/streams", {"uri": PICTURE, "name": "c"})


def test_a_failed_file_says_why(call, tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("no film")
    call("POST", "/streams", {"uri": str(path), "name": "film"})
    eventually(lambda: call("GET", "/streams/film").json["state"] == SourceState.FAILED)
    assert "no readable video" in call("GET", "/streams/film").json["cause"]
