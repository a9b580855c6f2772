"""Health, readiness, figures, the description, and who is let in."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
import time

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from streamprn.config import Config
from streamprn.errors import InputError, PublishError
from streamprn.live.pipeline import Pipeline
from streamprn.serve import openapi, server
from streamprn.serve.app import PAGES
from streamprn.serve.listen import listen, read_token
from streamprn.serve.liveness import Health, Liveness
from streamprn.serve.service import Service
from tests.serve.conftest import PICTURE, Client, running
from tests.support.wire import eventually

DEAD = "rtsp://127.0.0.1:1/none"


@pytest.fixture
def call(served):
    yield served.client
    for name in served.pipeline.streams.names:
        served.pipeline.streams.remove(name)


# --- health ---------------------------------------------------------------------------------------


def test_ready_is_what_every_required_stream_is_live(call):
    eventually(lambda: call("GET", "/readyz").status == 200)
    assert call("GET", "/healthz").json == {"status": "alive"}
    call("POST", "/streams", {"uri": DEAD, "name": "dead"})
    answer = call("GET", "/readyz")
    assert answer.status == 503
    assert answer.json["not_ready"][0]["name"] == "dead"
    assert call("GET", "/healthz").status == 200
    call("PATCH", "/streams/dead", {"required": False})
    assert call("GET", "/readyz").json == {"status": "ready", "engine": "alive", "not_ready": []}


def test_the_service_answers_before_the_engine_is_warm(engine, detector):
    config = Config.from_mapping(
        {"publish": {"bind": "tcp://127.0.0.1:*"}, "http": {"bind": "127.0.0.1:0"}}
    )
    with (
        Service(config, None) as service,
        Pipeline(config, engine=engine, detector=detector, sinks=service.sinks) as pipeline,
        service.attending(pipeline),
    ):
        client = Client(service.url)
        assert client("GET", "/healthz").json == {"status": "starting"}
        assert client("GET", "/readyz").status == 503


class Stopper:
    """A sink that does not return while it is shut: the finish loop hangs in it."""

    wanted = frozenset()

    def __init__(self):
        self.open = threading.Event()
        self.open.set()

    def take(self, result, published_ns):
        self.open.wait(30)

    def close(self):
        pass


def test_a_loop_is_stuck_when_frames_wait_and_it_takes_none(engine, detector):
    stopper, stop = Stopper(), threading.Event()
    config = Config.from_mapping(
        {"publish": {"bind": "tcp://127.0.0.1:*"}, "sources": [{"uri": PICTURE}]}
    )
    with Pipeline(config, engine=engine, detector=detector, sinks=[stopper]) as pipeline:
        liveness = Liveness(pipeline, patience_s=0.3)
        assert liveness.tick() is Health.STARTING
        thread = threading.Thread(target=pipeline.run, args=(stop,))
        thread.start()
        eventually(lambda: liveness.tick() is Health.ALIVE, 90)
        stopper.open.clear()
        eventually(lambda: liveness.tick() is Health.STUCK)
        stopper.open.set()
        eventually(lambda: liveness.tick() is Health.ALIVE)
        (name,) = pipeline.streams.names
        pipeline.streams.pause(name)  # nothing waits: the loops may rest as long as they like
        eventually(lambda: pipeline.streams.find(name).reader.status.state == "paused")
        rested = time.monotonic() + 0.6
        while time.monotonic() < rested:
            assert liveness.tick() is Health.ALIVE
            time.sleep(0.05)
        stop.set()
        thread.join(10)
        assert liveness.tick() is Health.ENDED


# --- figures --------------------------------------------------------------------------------------


def _figures(call):
    answer = call("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.data.decode())
        for sample in family.samples
    }


def test_the_figures_are_those_of_the_streams(call, served, clips):
    source = {"uri": clips.still().uri, "name": "film", "realtime": False, "max_fps": 15}
    call("POST", "/streams", source)
    call("POST", "/streams", {"uri": DEAD, "name": "dead"})
    eventually(lambda: call("GET", "/streams/film").json["frames"] == 15)
    eventually(lambda: call("GET", "/streams/dead").json["state"] == "reconnecting")
    shown = call("GET", "/streams/film").json
    found = _figures(call)
    film = (("stream", "film"),)
    assert shown["frames"] == 15 == found["streamprn_frames_total", film]
    assert found["streamprn_faces_total", film] == shown["faces"] == 15
    late = ("streamprn_dropped_frames_total", (("cause", "max_fps"), *film))
    assert found[late] == 15
    assert found["streamprn_latency_seconds_count", film] == 15
    assert found["streamprn_last_frame_age_seconds", film] > 0
    for stage in ("decode", "wait", "track", "crop", "network", "geometry", "publish"):
        labels = (("stage", stage), *film)
        assert found["streamprn_stage_seconds_count", labels] == 15
        assert 0 <= found["streamprn_stage_seconds_sum", labels] < 60
    states = {
        dict(labels)["state"]: value
        for (name, labels), value in found.items()
        if name == "streamprn_stream_state" and dict(labels)["stream"] == "dead"
    }
    assert states.pop("reconnecting") + states.pop("connecting") == 1
    assert not any(states.values())
    assert found["streamprn_alive", ()] == 1
    assert found["streamprn_streams", ()] == 2
    assert found["process_resident_memory_bytes", ()] > 1e6
    assert found["process_open_fds", ()] > 3
    assert found["streamprn_loop_busy_seconds_total", (("loop", "look"),)] > 0
    assert ("streamprn_queue_age_seconds", (("loop", "finish"),)) in found
    assert any(name == "streamprn_info" and ("run", "run-1") in of for name, of in found)


def test_buckets_count_up_to_the_number_of_frames(call, clips):
    call("POST", "/streams", {"uri": clips.still().uri, "name": "film", "realtime": False})
    eventually(lambda: call("GET", "/streams/film").json["frames"] == 30)
    buckets = [
        value
        for (name, labels), value in _figures(call).items()
        if name == "streamprn_latency_seconds_bucket" and ("stream", "film") in labels
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 30


def test_a_stream_that_is_gone_leaves_no_figure(call):
    call("POST", "/streams", {"uri": PICTURE, "name": "door"})
    eventually(lambda: call("GET", "/streams/door").json["frames"] > 0)
    assert b'"door"' in call("GET", "/metrics").data
    call("DELETE", "/streams/door")
    eventually(lambda: b'"door"' not in call("GET", "/metrics").data)


def test_openmetrics_is_given_to_those_who_ask_and_holds_the_same(call, clips):
    call("POST", "/streams", {"uri": clips.still().uri, "name": "film", "realtime": False})
    eventually(lambda: call("GET", "/streams/film").json["frames"] == 30)
    answer = call("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    families = list(openmetrics.text_string_to_metric_families(answer.data.decode()))
    plain = text_string_to_metric_families(call("GET", "/metrics").data.decode())
    film = {"stream": "film"}

    def counted(families):
        samples = (sample for family in families for sample in family.samples)
        return sorted(
            (sample.name, sorted(sample.labels.items()), sample.value)
            for sample in samples
            if sample.labels.items() >= film.items() and "frame_age" not in sample.name
        )

    assert counted(families) == counted(plain)
    assert len(counted(families)) > 100


# --- the description ------------------------------------------------------------------------------


def test_the_description_names_every_page_and_no_other(call):
    described = call("GET", "/openapi.json").json
    paths = {(path, method.upper()) for path, of in described["paths"].items() for method in of}
    assert paths == {(path, method) for path, method, _ in PAGES}
    assert described["openapi"].startswith("3.1")


def test_every_reference_of_the_description_leads_somewhere():
    described = openapi.document("1")
    names = re.findall(r"#/components/schemas/(\w+)", json.dumps(described))
    assert set(names) == set(described["components"]["schemas"])


def test_the_schema_of_a_source_has_the_bounds_that_are_checked():
    source = openapi.document("1")["components"]["schemas"]["Source"]
    assert source["required"] == ["uri"]
    of = source["properties"]
    assert of["max_fps"]["type"] == ["number", "null"]
    assert (of["max_fps"]["minimum"], of["max_fps"]["maximum"]) == (0.01, 1000)
    assert of["rotate"]["enum"] == [0, 90, 180, 270, None]
    assert of["rtsp_transport"]["default"] == "tcp"
    assert (of["crop"]["minItems"], of["boxes"]["items"]["minItems"]) == (4, 4)


def test_what_the_description_says_of_a_stream_is_what_is_answered(call):
    shown = call("POST", "/streams", {"uri": PICTURE, "name": "door"}).json
    schemas = call("GET", "/openapi.json").json["components"]["schemas"]
    # Which worker has it is said where there are several: tests/cluster/test_front.py.
    assert set(shown) == set(schemas["Stream"]["properties"]) - {"worker"}
    assert set(shown["source"]) == set(schemas["Source"]["properties"])


def test_the_page_fetches_nothing_from_elsewhere(call):
    answer = call("GET", "/docs")
    text = answer.data.decode()
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"(src|href)=.?(https?:)?//", text)
    for path, _, _ in PAGES:
        assert f"<code>{path}</code>" in text
    assert call("GET", "/").headers["Location"] == "/docs"


# --- who is let in --------------------------------------------------------------------------------


def test_a_page_of_another_host_is_refused(call):
    call.problem(403, "wrong-origin", "GET", "/streams", Origin="http://evil.example")
    call.problem(403, "wrong-origin", "GET", "/streams", Host="evil.example:8088")
    call.problem(403, "wrong-origin", "GET", "/streams", Host="127.0.0.1.evil.example")
    own = f"http://127.0.0.1:{call.port}"
    assert call("GET", "/streams", Origin=own).status == 200
    assert call("GET", "/streams", Host="localhost:1").status == 200
    assert call("GET", "/streams", Host=f"[::1]:{call.port}").status == 200


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("0123456789abcdef-secret\n")
    path.chmod(0o600)
    return path


def test_with_a_token_nothing_else_is_answered_without_it(engine, detector, token_file):
    http_settings = {"bind": "127.0.0.1:0", "token_file": str(token_file)}
    with running(engine, detector, http=http_settings) as one:
        call, token = one.client, token_file.read_text().strip()
        one.pipeline.streams.add(DEAD)
        for path, method in {(path, method) for path, method, _ in PAGES}:
            if path not in ("/healthz", "/readyz"):
                call.problem(401, "no-token", method, path.replace("{name}", "x"))
        for wrong in (
            "Bearer x",
            f"Basic {token}",
            token,
            "Bearer",
            f"Bearer {token}x",
            "Bearer ü",
        ):
            answer = call.problem(401, "no-token", "GET", "/streams", Authorization=wrong)
            assert token not in json.dumps(answer)
        assert call("GET", "/streams").headers["WWW-Authenticate"] == "Bearer"
        good = {"Authorization": f"Bearer {token}"}
        assert call("GET", "/streams", **good).status == 200
        assert call("GET", "/streams", Host="cam-box:8088", **good).status == 200
        assert call("GET", "/readyz").json == {"status": "not ready"}
        assert call("GET", "/readyz", **good).json["not_ready"]
        assert call("GET", "/healthz").status == 200


def test_other_machines_reach_it_with_a_token_alone():
    for bind in ("0.0.0.0:0", "*:0", "[::]:0"):
        with pytest.raises(InputError, match=r"other machines reach.*--http-token FILE"):
            listen(bind, None)
        listener = listen(bind, "0123456789abcdef")
        assert not listener.local
        listener.close()
    for bind in ("127.0.0.1:0", "localhost:0"):
        listener = listen(bind, None)
        assert listener.local
        listener.close()


@pytest.mark.parametrize(
    "bind", ["127.0.0.1", "127.0.0.1:70000", "no.such.host.invalid:1", "192.0.2.1:0"]
)
def test_an_address_that_cannot_be_used_is_one_line(bind):
    with pytest.raises(PublishError, match=rf"http.bind: {re.escape(bind)}"):
        listen(bind, "0123456789abcdef")


def test_a_port_in_use_is_said_to_be(served):
    with pytest.raises(PublishError, match=r"in use.*port 0 takes any free port"):
        listen(f"127.0.0.1:{served.client.port}", None)


def test_a_token_is_taken_only_from_a_file_of_ones_own(token_file, tmp_path):
    assert read_token(token_file) == "0123456789abcdef-secret"
    token_file.chmod(0o640)
    with pytest.raises(InputError, match=r"mode 0640.*chmod 600"):
        read_token(token_file)
    token_file.chmod(0o600)
    for text in ("", "short", "two words of a long token", "x" * 5000):
        token_file.write_text(text)
        with pytest.raises(InputError, match=r"holds no token|too long for a token"):
            read_token(token_file)
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="no token can be read"):
            read_token(path)


# --- clients that misbehave -----------------------------------------------------------------------


@pytest.mark.timed
def test_a_client_that_never_ends_its_request_is_let_go(engine, detector, monkeypatch):
    monkeypatch.setattr(server, "PATIENCE_S", 0.3)
    monkeypatch.setattr(server, "CHECK_S", 0.1)
    with running(engine, detector) as one:
        with socket.create_connection((one.client.host, one.client.port), 5) as slow:
            slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
            began = time.monotonic()
            with pytest.raises(OSError):
                while True:
                    slow.sendall(b"a")
                    time.sleep(0.05)
            assert 0.2 < time.monotonic() - began < 3
        assert one.client("GET", "/healthz").status == 200


def test_connections_are_bounded(engine, detector, monkeypatch):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 5)
    with running(engine, detector) as one:
        address = (one.client.host, one.client.port)
        held = [socket.create_connection(address, 5) for _ in range(12)]
        for held_one in held[8:]:
            held_one.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                assert held_one.recv(1) == b""
        for held_one in held:
            held_one.close()
        eventually(lambda: _answers(one.client))


def _answers(client):
    try:
        return client("GET", "/healthz").status == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    "data",
    [b"\x00\xff garbage\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 100_000,
     b"GET /" + b"%" * 60_000 + b" HTTP/1.1\r\n\r\n"],
)  # fmt: skip
def test_garbage_is_answered_and_the_next_client_served(call, data):
    with (
        socket.create_connection((call.host, call.port), 5) as raw,
        contextlib.suppress(ConnectionResetError, BrokenPipeError),
    ):
        raw.sendall(data)
        assert raw.recv(100).startswith(b"HTTP/1.1 4")
    assert call("GET", "/healthz").status == 200


@pytest.mark.timed
def test_a_server_ends_within_a_second_while_clients_hang_on_it(engine, detector):
    before = _threads()
    with running(engine, detector) as one:
        one.client("POST", "/streams", {"uri": PICTURE, "name": "door"})
        film = http.client.HTTPConnection(one.client.host, one.client.port, timeout=10)
        film.request("GET", "/streams/door/overlay.mjpg")
        assert film.getresponse().read(10)
        idle = socket.create_connection((one.client.host, one.client.port), 5)
        one.stop.set()
        began = time.monotonic()
    assert time.monotonic() - began < 2
    film.close()
    idle.close()
    eventually(lambda: _threads() == before)


def _threads():
    return sorted(thread.name for thread in threading.enumerate())
