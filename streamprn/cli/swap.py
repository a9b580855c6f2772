"""`streamprn swap`: put one face onto another, in a picture or through a clip."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamprn.cli.face_options import add_engine_options, open_reconstructor
from streamprn.cli.parser import positive_int
from streamprn.errors import InputError

if TYPE_CHECKING:
    from streamprn.apps.reconstruction import Reconstructor
    from streamprn.apps.swapping import FaceSwapper
    from streamprn.cli.parser import Parser

_EXAMPLES = """
  streamprn swap me.jpg friend.jpg out.png
  streamprn swap group.jpg friend.jpg out.png --max-faces 10
  streamprn swap clip.mp4 friend.jpg out.mp4
"""

_NO_FACE = "try --detector full, or --min-score 0.3"


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser(
        "swap",
        help="put one face onto another",
        description="Replace the largest face of a picture, or of every frame of a video, by the "
        "face of another picture.",
        examples=_EXAMPLES,
    )
    add_swap_options(parser)
    add_engine_options(parser)
    parser.set_defaults(part="face")


def add_swap_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `swap` and `edit` share."""
    parser.add_argument("target", type=Path, metavar="TARGET", help="picture or video to change")
    parser.add_argument(
        "reference", type=Path, metavar="REFERENCE", help="picture whose (largest) face is taken"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="picture or video to write")
    parser.add_argument(
        "--video", action="store_true", help="take TARGET as a video whatever its content"
    )
    parser.add_argument(
        "--max-faces",
        type=positive_int,
        default=1,
        metavar="N",
        help="change the N largest faces (%(default)s)",
    )
    parser.add_argument(
        "--keep-colours", action="store_true", help="do not match the reference's colours"
    )
    parser.add_argument(
        "--occlusion",
        action="store_true",
        help="keep what covers the middle of the target's face: a microphone, a mask; not hands",
    )
    parser.add_argument(
        "--max-size", type=positive_int, metavar="N", help="shrink a larger target picture"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; 0, or 1 where no picture of a video shows a face."""
    from streamprn.apps.images import IMAGE_SUFFIXES, read_image
    from streamprn.apps.swapping import FaceSwapper, PartMask, ReferenceFace
    from streamprn.source.content import is_clip

    _check_paths(args)
    reconstructor = open_reconstructor(args)
    part = PartMask.parse(args.part, reconstructor.engine.topology)
    faces = reconstructor.reconstruct(read_image(args.reference))
    if not faces:
        raise InputError(f"{args.reference}: no face found", hint=_NO_FACE)
    swapper = FaceSwapper(
        ReferenceFace.of(faces[0]),
        part,
        match_colours=not args.keep_colours,
        occlusion=args.occlusion,
    )
    if args.video or is_clip(args.target, IMAGE_SUFFIXES):
        return _swap_video(args, reconstructor, swapper)
    return _swap_picture(args, reconstructor, swapper)


def _check_paths(args: argparse.Namespace) -> None:
    if args.out.is_dir():
        raise InputError(f"{args.out}: is a folder", hint="give the name of the file to write")
    if args.out.exists() and any(
        path.exists() and args.out.samefile(path) for path in (args.target, args.reference)
    ):
        raise InputError(f"{args.out}: would overwrite an input")


def _swap_picture(
    args: argparse.Namespace, reconstructor: Reconstructor, swapper: FaceSwapper
) -> int:
    from streamprn.apps.images import read_image, write_image
    from streamprn.cli.console import stdout_console

    image = read_image(args.target, max_size=args.max_size)
    faces = reconstructor.reconstruct(image)[: args.max_faces]
    for face in faces:
        image = swapper.swap(image, face.vertices)
    if not faces:
        raise InputError(f"{args.target}: no face found; nothing is written", hint=_NO_FACE)
    write_image(args.out, image, quality=95)
    stdout_console().print(f"{args.out}: {len(faces)} of its faces changed", markup=False)
    return 0


def _swap_video(
    args: argparse.Namespace, reconstructor: Reconstructor, swapper: FaceSwapper
) -> int:
    from rich.progress import Progress

    from streamprn.apps.clips import swap_clip
    from streamprn.cli.console import stderr_console, stdout_console

    console = stderr_console()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(args.target.name, total=None)
        report = swap_clip(
            reconstructor,
            swapper,
            args.target,
            args.out,
            max_faces=args.max_faces,
            on_frame=lambda done, count: progress.update(task, completed=done, total=count or None),
            on_note=lambda note: console.print(f"note: {note}", markup=False, soft_wrap=True),
        )
    broken = f"; {report.broken} broken ones left out" if report.broken else ""
    stdout_console().print(
        f"{args.out}: {report.frames} frames, {report.with_face} of them with a face{broken}",
        markup=False,
        soft_wrap=True,
    )
    return int(report.with_face == 0)
