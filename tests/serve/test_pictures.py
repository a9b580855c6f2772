"""Pictures over HTTP: with faces, of now, and never at the engine's cost."""

from __future__ import annotations

import http.client
import socket
import time

import cv2
import numpy as np
import pytest

from tests.serve.conftest import PICTURE, running
from tests.support.wire import eventually


@pytest.fixture
def call(served, clips):
    served.client("POST", "/streams", {"uri": clips.still().uri, "name": "face", "loop": True})
    eventually(lambda: served.client("GET", "/streams/face").json["faces"] > 0)
    yield served.client
    for name in served.pipeline.streams.names:
        served.pipeline.streams.remove(name)


def _picture(data):
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def test_a_snapshot_shows_the_frame_with_its_face(call, served):
    with_face = call("GET", "/streams/face/snapshot.jpg")
    assert with_face.headers["Content-Type"] == "image/jpeg"
    assert abs(float(with_face.headers["X-Frame-Time"]) - time.time()) < 5
    plain = call("GET", "/streams/face/snapshot.jpg?overlay=false")
    drawn, bare = _picture(with_face.data), _picture(plain.data)
    assert drawn.shape == bare.shape
    # The clip stands still: what differs is what was drawn.
    differs = np.abs(drawn.astype(int) - bare.astype(int)).max(axis=2) > 60
    assert 0.002 < differs.mean() < 0.3
    green = (drawn[:, :, 1].astype(int) - drawn[:, :, 2] > 80) & differs
    assert green.sum() > 100
    assert served.service._previews.viewers == 0


def test_a_stream_that_shows_nothing_has_no_picture_but_a_reason(call, monkeypatch):
    monkeypatch.setattr("streamprn.serve.app.SNAPSHOT_TIMEOUT_S", 0.5)
    call("POST", "/streams/face/pause")
    # A frame that was on its way when the stream was paused is still shown.
    eventually(lambda: call("GET", "/streams/face/snapshot.jpg").status == 503)
    problem = call.problem(503, "no-picture", "GET", "/streams/face/snapshot.jpg")
    assert "it is paused" in problem["detail"]


def _film(call, name):
    connection = http.client.HTTPConnection(call.host, call.port, timeout=10)
    connection.request("GET", f"/streams/{name}/overlay.mjpg")
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("multipart/x-mixed-replace")
    return connection, answer


def _next(answer):
    length = 0
    while line := answer.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    data = answer.read(length)
    assert answer.readline() == b"\r\n"
    return data


@pytest.mark.timed
def test_a_film_goes_on_at_its_pace_and_ends_with_its_stream(call, served):
    connection, answer = _film(call, "face")
    began = time.monotonic()
    for _ in range(8):
        _picture(_next(answer))
    assert 0.4 < time.monotonic() - began < 5  # 10 a second of 30
    call("DELETE", "/streams/face")
    while answer.readline():
        pass
    connection.close()
    eventually(lambda: served.service._previews.viewers == 0)


def test_a_client_that_leaves_is_forgotten(call, served):
    connection, answer = _film(call, "face")
    _next(answer)
    assert served.service._previews.viewers == 1
    answer.close()
    connection.close()
    eventually(lambda: served.service._previews.viewers == 0)


def test_viewers_are_bounded(call, served, monkeypatch):
    monkeypatch.setattr(served.service._previews, "_max_viewers", 1)
    connection, answer = _film(call, "face")
    _next(answer)
    call.problem(503, "busy", "GET", "/streams/face/overlay.mjpg")
    call.problem(503, "busy", "GET", "/streams/face/snapshot.jpg")
    answer.close()
    connection.close()
    eventually(lambda: served.service._previews.viewers == 0)
    assert call("GET", "/streams/face/snapshot.jpg").status == 200


def test_a_client_that_does_not_read_slows_nobody_and_is_let_go(engine, detector, monkeypatch):
    from streamprn.serve import server

    monkeypatch.setattr(server, "PATIENCE_S", 1.0)
    monkeypatch.setattr(server, "CHECK_S", 0.2)
    large = "lavfi:testsrc2=size=1280x720:rate=30,realtime"
    http_settings = {"bind": "127.0.0.1:0", "preview_fps": 60}
    with running(engine, detector, http=http_settings) as one:
        one.client("POST", "/streams", {"uri": large, "name": "wall"})
        eventually(lambda: one.client("GET", "/streams/wall").json["frames"] > 5)
        with socket.socket() as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.connect((one.client.host, one.client.port))
            stuck.sendall(b"GET /streams/wall/overlay.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            eventually(lambda: one.service._previews.viewers == 1)
            before = one.client("GET", "/streams/wall").json["frames"]
            began = time.monotonic()
            assert one.client("GET", "/streams/wall/snapshot.jpg").status == 200
            eventually(lambda: one.service._previews.viewers == 0, 15)
            passed = time.monotonic() - began
            seen = one.client("GET", "/streams/wall").json["frames"] - before
        # Half of the 30 a second at the least, on a machine that may be busy.
        assert seen > 15 * passed * 0.5


def test_nothing_is_kept_while_nobody_looks(call, served):
    assert call("GET", "/streams/face/snapshot.jpg").status == 200
    assert served.service._previews._previews == {}


def test_an_empty_picture_is_a_picture(call):
    call("POST", "/streams", {"uri": PICTURE, "name": "empty"})
    shown = _picture(call("GET", "/streams/empty/snapshot.jpg").data)
    assert shown.shape == (240, 320, 3)
