"""`streamprn keys`: CURVE key pairs for publishers and subscribers."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from streamprn.cli.parser import Parser
from streamprn.errors import InputError

_DESCRIPTION = """\
Keys that encrypt what is published. A publisher has a pair, of which its subscribers know the
public part; where it lists its clients, each of them has a pair as well."""
_EXAMPLES = """
streamprn keys new door
streamprn run rtsp://cam.local/door --bind tcp://*:5870 \\
  --set publish.curve_secret_file=door.key_secret \\
  --set publish.curve_allow_dir=clients
# then copy alice.key into clients/
streamprn keys new alice --dir clients-secret
streamprn watch tcp://HOST:5870 --server-key door.key \\
  --client-key alice.key_secret
"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Add `keys`."""
    parser = subparsers.add_parser(
        "keys",
        help="make CURVE key pairs",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    new = actions.add_parser(
        "new", help="make a pair", description="Write NAME.key and NAME.key_secret."
    )
    new.add_argument("name", metavar="NAME", help="of the two files")
    new.add_argument(
        "--dir", metavar="DIR", type=Path, default=Path(), help="where to (default: here)"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Make a pair."""
    from streamprn.cli.console import stderr_console
    from streamprn.wire.bind import CurveKeys

    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}", args.name):
        raise InputError(
            f"{args.name!r} cannot name a key", hint="use letters, digits, '_', '-' and '.'"
        )
    CurveKeys.create(args.dir, args.name)
    path = args.dir / args.name
    stderr_console().print(
        f"wrote {path}.key, for everybody, and {path}.key_secret, for its owner alone",
        markup=False,
        soft_wrap=True,
    )
    return 0
