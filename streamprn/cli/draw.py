"""`streamprn draw`: a film with the faces drawn over it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamprn.cli.face_options import add_engine_options, add_video_stream, open_reconstructor
from streamprn.cli.parser import positive_int
from streamprn.errors import InputError

if TYPE_CHECKING:
    from streamprn.cli.parser import Parser

_DESCRIPTION = """\
Write a film with what is found drawn over its pictures: landmarks, mesh, pose, box with id and
score. Every picture keeps its time, and the sound is kept."""
_EXAMPLES = """
  streamprn draw clip.mp4 drawn.mp4
  streamprn draw clip.mp4 drawn.mp4 --show mesh,pose
  streamprn draw clip.mp4 drawn.mp4 --solid
"""
_SHOWN = "landmarks,pose,box"


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser(
        "draw",
        help="a film with the faces drawn over it",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("source", type=Path, metavar="IN", help="film to draw over")
    parser.add_argument("out", type=Path, metavar="OUT", help="film to write: .mp4, .mov or .mkv")
    parser.add_argument(
        "--show",
        metavar="LIST",
        default=_SHOWN,
        help="what is drawn, with commas: landmarks, mesh, pose, box (%(default)s)",
    )
    parser.add_argument(
        "--solid",
        nargs="?",
        const="texture",
        metavar="SKIN",
        help="put the largest face beside it in 3D; SKIN: texture, normals, depth, visibility"
        " (%(const)s)",
    )
    parser.add_argument(
        "--video", action="store_true", help="take IN as a video whatever its content"
    )
    parser.add_argument(
        "--max-faces",
        type=positive_int,
        default=10,
        metavar="N",
        help="draw the N largest faces (%(default)s)",
    )
    add_video_stream(parser)
    add_engine_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; 0, or 1 where no picture shows a face."""
    from streamprn.apps.films import draw_clip
    from streamprn.apps.images import IMAGE_SUFFIXES
    from streamprn.apps.overlays import DRAWN
    from streamprn.apps.skins import SKINS
    from streamprn.cli.clip_output import check_output, rework
    from streamprn.cli.signals import CLEANUP_S, stop_on_signals
    from streamprn.source.content import is_clip

    kinds = [word.strip() for word in args.show.split(",") if word.strip()]
    _check_words("--show", kinds, DRAWN)
    _check_words("--solid", [args.solid] if args.solid is not None else [], SKINS)
    check_output(args.out, args.source)
    if not (args.video or is_clip(args.source, IMAGE_SUFFIXES)):
        raise InputError(
            f"{args.source}: is not a film",
            hint="`streamprn reconstruct` draws over pictures; for a clip add --video",
        )
    with stop_on_signals(CLEANUP_S, interrupt=True):
        reconstructor = open_reconstructor(args)
        return rework(
            args.source,
            args.out,
            lambda on_frame, on_note: draw_clip(
                reconstructor,
                args.source,
                args.out,
                kinds=kinds,
                skin=args.solid,
                max_faces=args.max_faces,
                video_stream=args.video_stream,
                on_frame=on_frame,
                on_note=on_note,
            ),
        )


def _check_words(flag: str, words: list[str], known: tuple[str, ...]) -> None:
    for word in words:
        if word not in known:
            raise InputError(f"{flag}: unknown {word!r}", hint=f"known are {', '.join(known)}")
