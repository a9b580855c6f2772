"""`streamprn replay`: a recording, published again."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamprn.cli.parser import Parser, positive_float

_DESCRIPTION = """\
Publish a recording again, as if it were live: the same messages at the same pace, with the time
stamps of now. Pauses of more than five seconds are passed over. RECORDING is a folder of
`streamprn run --record`, the folder of one stream in it, or one .sprn file."""
_EXAMPLES = """
streamprn replay recordings
streamprn replay recordings/door --speed 4 --loop
streamprn replay recordings --bind tcp://127.0.0.1:6000
"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Add `replay`."""
    parser = subparsers.add_parser(
        "replay",
        help="publish a recording again, as if it were live",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("recording", metavar="RECORDING", type=Path, help="what to play")
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="tcp://127.0.0.1:5870",
        help="where to publish (default: %(default)s)",
    )
    parser.add_argument(
        "--speed",
        metavar="X",
        type=positive_float,
        default=1.0,
        help="so many times the recorded pace (default: %(default)g)",
    )
    parser.add_argument("--loop", action="store_true", help="start again at the end")
    parser.add_argument(
        "--curve-secret-file", metavar="FILE", type=Path, help="encrypt, with this server key"
    )
    parser.add_argument(
        "--curve-allow-dir", metavar="DIR", type=Path, help="keys of the clients that may connect"
    )
    parser.add_argument(
        "--insecure", action="store_true", help="publish beyond this machine without these two"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Play until the end, or until somebody stops it."""
    from streamprn.cli.console import configure_logging, stderr_console
    from streamprn.cli.signals import stop_on_signals
    from streamprn.wire.bind import Access
    from streamprn.wire.publish import Publisher
    from streamprn.wire.replay import Replay, find

    console = stderr_console()
    configure_logging("debug" if args.verbose else "warning", console)
    files = find(args.recording)
    readers = Access.load(
        args.bind, args.curve_secret_file, args.curve_allow_dir, insecure=args.insecure
    )
    with (
        stop_on_signals() as stop,
        Publisher(args.bind, curve=readers.keys, allow=readers.allow) as publisher,
    ):
        said = f"replaying {', '.join(files)} on {publisher.endpoint}; Ctrl-C ends"
        console.print(said, markup=False, soft_wrap=True)
        replay = Replay(files, publisher, args.speed)
        played = -1
        while not stop.is_set() and replay.messages > played:
            played = replay.messages
            replay.play(stop)
            if not args.loop:
                break
        replay.end()
        console.print(f"{replay.messages} messages replayed", markup=False)
    return 0
