"""`streamprn demo`: the whole pipeline on a clip of its own."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamprn.cli.parser import Parser, positive_float

_DESCRIPTION = """\
Make a short clip of a moving face, run the whole pipeline on it in real time on this machine,
subscribe to it as any program would, and show what came. Needs no network and no camera; needs the
extra `demo` for the sample picture."""
_EXAMPLES = """
streamprn demo
streamprn demo --seconds 20 --out face.png
streamprn demo --backend onnxruntime
"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Add `demo`."""
    parser = subparsers.add_parser(
        "demo",
        help="the whole pipeline on a short clip of its own, offline",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        default=Path("streamprn-demo.png"),
        help="annotated picture to write (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=positive_float,
        default=6.0,
        help="length of the clip, s (default: %(default)g)",
    )
    parser.add_argument(
        "--engine", metavar="NAME", default="facemesh", help="engine bundle (default: %(default)s)"
    )
    parser.add_argument(
        "--backend", metavar="NAME", default="auto", help="runtime (default: %(default)s)"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Show the table, write the picture."""
    from streamprn.apps.demo import run as run_demo
    from streamprn.cli.console import configure_logging, stdout_console
    from streamprn.cli.signals import stop_on_signals

    configure_logging("debug" if args.verbose else "warning")
    with stop_on_signals(interrupt=True):
        return run_demo(
            out=args.out,
            seconds=args.seconds,
            engine=args.engine,
            backend=args.backend,
            console=stdout_console(),
        )
