"""The program around its commands: help, versions, errors, exit codes, colours."""

import importlib
import json
import os
import pty
import subprocess
import sys

import pytest

import streamprn as package
from streamprn.cli import COMMANDS, main, whole_parser
from streamprn.cli import doctor as doctor_command
from streamprn.cli.parser import subcommands, tree


def test_help_lists_every_command_with_examples(streamprn):
    done = streamprn("--help")
    assert done.code == 0
    assert "examples:" in done.out
    for command in COMMANDS:
        assert f"    {command.name}" in done.out


def test_no_arguments_show_the_help(streamprn):
    assert streamprn().out == streamprn("--help").out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_a_module_and_help_with_examples(streamprn, command):
    module = importlib.import_module(command.module)
    assert callable(module.add_parser)
    assert callable(module.run)
    done = streamprn(command.name, "--help")
    assert done.code == 0
    assert done.out.startswith(f"usage: streamprn {command.name}")
    assert "examples:\n" in done.out
    assert f"  streamprn {command.name}" in done.out
    assert "--verbose" in done.out


def test_help_fits_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    parsers = list(tree(whole_parser()))
    assert len(parsers) > len(COMMANDS)
    for parser in parsers:
        assert [line for line in parser.format_help().splitlines() if len(line) > 80] == []


def test_asking_for_the_version(streamprn):
    assert streamprn("--version").out == f"streamprn {package.__version__}\n"


def test_help_loads_nothing_heavy():
    heavy = {"av", "cv2", "msgspec", "numba", "numpy", "openvino", "onnxruntime", "yaml", "zmq"}
    for arguments in (["--help"], ["run", "--help"], ["bench", "--help"]):
        program = (
            "import json, sys; from streamprn.cli import main; "
            f"main({arguments}); print(); print(json.dumps(sorted(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert not heavy & set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["rnu"], ["unknown command 'rnu'", "did you mean 'run'?"]),
        (["xyzzy"], ["unknown command 'xyzzy'", "commands: demo, run"]),
        (["--nope"], ["--nope", "see `streamprn --help`"]),
        (["run", "--nope"], ["unrecognized arguments: --nope"]),
        (["run", "--max-frames", "0"], ["--max-frames: got '0', expected a whole number of 1"]),
        (["run", "--max-frames", "x"], ["--max-frames: got 'x'", "see `streamprn run --help`"]),
        (["run", "--max-frames"], ["--max-frames: expected one argument"]),
        (["bench", "--fps", "nan"], ["--fps: got 'nan', expected a number from 0 to 1000"]),
        (["bench", "--duration", "inf"], ["--duration: got 'inf'"]),
        (["demo", "--seconds", "-1"], ["--seconds"]),
        (["watch", "--duration", "0"], ["--duration: got '0', expected a number above 0"]),
        (["watch", "nowhere"], ["nowhere"]),
        (["watch", "--server-key", "missing.key"], ["missing.key: no CURVE key can be read"]),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(streamprn, arguments, parts):
    done = streamprn(*arguments)
    assert done.code == 2
    for part in parts:
        assert part in done.error


def test_verbose_may_stand_before_or_after_the_command(streamprn):
    for arguments in (["--verbose", "run"], ["run", "--verbose"]):
        done = streamprn(*arguments)
        assert done.code == 2
        assert "Traceback" in done.err
        assert "streamprn: error: nothing to read" in done.err


def test_nested_commands_take_verbose_too():
    for name, action in subcommands(subcommands(whole_parser())["engine"]).items():
        assert "--verbose" in action.format_help(), name


def _raise(error):
    def run(args):
        raise error

    return run


def test_an_unexpected_error_is_one_line_with_the_way_to_see_more(streamprn, monkeypatch):
    error = RuntimeError("lost\nrtsp://user:secret@host/x?password=hush")
    monkeypatch.setattr(doctor_command, "run", _raise(error))
    done = streamprn("doctor")
    assert done.code == 1
    assert "RuntimeError: lost rtsp://***@host/x" in done.error
    assert "run again with --verbose" in done.error
    verbose = streamprn("doctor", "--verbose")
    assert "Traceback (most recent call last)" in verbose.err
    assert not any(word in done.err + verbose.err for word in ("secret", "hush"))


def test_an_interrupted_command_ends_quietly_with_130(streamprn, monkeypatch):
    monkeypatch.setattr(doctor_command, "run", _raise(KeyboardInterrupt()))
    done = streamprn("doctor")
    assert (done.code, done.out, done.err) == (130, "", "")


def test_a_reader_that_goes_away_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -c 'import time; time.sleep(0.5)' | true; "
        f"{sys.executable} -m streamprn run --help | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("usage: streamprn run")
    assert "Traceback" not in done.stderr


def _on_a_terminal(*arguments, **env):
    """Standard error of the program when it is a terminal."""
    leader, follower = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "streamprn", *arguments],
            stderr=follower,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "TERM": "xterm-256color", **env},
            check=False,
        )
        return os.read(leader, 65536).decode()
    finally:
        os.close(leader)
        os.close(follower)


def test_colours_only_on_a_terminal_and_never_with_no_color(streamprn):
    assert "\x1b[" in _on_a_terminal("rnu")
    assert "\x1b[" not in _on_a_terminal("rnu", NO_COLOR="1").replace("\x1b[1m", "").replace(
        "\x1b[0m", ""
    )
    assert "\x1b[" not in streamprn("rnu").err


def test_a_message_is_not_taken_for_markup(streamprn):
    assert "[red]x[/]" in streamprn("run", "--set", "[red]x[/]=1", "a").error


@pytest.mark.parametrize(
    "password", ["hunter2", "a(hunter2)", "a'\"hunter2", "a/hunter2", "a@hunter2"]
)
def test_a_traceback_shows_no_credentials(streamprn, monkeypatch, password):
    def broken(args):
        raise RuntimeError(f"lost 'rtsp://admin:{password}@cam.local/x' for good")

    monkeypatch.setattr("streamprn.cli.doctor.run", broken)
    done = streamprn("doctor", "--verbose")
    assert "RuntimeError: lost 'rtsp://***@cam.local/x' for good" in done.err
    assert "hunter2" not in done.err


def test_the_return_value_is_the_exit_code():
    assert main(["rnu"]) == 2
    done = subprocess.run(
        [sys.executable, "-m", "streamprn", "rnu"], check=False, capture_output=True
    )
    assert done.returncode == 2


@pytest.mark.parametrize("arguments", [["engine", "list"], ["doctor", "--json"]])
def test_an_output_that_is_full_is_said_in_one_line(arguments):
    program = f"import sys; from streamprn.cli import main; sys.exit(main({arguments}))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "the output cannot be written: No space left on device" in line


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["rnu"], 2),
        (["doctor", "--verbose"], 0),
        (
            [
                "run",
                "lavfi:testsrc2=size=64x48:duration=1",
                "--fast",
                "--bind",
                "tcp://127.0.0.1:*",
            ],
            0,
        ),
    ],
)
def test_messages_that_nobody_takes_change_nothing(arguments, code):
    program = f"import sys; from streamprn.cli import main; sys.exit(main({arguments}))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, check=False
        )
    assert done.returncode == code
