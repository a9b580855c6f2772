"""The program `streamprn`: one module per command, imported when the command is used."""

from __future__ import annotations

import argparse
import difflib
import errno
import os
import signal
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from streamprn.cli.parser import Parser, add_everywhere, with_odd_paths
from streamprn.errors import InputError, StreamPRNError

__all__ = ["COMMANDS", "main", "report"]

EXIT_FAILURE = 1

_DESCRIPTION = "Live video in, dense 3D faces out: position maps over ZeroMQ, in real time."
_EXAMPLES = """
  streamprn demo
  streamprn run rtsp://camera.local/stream
  streamprn watch tcp://127.0.0.1:5870
  streamprn reconstruct photos/ faces/
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the program and the module that implements it."""

    name: str
    help: str

    @property
    def module(self) -> str:
        """Where `add_parser` and `run` are."""
        return f"streamprn.cli.{self.name}"


class CommandModule(Protocol):
    """What a command's module offers. It imports what is heavy inside `run` only."""

    def add_parser(self, subparsers: argparse._SubParsersAction[Parser]) -> object:
        """Add the command's parser."""

    def run(self, args: argparse.Namespace) -> int:
        """Do the work; returns the exit code."""


COMMANDS = (
    Command("demo", "the whole pipeline on a short clip of its own, offline"),
    Command("run", "video sources in, dense 3D faces out over ZeroMQ"),
    Command("ctl", "add, remove, pause and resume streams of a running engine"),
    Command("watch", "subscribe: a live table, or JSON lines"),
    Command("view", "subscribe: a live page in the browser"),
    Command("bridge", "faces to VMC, iFacialMocap, Live Link Face, MQTT, CSV"),
    Command("cluster", "several machines behind one address (Ray)"),
    Command("replay", "publish a recording again, as if it were live"),
    Command("export", "a recording to JSON lines, CSV, Parquet, OBJ, animated GLB"),
    Command("bench", "latency and throughput of every stage and end to end"),
    Command("reconstruct", "pictures to meshes, landmarks, pose, depth, texture"),
    Command("draw", "a film with the faces drawn over it"),
    Command("swap", "put one face onto another"),
    Command("edit", "replace a part of a face: eyes, brows, nose, lips"),
    Command("evaluate", "accuracy on a data set in the AFLW2000-3D layout"),
    Command("train", "an engine of your own: label pictures, fit a network, export it"),
    Command("engine", "list, import, export, build and verify engines"),
    Command("keys", "make CURVE key pairs"),
    Command("completion", "a script that completes commands and options in your shell"),
    Command("doctor", "what this machine has, and what `run` would use"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: the arguments without the program's name; None takes the process's own.

    Returns:
        The exit code: 0 success, 1 failure, 2 bad input, 130 interrupted, 143 terminated.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbose = "--verbose" in arguments
    # OpenCV would add lines of its own about damaged pictures, which our errors name.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    if verbose:
        from streamprn.cli.console import configure_logging

        configure_logging("debug")
    try:
        return _dispatch(arguments)
    except StreamPRNError as error:
        report(str(error), verbose)
        return error.exit_code
    except KeyboardInterrupt as stop:
        number = getattr(stop, "number", None)
        if number is not None:
            _say_stopped()
        # A process that a signal ends gives 128 and its number; without one it was Ctrl-C.
        return 128 + (number or signal.SIGINT)
    except BrokenPipeError:  # `streamprn watch --json | head`
        _silence_stdout()
        return 0
    except Exception as error:  # noqa: BLE001  the last resort: one line, never a bare traceback
        return _unexpected(error, verbose)


def _unexpected(error: Exception, verbose: bool) -> int:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        # Files of ours are named in their errors: this is where the output was sent to.
        _silence_stdout()
        report(f"the output cannot be written: {error.strerror} (free some space)", verbose)
        return EXIT_FAILURE
    again = "" if verbose else " (run again with --verbose for the traceback)"
    report(f"{type(error).__name__}: {error}{again}", verbose)
    return EXIT_FAILURE


def _dispatch(arguments: list[str]) -> int:
    name = next((word for word in arguments if not word.startswith("-")), None)
    command = _find(name) if name is not None else None
    parser = _build([command] if command is not None else [])
    try:
        args = parser.parse_args(with_odd_paths(arguments, parser))
    except SystemExit as end:  # --help and --version
        return int(end.code or 0)
    if command is None:
        parser.print_help()
        return 0
    if (most := getattr(args, "max_pixels", None)) is not None:
        from streamprn.pixels import limit_pixels

        limit_pixels(most)
    return _module(command).run(args)


def _find(name: str) -> Command:
    for command in COMMANDS:
        if command.name == name:
            return command
    names = [command.name for command in COMMANDS]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"commands: {', '.join(names)}"
    raise InputError(f"unknown command {name!r}", hint=hint)


def whole_parser() -> Parser:
    """The parser with the arguments of every command."""
    return _build(COMMANDS)


def _build(wanted: Collection[Command]) -> Parser:
    """The parser, with the arguments of the wanted commands only."""
    parser = Parser(prog="streamprn", description=_DESCRIPTION, examples=_EXAMPLES)
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in COMMANDS:
        if command in wanted:
            _module(command).add_parser(commands)
        else:
            commands.add_parser(command.name, help=command.help, add_help=False)
    add_everywhere(parser, "--verbose", help="show tracebacks and debug messages")
    return parser


def _module(command: Command) -> CommandModule:
    module: CommandModule = import_module(command.module)
    return module


class _ShowVersion(argparse.Action):
    """Print the version; it is looked up only when asked for, which takes milliseconds."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from streamprn import __version__

        sys.stdout.write(f"streamprn {__version__}\n")
        parser.exit()


def report(message: str, verbose: bool) -> None:
    """Say an error in one line, after its traceback where that is wanted."""
    from streamprn.cli.console import stderr_console
    from streamprn.redact import redact_text

    console = stderr_console()
    if verbose:
        import traceback

        console.print(redact_text(traceback.format_exc().rstrip()), markup=False, highlight=False)
    line = " ".join(redact_text(message).split())
    console.print("[bold red]streamprn: error:[/]", end=" ")
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _say_stopped() -> None:
    from streamprn.cli.console import stderr_console

    stderr_console().print("streamprn: stopped before the end", markup=False, highlight=False)


def _silence_stdout() -> None:
    # Python flushes stdout once more on exit; the reader is gone.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
