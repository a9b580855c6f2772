"""Argument parsing: one-line errors, examples in every help text, a few argument types."""

from __future__ import annotations

import argparse
import math
import os
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from streamprn.errors import InputError

__all__ = [
    "Parser",
    "add_config_file",
    "add_everywhere",
    "add_overrides",
    "add_quiet",
    "number",
    "positive_float",
    "positive_int",
    "subcommands",
    "tree",
    "with_odd_paths",
]

_DASHED_FILE = re.compile(r"-[^=]*[A-Za-z_][^=]*\.[A-Za-z0-9]{1,5}")

N = TypeVar("N", int, float)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wraps sentences to the terminal's width, and keeps indented lines as they stand."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for prose, run in groupby(text.splitlines(), lambda line: line[:1].strip() != ""):
            together = list(run)
            lines += textwrap.wrap(" ".join(together), width) if prose else together
        return textwrap.indent("\n".join(lines), indent)


class Parser(argparse.ArgumentParser):
    """A parser that raises `InputError` instead of exiting, and ends its help with examples.

    Args:
        examples: command lines, one a line.
        **options: those of `argparse.ArgumentParser`.
    """

    def __init__(self, *, examples: str = "", **options: Any) -> None:
        if examples:
            lines = textwrap.indent(textwrap.dedent(examples.strip("\n")).rstrip(), "  ")
            options["epilog"] = f"examples:\n{lines}"
        options.setdefault("formatter_class", _HelpFormatter)
        options.setdefault("allow_abbrev", False)
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        """Raise what was wrong; the program prints it as one line."""
        raise InputError(message, hint=f"see `{self.prog} --help`")


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a parser's own subcommands, by name."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.update(action.choices)
    return found


def add_everywhere(parser: argparse.ArgumentParser, flag: str, **options: Any) -> None:
    """Add an on/off flag to a parser and all below it, so that its place does not matter."""
    for index, one in enumerate(tree(parser)):
        if flag not in one._option_string_actions:
            # A default below would overwrite what was given above.
            default = argparse.SUPPRESS if index else False
            one.add_argument(flag, action="store_true", default=default, **options)


def add_config_file(parser: argparse.ArgumentParser) -> None:
    """Add `--config`."""
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="settings (default: ./config.yaml if it exists)"
    )


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add `--set`, as `overrides`."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="override any setting; may be repeated",
    )


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add `--quiet`."""
    parser.add_argument("--quiet", action="store_true", help="say nothing but warnings and errors")


def tree(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and all below it."""
    yield parser
    for child in subcommands(parser).values():
        yield from tree(child)


def with_odd_paths(arguments: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """The arguments, with files whose names begin with a dash as paths that do not.

    Such an argument is no option of any command, and is a file or has a suffix: `-a.mp4` becomes
    `./-a.mp4`.
    """
    known = {flag for one in tree(parser) for flag in one._option_string_actions}
    out: list[str] = []
    for number, text in enumerate(arguments):
        if text == "--":
            return out + list(arguments[number:])
        file = text.startswith("-") and text.partition("=")[0] not in known
        if file and (_DASHED_FILE.fullmatch(text) or os.path.lexists(text)):
            out.append(f".{os.sep}{text}")
        else:
            out.append(text)
    return out


def positive_int(text: str) -> int:
    """An argument type: a whole number of 1 or more."""
    return number(int, 1)(text)


def positive_float(text: str) -> float:
    """An argument type: a finite number above 0."""
    value = number(float, 0)(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number above 0")
    return value


def number(kind: type[N], low: float, high: float = math.inf) -> Callable[[str], N]:
    """An argument type: a finite number from `low` to `high`."""
    words = "a whole number" if kind is int else "a number"
    bounds = f"of {low:g} or more" if high == math.inf else f"from {low:g} to {high:g}"

    def parse(text: str) -> N:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not (low <= value <= high) or not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"got {text!r}, expected {words} {bounds}")
        return value

    return parse
