"""Whatever is sent to the control interface, it answers, and goes on.

`STREAMPRN_FUZZ=10000 pytest tests/serve/test_fuzz.py` takes longer.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from streamprn.config import SourceConfig
from streamprn.serve.app import PAGES
from tests.serve.conftest import PICTURE

EXAMPLES = int(os.environ.get("STREAMPRN_FUZZ", "150"))
fuzz = settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=40),
)  # fmt: skip
VALUE = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
KEYS = st.sampled_from(list(SourceConfig.__dataclass_fields__)) | st.text(max_size=12)
URI = st.sampled_from(
    [PICTURE, "rtsp://127.0.0.1:1/x", "/no/such", "0x", "***", "lavfi:", "file://["]
)
BODY = st.dictionaries(KEYS, VALUE, max_size=5) | VALUE


# The backoff of a stream that is away draws from `random` in its own thread, which Hypothesis
# takes for its strategies' doing.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


@pytest.fixture
def call(served):
    served.client("POST", "/streams", {"uri": PICTURE, "name": "door"})
    before = threading.active_count()
    yield served.client
    for name in served.pipeline.streams.names:
        served.pipeline.streams.remove(name)
    assert served.client("GET", "/healthz").json == {"status": "alive"}
    assert threading.active_count() <= before + 24  # workers of the server, and readers that end


def _remove(served, body):
    for name in served.pipeline.streams.names:
        if name != "door":
            served.pipeline.streams.remove(name)


@fuzz
@given(body=BODY, uri=st.none() | URI, method=st.sampled_from(["POST", "PATCH"]))
def test_any_body_is_taken_or_is_a_problem(call, served, body, uri, method):
    if uri is not None and isinstance(body, dict):
        body = {**body, "uri": uri}
    path = "/streams" if method == "POST" else "/streams/door"
    answer = call(method, path, body)
    if answer.status >= 400:
        assert answer.status < 500, (body, answer)
        assert answer.json["detail"]
    _remove(served, body)


NAMES = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=20)
LINES = st.lists(st.tuples(NAMES, NAMES), max_size=4)


@fuzz
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "A" * 99]),
    path=st.sampled_from([path for path, *_ in PAGES if "mjpg" not in path]) | NAMES,
    name=NAMES,
    lines=LINES,
    body=st.binary(max_size=200),
    head=st.booleans(),
)
def test_any_bytes_are_answered_or_the_connection_ends(call, method, path, name, lines, body, head):
    parts = [f"{method} /{path.lstrip('/').replace('{name}', name)} HTTP/1.1"]
    if head:
        parts += [f"Host: 127.0.0.1:{call.port}", "Content-Type: application/json",
                  f"Content-Length: {len(body)}"]  # fmt: skip
    parts += ["Connection: close", *(f"{key}: {value}" for key, value in lines)]
    data = "\r\n".join(parts).encode("latin-1") + b"\r\n\r\n" + body
    with (
        socket.create_connection((call.host, call.port), 5) as raw,
        contextlib.suppress(ConnectionError),
    ):
        raw.sendall(data)
        raw.shutdown(socket.SHUT_WR)
        answer = raw.recv(12)
        assert not answer or answer.startswith(b"HTTP/1.1 "), answer
        assert not answer.startswith((b"HTTP/1.1 500", b"HTTP/1.1 502")), data
