"""A real pipeline with its service on loopback, and a client of the standard library."""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from streamprn.config import Config
from streamprn.live.pipeline import Pipeline
from streamprn.serve.service import Service
from tests.live.conftest import clips, detector, engine  # noqa: F401
from tests.support.wire import eventually

#: A live source that needs no file; it shows no face.
PICTURE = "lavfi:testsrc2=size=320x240:rate=30,realtime"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    data: bytes

    @property
    def json(self):
        return json.loads(self.data)


class Client:
    """One request a connection."""

    def __init__(self, url):
        self.host = urlsplit(url).hostname
        self.port = urlsplit(url).port

    def __call__(self, method, path, body=None, timeout=20, **headers):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers = {"Content-Type": "application/json", **headers}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def problem(self, status, key, method, path, body=None, **headers):
        """A request that must be answered with this problem."""
        answer = self(method, path, body, **headers)
        assert answer.status == status, answer
        assert answer.headers["Content-Type"] == "application/problem+json"
        found = answer.json
        assert found["type"] == f"urn:streamprn:problem:{key}"
        assert (found["status"], found["instance"]) == (status, path)
        assert found["title"]
        assert found["detail"]
        return found


@dataclass
class Running:
    client: Client
    pipeline: Pipeline
    service: Service
    stop: threading.Event


@contextmanager
def running(engine, detector, read_again=None, **mapping):  # noqa: F811
    """A pipeline with its service, until the block ends."""
    base = {"publish": {"bind": "tcp://127.0.0.1:*"}, "http": {"bind": "127.0.0.1:0"}}
    config = Config.from_mapping(base | mapping)
    stop, failed = threading.Event(), []
    with (
        Service(config, read_again, "run-1") as service,
        Pipeline(config, engine=engine, detector=detector, sinks=service.sinks) as pipeline,
        service.attending(pipeline, stop),
    ):

        def run():
            try:
                pipeline.run(stop, until_stopped=True)
            except BaseException as error:  # noqa: BLE001
                failed.append(error)

        thread = threading.Thread(target=run, name="runner")
        thread.start()
        try:
            # The first start of all compiles kernels.
            eventually(lambda: pipeline.running or failed, 90)
            yield Running(Client(service.url), pipeline, service, stop)
        finally:
            stop.set()
            thread.join(10)
    assert failed == []
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def served(engine, detector):  # noqa: F811
    """One for all tests of a module; they leave no stream behind."""
    with running(engine, detector) as one:
        yield one
