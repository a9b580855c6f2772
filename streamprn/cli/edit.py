"""`streamprn edit`: replace a part of a face by that of another."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from streamprn.cli import swap
from streamprn.cli.face_options import add_engine_options

if TYPE_CHECKING:
    from streamprn.cli.parser import Parser

_EXAMPLES = """
  streamprn edit me.jpg friend.jpg out.png --part eyes
  streamprn edit clip.mp4 friend.jpg out.mp4 --part lips
  streamprn edit me.jpg friend.jpg out.png --part mask.png
"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser(
        "edit",
        help="replace a part of a face: eyes, brows, nose, lips",
        description="Replace a part of the largest face of a picture or video by that of another "
        "picture's face.",
        examples=_EXAMPLES,
    )
    swap.add_swap_options(parser)
    parser.add_argument(
        "--part",
        required=True,
        metavar="PART",
        help="eyes, brows, nose, lips, face, or a square mask picture in UV space (white is "
        "replaced; draw it over a texture from reconstruct --texture)",
    )
    add_engine_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; 0, or 1 where no picture of a video shows a face."""
    return swap.run(args)
