"""`run --http`, `ctl`, SIGHUP, the service manager, JSON logs: the program as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import time

import pytest

PICTURE = "lavfi:testsrc2=size=320x240:rate=30,realtime"
BIND = ("--bind", "tcp://127.0.0.1:*", "--http", "127.0.0.1:0")


@pytest.fixture
def manager(tmp_path):
    """A service manager's socket, as systemd makes it."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(path)
        bound.settimeout(60)
        yield path, bound


def _until(bound, wanted):
    """Read what the manager is told until a message holds `wanted`."""
    told = []
    while not told or wanted not in told[-1]:
        told.append(bound.recv(4096).decode())
    return told


@pytest.mark.timed
def test_a_service_is_steered_reloaded_watched_and_stopped(start, streamprn, elsewhere, manager):
    path, told = manager
    file = elsewhere / "cams.yaml"
    file.write_text(f"log: {{format: json}}\nsources:\n- {{uri: '{PICTURE}', name: a}}\n")
    process = start(
        *("run", "--config", file, *BIND),
        env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "600000", "WATCHDOG_PID": ""},
    )
    said = process.wait_for("control on")
    at = ("--at", said.split("control on ")[1].split(";")[0])
    assert _until(told, "READY=1")[-1].splitlines() == ["WATCHDOG=1", "READY=1", "STATUS=1 streams"]
    began = time.monotonic()
    _until(told, "WATCHDOG=1")
    assert time.monotonic() - began < 0.6

    assert streamprn("ctl", "add", PICTURE, "--name", "b", "--set", "max_fps=5", *at).code == 0
    listed = json.loads(streamprn("ctl", "list", "--json", *at).out)["streams"]
    assert [(one["name"], one["source"]["max_fps"]) for one in listed] == [("a", None), ("b", 5)]
    assert "a: paused" in streamprn("ctl", "pause", "a", *at).out
    table = streamprn("ctl", "list", *at).out.splitlines()
    assert table[0].split()[:2] == ["stream", "state"]
    assert table[1].split()[:2] == ["a", "paused"]
    assert streamprn("ctl", "resume", "a", *at).code == 0

    file.write_text(f"sources:\n- {{uri: '{PICTURE}', name: c}}\n")
    process.popen.send_signal(signal.SIGHUP)
    reloading = _until(told, "RELOADING=1")[-1]
    assert "MONOTONIC_USEC=" in reloading
    assert "1 added, 1 removed" in _until(told, "READY=1")[-1]
    listed = json.loads(streamprn("ctl", "list", "--json", *at).out)["streams"]
    assert [one["name"] for one in listed] == ["b", "c"]
    assert "unchanged: c" in streamprn("ctl", "reload", *at).out
    assert streamprn("ctl", "remove", "b", *at).out == "b: removed\n"
    wrong = streamprn("ctl", "remove", "bb", *at)
    assert (wrong.code, "there is no stream 'bb'" in wrong.error) == (2, True)

    code, err, _ = process.signal(signal.SIGTERM)
    assert code == 0  # 143 where it took longer than 0.7 s
    _until(told, "STOPPING=1")
    lines = [json.loads(line) for line in (said + err).splitlines() if line.startswith("{")]
    assert len({line["run"] for line in lines}) == 1
    live = [line for line in lines if line.get("state") == "live"]
    assert {line["stream"] for line in live} == {"a", "b", "c"}
    assert all(line["level"] == "info" and line["time"].endswith("+00:00") for line in live)


def test_without_a_service_manager_or_http_sighup_does_not_end_the_run(start):
    process = start("run", "testsrc2", "--bind", "tcp://127.0.0.1:*", "--verbose")
    process.wait_for("testsrc2 is live")
    process.popen.send_signal(signal.SIGHUP)
    process.wait_for("nothing was reloaded: there is no configuration file")
    assert process.popen.poll() is None
    assert process.signal(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--http", "0.0.0.0:0"], ["other machines reach 0.0.0.0:0", "--http-token FILE"]),
        (["--http", "nonsense"], ["http.bind", "HOST:PORT"]),
        (["--http", "127.0.0.1:0", "--http-token", "no-file"], ["no-file: no token can be read"]),
        (["--http", "127.0.0.1:0", "--http-token", "open"], ["mode 0644", "chmod 600 open"]),
    ],
)
def test_a_service_that_cannot_be_is_refused_with_exit_code_2(
    streamprn, elsewhere, arguments, parts
):
    (elsewhere / "open").write_text("0123456789abcdef")
    (elsewhere / "open").chmod(0o644)
    done = streamprn("run", "testsrc2", "--bind", "tcp://127.0.0.1:*", *arguments)
    assert done.code == 2
    for part in parts:
        assert part in done.error


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["list", "--at", "127.0.0.1:1"], ["no engine answers at 127.0.0.1:1", "run --http"]),
        (["list", "--at", "http://"], ["expected HOST:PORT"]),
        (["list", "--at", "a:b"], ["expected HOST:PORT"]),
        (["add", "x", "--set", "loop", "--at", "127.0.0.1:1"], ["expected KEY=VALUE"]),
        (["lst"], ["invalid choice", "streamprn ctl --help"]),
        ([], ["required: ACTION"]),
    ],
)
def test_bad_input_to_ctl_is_one_line_and_exit_code_2(streamprn, arguments, parts):
    done = streamprn("ctl", *arguments)
    assert done.code == 2
    for part in parts:
        assert part in done.error


def test_an_answer_of_somebody_else_is_no_traceback(streamprn):
    from tests.support.http_server import HttpServer

    with HttpServer() as server:
        at = server.url("").removeprefix("http://").rstrip("/")
        done = streamprn("ctl", "list", "--at", at)
    assert done.code == 2
    assert "is it a streamprn engine?" in done.error


def test_a_watchdog_meant_for_another_process_is_not_fed(monkeypatch):
    from streamprn.serve.systemd import notify, watchdog_s

    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_s() == 3.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_s() is None
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "@streamprn-nobody-listens")
    assert not notify("READY=1")


def test_a_service_that_ends_by_itself_tells_of_a_source_that_failed(streamprn, elsewhere):
    (elsewhere / "text.mp4").write_text("no film")
    done = streamprn("run", "text.mp4", PICTURE, *BIND, "--max-frames", 40)
    assert done.code == 2
    assert "no readable video" in done.error
