"""`streamprn run`: settings from file and flags, bad input, signals, recordings."""

import json
import os
import signal
import socket
import time

import av
import numpy as np
import pytest

from streamprn.cli import whole_parser
from streamprn.cli.run import config_from
from streamprn.config import Config, load_config
from streamprn.wire.record import read


def _args(*arguments):
    return whole_parser().parse_args(["run", *map(str, arguments)])


def test_flags_override_the_file_and_sources_replace_its_sources(elsewhere):
    (elsewhere / "config.yaml").write_text(
        "sources: [{uri: a.mp4}]\nengine: {name: x, threads: 3}\nlog: {level: error}\n"
    )
    config = config_from(
        _args("b.mp4", "1", "--engine", "y", "--loop", "--fast", "--set", "sources.b.max_fps=5")
    )
    assert [source.uri for source in config.sources] == ["b.mp4", "1"]
    assert all(source.loop and not source.realtime for source in config.sources)
    assert config.sources[0].max_fps == 5
    assert (config.engine.name, config.engine.threads) == ("y", 3)
    assert config.log.level == "error"
    assert config_from(_args()).sources[0].uri == "a.mp4"
    assert config_from(_args("--quiet")).log.level == "warning"
    assert config_from(_args("--verbose")).log.level == "debug"


def test_a_written_example_runs_as_it_is(streamprn, elsewhere):
    path = elsewhere / "config.yaml"
    assert streamprn("run", "--write-config", path).code == 0
    assert load_config(path) == config_from(_args())
    again = streamprn("run", "--write-config", path)
    assert again.code == 2
    assert "exists already" in again.error


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["nothing to read", "streamprn run SOURCE", "--write-config"]),
        (["--config", "no.yaml"], ["no.yaml: cannot read the configuration"]),
        (["missing.mp4"], ["missing.mp4", "no such file"]),
        (["gopher://x"], ["unknown scheme gopher://"]),
        (["a", "--set", "engine.threads"], ["expected KEY=VALUE"]),
        (["a", "--set", "engine.threads=[1"], ["--set", "is not a YAML value"]),
        (["a", "--set", "engine.threads=0"], ["--set: engine.threads: got 0, allowed: 1 to 256"]),
        (["a", "--set", "engin.threads=1"], ["did you mean 'engine'?"]),
        (["a", "--backend", "opnvino"], ["engine.backend", "did you mean 'openvino'?"]),
        (["testsrc2", "--engine", "nope"], ["there is no engine 'nope'"]),
        (["a", "--bind", "localhost"], ["publish.bind", "tcp://HOST:PORT"]),
        (["testsrc2", "--record", "/dev/null/x", "--bind", "tcp://127.0.0.1:*"], ["/dev/null/x"]),
        (["--write-config", "/nowhere/c.yaml"], ["/nowhere/c.yaml: cannot be written"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(streamprn, arguments, parts):
    done = streamprn("run", *arguments)
    assert done.code == 2
    for part in parts:
        assert part in done.error


def test_a_port_in_use_is_one_line(streamprn):
    with socket.create_server(("127.0.0.1", 0)) as server:
        bind = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        done = streamprn("run", "testsrc2", "--bind", bind)
    assert done.code == 2
    assert bind in done.error


def _write_audio(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def test_files_without_video_are_named_with_what_is_wrong(streamprn, elsewhere):
    (elsewhere / "zero.mp4").touch()
    (elsewhere / "text.mp4").write_text("not a video\n")
    (elsewhere / "empty").mkdir()
    _write_audio(elsewhere / "audio.mp4")
    sources = ("zero.mp4", "text.mp4", "empty", "audio.mp4")
    done = streamprn("run", *sources, "--bind", "tcp://127.0.0.1:*", "--quiet")
    assert done.code == 2
    for source in sources:
        assert source in done.error


def test_frames_run_through_and_are_recorded(streamprn, elsewhere):
    done = streamprn(
        *("run", "lavfi:testsrc2=size=320x240:rate=30:duration=1", "--fast", "--max-frames", 5),
        *("--bind", "tcp://127.0.0.1:*", "--record", "out", "--set", "sources.0.name=cam"),
    )
    assert done.code == 0
    assert "publishing on tcp://127.0.0.1:" in done.err
    assert "cam: frames 5" in done.err
    kinds = [
        message.kind.value for message in read(next((elsewhere / "out" / "cam").glob("*.sprn")))
    ]
    assert kinds == ["topology", *["face"] * 5]


@pytest.mark.timed
def test_sigterm_ends_the_run_within_a_second_even_where_a_source_never_answers(start):
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = f"rtsp://admin:hunter2@127.0.0.1:{server.getsockname()[1]}/x"
        process = start("run", silent, "testsrc2", "--bind", "tcp://127.0.0.1:*", "--verbose")
        said = process.wait_for("testsrc2 is live")
        code, err, seconds = process.signal(signal.SIGTERM)
    assert code == 0
    assert seconds < 1.5  # the bound is 1 s; the machine may be busy
    assert "testsrc2: frames" in err
    assert "Traceback" not in err
    assert "hunter2" not in said + err


@pytest.mark.timed
def test_a_signal_while_starting_ends_the_program_in_bounded_time(start):
    process = start("run", "testsrc2", "--bind", "tcp://127.0.0.1:*", "--verbose")
    while process.popen.poll() is None:
        # The handlers are in place once /proc shows them caught (bit of SIGTERM).
        with open(f"/proc/{process.popen.pid}/status") as file:
            caught = next(line for line in file if line.startswith("SigCgt:"))
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            break
    code, err, seconds = process.signal(signal.SIGTERM)
    assert code in (0, 128 + signal.SIGTERM)
    assert seconds < 2.0
    assert "Traceback" not in err


def test_a_reader_that_nothing_can_wake_does_not_keep_the_program(start, elsewhere):
    os.mkfifo(elsewhere / "pipe.mp4")  # opening it waits for a writer, deaf to everything
    taken = []
    for _ in range(3):  # the best of three: the machine may be busy
        process = start("run", "pipe.mp4", "--bind", "tcp://127.0.0.1:*")
        process.wait_for("pipe is connecting")
        code, err, seconds = process.signal(signal.SIGTERM)
        assert code in (0, 128 + signal.SIGTERM)
        assert "Traceback" not in err
        taken.append(seconds)
    assert min(taken) < 1.0


def test_a_demo_that_is_ended_leaves_nothing_behind(start, elsewhere):
    folder = elsewhere / "tmp"
    folder.mkdir()
    process = start("demo", env={"TMPDIR": str(folder)})
    deadline = time.monotonic() + 30
    while not list(folder.glob("streamprn-demo-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    code, err, _ = process.signal(signal.SIGTERM)
    assert code == 143
    assert "Traceback" not in err
    assert not list(folder.iterdir())


def test_the_failure_of_an_only_source_is_told_in_one_line(streamprn, tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("no film")
    done = streamprn("run", path, "--bind", "tcp://127.0.0.1:*")
    assert done.code == 2
    assert done.err.count("no readable video") == 1
    quiet = streamprn("run", path, "--quiet", "--bind", "tcp://127.0.0.1:*")
    assert quiet.code == 2
    assert len(quiet.err.strip().splitlines()) == 1


@pytest.mark.timed
def test_watch_prints_what_run_publishes_until_ctrl_c(start, streamprn):
    process = start("run", "testsrc2", "--bind", "tcp://127.0.0.1:*")
    endpoint = process.wait_for("publishing on").split("publishing on ")[1].split(";")[0]
    done = streamprn(
        *("watch", endpoint, "--json", "--topic", "testsrc2/face"),
        *("--max-messages", 3, "--duration", 20),
    )
    assert done.code == 0
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["kind"] for line in lines] == ["face"] * 3
    nothing = streamprn("watch", endpoint, "--topic", "nobody/", "--duration", 0.3, "--json")
    assert nothing.code == 2
    assert f"nothing came from {endpoint}" in nothing.error
    code, err, seconds = process.signal(signal.SIGINT)
    assert code == 0
    assert seconds < 1.5
    assert "Traceback" not in err


def test_the_default_configuration_is_used_where_there_is_no_file():
    config = config_from(_args("a.mp4"))
    assert config.with_overrides({"sources": []}) == Config.default()
