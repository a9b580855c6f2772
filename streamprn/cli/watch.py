"""`streamprn watch`: subscribe and show what comes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamprn.cli.parser import Parser, positive_float, positive_int
from streamprn.errors import StreamPRNError

if TYPE_CHECKING:
    from streamprn.wire.bind import CurveKeys

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5870"

_DESCRIPTION = """\
Subscribe to a publisher and show a live table of its streams; without a terminal, one line a second
for each; with --json, one JSON object for every message (arrays by their shape, landmarks and poses
in full). The publisher may start later."""
_EXAMPLES = """
streamprn watch
streamprn watch tcp://192.168.1.20:5870
streamprn watch --json --topic door/face | jq .faces
streamprn watch --json --max-messages 1
"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Add `watch`."""
    parser = subparsers.add_parser(
        "watch",
        help="subscribe: a live table, or JSON lines",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "endpoint",
        metavar="ENDPOINT",
        nargs="?",
        default=DEFAULT_ENDPOINT,
        help="address of the publisher (default: %(default)s)",
    )
    parser.add_argument(
        "--topic",
        metavar="PREFIX",
        action="append",
        default=[],
        help="STREAM/KIND or the beginning of one; may be repeated (default: faces and states)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--max-messages", metavar="N", type=positive_int, help="end after N messages"
    )
    parser.add_argument("--duration", metavar="S", type=positive_float, help="end after S seconds")
    add_key_options(parser)
    return parser


def add_key_options(parser: Parser) -> None:
    """Add the keys that a subscriber needs where the publisher encrypts."""
    parser.add_argument(
        "--server-key",
        metavar="FILE",
        type=Path,
        help="the publisher's public CURVE key (.key), where it encrypts",
    )
    parser.add_argument(
        "--client-key",
        metavar="FILE",
        type=Path,
        help="your own secret CURVE key (.key_secret), where the publisher lists its clients",
    )


def read_keys(args: argparse.Namespace) -> tuple[str | None, CurveKeys | None]:
    """The publisher's public key and our own pair, as the two options name them.

    Raises:
        InputError: a file cannot be used.
    """
    from streamprn.wire.bind import CurveKeys, read_public_key

    key = read_public_key(args.server_key) if args.server_key is not None else None
    client = CurveKeys.load(args.client_key) if args.client_key is not None else None
    return key, client


def run(args: argparse.Namespace) -> int:
    """Show messages until a limit or Ctrl-C."""
    from streamprn.apps.watch import run as watch
    from streamprn.cli.console import configure_logging, stdout_console
    from streamprn.cli.signals import stop_on_signals
    from streamprn.config.address import check_no_recording

    check_no_recording(args.endpoint)
    configure_logging("debug" if args.verbose else "warning")
    key, client = read_keys(args)
    with stop_on_signals() as stop:
        count = watch(
            args.endpoint,
            args.topic,
            json_lines=args.json,
            max_messages=args.max_messages,
            duration_s=args.duration,
            server_key=key,
            client_keys=client,
            stop=stop,
            console=stdout_console(),
        )
        if not count and not stop.is_set():
            raise StreamPRNError(
                f"nothing came from {args.endpoint}",
                hint="is `streamprn run` bound to that address, and does the topic exist?",
            )
    return 0
