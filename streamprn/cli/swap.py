"""`streamprn swap`: put one face onto another, in a picture or through a clip."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamprn.cli.face_options import add_engine_options, add_video_stream, open_reconstructor
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
    add_video_stream(parser)
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
    from streamprn.apps.images import IMAGE_SUFFIXES, check_writable
    from streamprn.cli.clip_output import check_output
    from streamprn.cli.signals import CLEANUP_S, stop_on_signals
    from streamprn.source.content import is_clip

    check_output(args.out, args.target, args.reference)
    clip = args.video or is_clip(args.target, IMAGE_SUFFIXES)
    if not clip:
        _check_not_meant_as_clip(args)
        check_writable(args.out)
    with stop_on_signals(CLEANUP_S, interrupt=True):
        reconstructor = open_reconstructor(args)
        swapper = _open_swapper(args, reconstructor)
        return (_swap_video if clip else _swap_picture)(args, reconstructor, swapper)


def _check_not_meant_as_clip(args: argparse.Namespace) -> None:
    from streamprn.apps.images import VIDEO_SUFFIXES

    if args.out.suffix.lower() in VIDEO_SUFFIXES:
        raise InputError(
            f"{args.target}: is a picture, and {args.out} would be a video",
            hint="use a name ending in .png or .jpg, or --video to take it as a video all the same",
        )
    if args.video_stream is not None:
        raise InputError(
            f"{args.target}: is a picture, and --video-stream chooses among those of a video",
            hint="leave it out",
        )


def _open_swapper(args: argparse.Namespace, reconstructor: Reconstructor) -> FaceSwapper:
    from streamprn.apps.images import read_image
    from streamprn.apps.swapping import FaceSwapper, PartMask, ReferenceFace

    part = PartMask.parse(args.part, reconstructor.engine.topology)
    faces = reconstructor.reconstruct(read_image(args.reference))
    if not faces:
        raise InputError(f"{args.reference}: no face found", hint=_NO_FACE)
    return FaceSwapper(
        ReferenceFace.of(faces[0]),
        part,
        match_colours=not args.keep_colours,
        occlusion=args.occlusion,
    )


def _swap_picture(
    args: argparse.Namespace, reconstructor: Reconstructor, swapper: FaceSwapper
) -> int:
    import numpy as np

    from streamprn.apps.images import ALPHA_SUFFIXES, read_with_alpha, shrink, write_image
    from streamprn.cli.console import stderr_console, stdout_console
    from streamprn.pixels import over_white

    try:
        image, alpha = read_with_alpha(args.target)
    except InputError as error:
        if "not a readable picture" in error.what:
            raise InputError(error.what, hint=f"{error.hint}; for a clip add --video") from error
        raise
    keeps_alpha = alpha is not None and args.out.suffix.lower() in ALPHA_SUFFIXES
    if alpha is not None and not keeps_alpha:
        kinds = ", ".join(sorted(ALPHA_SUFFIXES))
        note = f"note: {args.out}: transparent parts come out white; {kinds} keep them"
        stderr_console().print(note, markup=False, soft_wrap=True)
    shown = image if alpha is None else over_white(np.dstack([image, alpha]))
    if args.max_size is not None:
        image, shown = (shrink(one, args.max_size) for one in (image, shown))
        alpha = None if alpha is None else shrink(alpha, args.max_size)
    faces = reconstructor.reconstruct(shown)[: args.max_faces]
    if not faces:
        raise InputError(f"{args.target}: no face found; nothing is written", hint=_NO_FACE)
    image = image if keeps_alpha else shown
    for face in faces:
        image = swapper.swap(image, face.vertices)
    if keeps_alpha and alpha is not None:
        image = np.dstack([image, alpha])
    write_image(args.out, image, quality=95)
    stdout_console().print(f"{args.out}: {len(faces)} of its faces changed", markup=False)
    return 0


def _swap_video(
    args: argparse.Namespace, reconstructor: Reconstructor, swapper: FaceSwapper
) -> int:
    from streamprn.apps.clips import swap_clip
    from streamprn.cli.clip_output import rework

    return rework(
        args.target,
        args.out,
        lambda on_frame, on_note: swap_clip(
            reconstructor,
            swapper,
            args.target,
            args.out,
            max_faces=args.max_faces,
            video_stream=args.video_stream,
            on_frame=on_frame,
            on_note=on_note,
        ),
    )
