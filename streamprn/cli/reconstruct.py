"""`streamprn reconstruct`: pictures and videos to meshes, landmarks, poses, depth, textures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamprn.cli.face_options import add_engine_options, add_video_stream, open_reconstructor
from streamprn.cli.parser import positive_int
from streamprn.errors import InputError

if TYPE_CHECKING:
    from streamprn.apps.batch import BatchOptions, Item, Report
    from streamprn.apps.outputs import OutputOptions
    from streamprn.apps.reconstruction import Reconstructor
    from streamprn.cli.parser import Parser

_EXAMPLES = """
  # mesh, landmarks, pose and overlays
  streamprn reconstruct face.jpg out
  # every output of every face, recursively
  streamprn reconstruct photos out --all
  # one frame in ten, depth images
  streamprn reconstruct clip.mp4 out --every 10 --depth
  streamprn reconstruct a.jpg out --texture --texture-size 2048 --fill mirror
  streamprn reconstruct photos out --boxes boxes.csv --skip-existing
"""
_KINDS = {
    "mesh": "mesh with vertex colours (mesh.obj, .ply, .glb)",
    "texture": "mesh with a UV texture (textured.obj + .mtl + .png, .glb)",
    "landmarks": "68 landmarks with visibility (.txt, .npy, .json)",
    "vertices": "all vertices and their visibility (.npy)",
    "pose": "pose and camera matrix (pose.json, camera.txt)",
    "depth": "depth image (16-bit .png, .npy, and a picture)",
    "map": "position map (.npy, 16-bit .png)",
    "mat": "MATLAB file: vertices, colors, triangles, ...",
    "crop": "the crop that the network saw (.png)",
    "overlay": "landmarks, mesh, pose box and visibility drawn over the picture",
}


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser(
        "reconstruct",
        help="pictures or videos to 3D faces in files",
        description="Reconstruct every face of pictures, folders of pictures, and videos.",
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="IN", help="picture, video, or folder (recursive)"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the outputs")
    _add_output_options(parser)
    _add_input_options(parser)
    add_engine_options(parser)


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("outputs", "default: --mesh --landmarks --pose --overlay")
    group.add_argument("--all", action="store_true", help="every output below")
    for kind, text in _KINDS.items():
        group.add_argument(f"--{kind}", dest="kinds", action="append_const", const=kind, help=text)
    group.add_argument(
        "--formats",
        default="obj,ply,glb",
        metavar="LIST",
        help="mesh formats, commas between (%(default)s)",
    )
    group.add_argument(
        "--front", action="store_true", help="turn the meshes to the camera (default: as seen)"
    )
    group.add_argument(
        "--fill",
        default="picture",
        choices=("picture", "zero", "mirror", "skin"),
        help="what hidden parts of textures hold: what the picture shows there, black, the other "
        "half of the face, or that and skin in place of hair and background (%(default)s)",
    )
    group.add_argument(
        "--texture-size",
        type=positive_int,
        default=512,
        metavar="N",
        help="texels a side, 16 to 8192 (%(default)s)",
    )


def _add_input_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("inputs")
    group.add_argument(
        "--boxes",
        type=Path,
        metavar="FILE",
        help="face boxes instead of detection: lines 'name x0 y0 x1 y1', or JSON",
    )
    group.add_argument(
        "--max-size",
        type=positive_int,
        metavar="N",
        help="shrink larger pictures to this longer side (outputs are in shrunk pixels)",
    )
    group.add_argument(
        "--max-faces", type=positive_int, default=16, metavar="N", help="of a picture (%(default)s)"
    )
    group.add_argument(
        "--every", type=positive_int, default=1, metavar="N", help="every N-th frame of a video"
    )
    add_video_stream(group)
    group.add_argument(
        "--skip-existing", action="store_true", help="leave out what an earlier run finished"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; 0, 1 where an input failed or no face was found, 2 where all failed."""
    from streamprn.apps.batch import find_items
    from streamprn.cli.signals import CLEANUP_S, stop_on_signals

    options = _options(args)
    items = find_items(args.inputs)
    with stop_on_signals(CLEANUP_S, interrupt=True):
        reconstructor = open_reconstructor(args, detect=options.boxes is None)
        reconstructor.max_faces = args.max_faces
        report = _process(reconstructor, options, items)
    _print_report(report, args.out)
    return report.exit_code


def _options(args: argparse.Namespace) -> BatchOptions:
    from streamprn.apps.batch import BatchOptions, read_boxes

    if args.out.exists() and not args.out.is_dir():
        raise InputError(f"{args.out}: is a file", hint="the last argument is the output folder")
    return BatchOptions(
        out=args.out,
        outputs=_output_options(args),
        boxes=read_boxes(args.boxes) if args.boxes is not None else None,
        max_size=args.max_size,
        every=args.every,
        video_stream=args.video_stream,
        skip_existing=args.skip_existing,
    )


def _output_options(args: argparse.Namespace) -> OutputOptions:
    from streamprn.apps.outputs import DEFAULT_KINDS, KINDS, OutputOptions

    kinds = tuple(KINDS) if args.all else tuple(dict.fromkeys(args.kinds or DEFAULT_KINDS))
    return OutputOptions(
        kinds=kinds,
        formats=tuple(name.strip() for name in args.formats.split(",") if name.strip()),
        front=args.front,
        fill=args.fill,
        texture_size=args.texture_size,
    ).check()


def _process(reconstructor: Reconstructor, options: BatchOptions, items: list[Item]) -> Report:
    from rich.progress import Progress

    from streamprn.apps.batch import BatchReconstructor
    from streamprn.cli.console import stderr_console

    console = stderr_console()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        inputs = progress.add_task("reconstruct", total=len(items))
        frames = progress.add_task("frames", visible=False)
        batch = BatchReconstructor(
            reconstructor,
            options,
            on_row=lambda row: progress.advance(frames),
            on_count=lambda count: progress.reset(frames, total=count or None, visible=True),
        )
        for item in items:
            progress.update(frames, description=item.path.name, visible=False)
            batch.process(item)
            progress.advance(inputs)
    return batch.report


def _print_report(report: Report, out: Path) -> None:
    from rich.markup import escape
    from rich.table import Table

    from streamprn.cli.console import stdout_console

    console = stdout_console()
    if report.rows:
        table = Table("picture", "faces", "ms", "face widths and poses in degrees")
        for row in report.rows:
            faces = "-" if row.faces is None else str(row.faces)
            table.add_row(escape(row.name), faces, f"{1e3 * row.seconds:.0f}", escape(row.text))
        console.print(table)
        console.print(
            f"{_count(len(report.rows), 'picture')}, {_count(report.faces, 'face')}, "
            f"{report.skipped} done before, "
            f"{len(report.failures)} failed; outputs in {escape(str(out))}",
            highlight=False,
        )
        if not report.faces and not report.skipped:
            console.print("no face found: try --detector full, or --min-score 0.3", style="yellow")
    for note in report.notes:
        console.print(note, style="yellow", markup=False, soft_wrap=True)
    for name, reason in report.failures:
        text = reason if reason.startswith(name) else f"{name}: {reason}"
        console.print(f"failed: {escape(text)}", style="red", highlight=False, soft_wrap=True)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
