"""`streamprn completion`: a script for the shell."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from streamprn.cli.parser import Parser

_SHELLS = ("bash", "zsh", "fish", "tcsh")
_DESCRIPTION = "Print a script that completes commands, options and files in a shell."
_EXAMPLES = """
streamprn completion bash > \\
  ~/.local/share/bash-completion/completions/streamprn
streamprn completion zsh > ~/.zfunc/_streamprn   # a folder of $fpath
streamprn completion fish > ~/.config/fish/completions/streamprn.fish
"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Add `completion`."""
    parser = subparsers.add_parser(
        "completion",
        help="a script that completes commands and options in your shell",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("shell", choices=_SHELLS, help="the shell that is to read it")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    from streamprn.cli import whole_parser
    from streamprn.cli.parser import tree

    parser = whole_parser()
    for one in tree(parser):
        for action in one._actions:
            if _may_be_a_file(action):
                setattr(action, "complete", shtab.FILE)  # noqa: B010  shtab's own attribute
    sys.stdout.write(shtab.complete(parser, args.shell))
    return 0


def _may_be_a_file(action: argparse.Action) -> bool:
    if action.option_strings:
        return action.type is Path
    return action.type in (None, Path) and action.choices is None
