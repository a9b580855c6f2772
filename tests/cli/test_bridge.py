"""`streamprn bridge` as a user calls it."""

import csv
import socket

import pytest

from tests.bridge.conftest import head, publishing


@pytest.fixture
def source():
    with publishing(turned=head(yaw=10), jawOpen=0.5) as source:
        yield source


def test_a_table_is_written_until_the_time_is_over(streamprn, source, elsewhere):
    endpoint = source.publisher.endpoint
    done = streamprn("bridge", "csv", endpoint, "--to", "faces.csv", "--duration", "2")
    assert done.code == 0, done.err
    assert "cam1 goes to faces.csv" in done.err
    with (elsewhere / "faces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert f"{len(rows)} frames passed on" in done.err
    assert rows[0]["success"] == "1"
    again = streamprn("bridge", "csv", endpoint, "--to", "faces.csv", "--duration", "2")
    assert again.code == 2
    assert again.error == "streamprn: error: faces.csv: exists (--replace writes over it)"


def test_the_program_sends_until_a_signal_ends_it(start, source):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        to = f"127.0.0.1:{receiver.getsockname()[1]}"
        bridge = start("bridge", "ifacialmocap", source.publisher.endpoint, "--to", to)
        assert b"jawOpen-50|" in receiver.recv(65536)
        code, err, _ = bridge.signal()
    assert code == 0
    assert "frames passed on" in err


def test_several_streams_are_one_clear_line(streamprn, source):
    source.streams = ("cam1", "garage")
    done = streamprn("bridge", "vmc", source.publisher.endpoint, "--duration", "5")
    assert done.code == 2
    assert "has several streams: cam1, garage (choose one: --stream cam1)" in done.error


def test_where_nothing_came_the_code_is_1(streamprn):
    done = streamprn("bridge", "livelink", "tcp://127.0.0.1:1", "--duration", "0.5")
    assert done.code == 1
    assert "waiting for tcp://127.0.0.1:1" in done.err
    assert "0 frames passed on" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["morse"], "invalid choice: 'morse'"),
        (
            ["vmc", "--to", "host:x"],
            "'host:x' is no address to send to (write it like 127.0.0.1:3",
        ),
        (["vmc", "--to", "no.such.host.invalid"], "no.such.host.invalid: no such host"),
        (["vmc", "--face", "all"], "vmc is about one face (--face largest, or an id)"),
        (["vmc", "--face", "0"], "expected largest, all or an id from 1 on"),
        (["csv"], "csv needs a file (e.g. --to faces.csv)"),
        (["vmc", "--stream", "a b"], "'a b' cannot name a stream"),
    ],
)
def test_what_cannot_be_is_said_at_once(streamprn, arguments, words):
    done = streamprn("bridge", *arguments, "--duration", "1")
    assert done.code == 2
    assert words in done.error
