"""Pages of other hosts and who lacks the token see nothing; a client that hangs delays no end."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time

import pytest

pytest.importorskip("viser", reason="viser missing: make test-view")

from viser import __version__ as viser_version
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from streamprn import cli
from streamprn.view.server import open_server

TOKEN = "0123456789abcdef0123"
PROTOCOLS = [f"viser-v{viser_version}"]


@pytest.fixture
def served():
    server = open_server("127.0.0.1", 0)
    yield server.get_port()
    server.stop()


@pytest.fixture
def guarded():
    server = open_server("127.0.0.1", 0, TOKEN)
    yield server.get_port()
    server.stop()


def status_of(port: int, headers: dict[str, str], origin: str | None = None) -> int:
    """Of the handshake; 101 where it is let in."""
    try:
        with connect(
            f"ws://127.0.0.1:{port}",
            subprotocols=PROTOCOLS,
            origin=origin,
            additional_headers=headers,
            proxy=None,
        ) as client:
            assert client.recv(timeout=5)
            return 101
    except InvalidStatus as error:
        return error.response.status_code


def get(port: int, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def test_a_page_of_another_host_gets_no_connection(served):
    assert status_of(served, {}) == 101
    assert status_of(served, {}, f"http://127.0.0.1:{served}") == 101
    for origin in ("https://evil.example", "http://127.0.0.1:1", "null", "http://[", ""):
        assert status_of(served, {}, origin) == 403, origin


def test_a_name_that_somebody_points_to_this_machine_gets_nothing(served):
    evil = f"evil.example:{served}"
    assert get(served, "/", Host=evil).status == 403
    assert get(served, "/", Host=f"localhost:{served}").status == 200
    with socket.create_connection(("127.0.0.1", served), 5) as raw:
        raw.sendall(
            f"GET / HTTP/1.1\r\nHost: {evil}\r\nOrigin: http://{evil}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {PROTOCOLS[0]}\r\n\r\n".encode()
        )
        assert b" 403 " in raw.recv(4096).split(b"\r\n")[0]


def test_where_a_token_is_asked_for_nothing_comes_without_it(guarded):
    assert status_of(guarded, {}) == get(guarded, "/").status == 401
    assert get(guarded, "/?token=wrong").status == 401
    answer = get(guarded, f"/?token={TOKEN}")
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie, *rest = answer.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict"} <= set(rest)
    assert TOKEN not in cookie
    assert get(guarded, "/", Cookie=cookie).status == 200
    assert status_of(guarded, {"Cookie": cookie}) == 101
    assert status_of(guarded, {"Cookie": cookie}, "https://evil.example") == 403
    assert status_of(guarded, {"Cookie": cookie.partition("=")[0] + "=x"}) == 401


def test_other_machines_are_let_in_by_a_token_or_a_word_only(capsys, tmp_path):
    assert cli.main(["view", "--host", "0.0.0.0"]) == 2
    assert "give --token FILE" in capsys.readouterr().err
    (tmp_path / "token").write_text("short")
    (tmp_path / "token").chmod(0o600)
    assert cli.main(["view", "--host", "0.0.0.0", "--token", str(tmp_path / "token")]) == 2
    assert "holds no token" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_whatever_clients_do(number):
    program = subprocess.Popen(
        [sys.executable, "-m", "streamprn", "view", "--port", "0"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        said = next(line for line in program.stderr if line.startswith("open "))
        port = int(said.split()[1].rpartition(":")[2])
        # One that says nothing, one that answers nothing, and one as it should be.
        with (
            socket.create_connection(("127.0.0.1", port)),
            connect(f"ws://127.0.0.1:{port}", subprotocols=PROTOCOLS, max_queue=1, proxy=None),
            connect(f"ws://127.0.0.1:{port}", subprotocols=PROTOCOLS, proxy=None) as client,
        ):
            assert client.recv(timeout=5)
            began = time.monotonic()
            program.send_signal(number)
            _, rest = program.communicate(timeout=15)
            assert time.monotonic() - began < 4
    finally:
        program.kill()
        program.wait()
    assert program.returncode == 0, rest
