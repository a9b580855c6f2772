"""`streamprn evaluate`: accuracy on a dataset in the layout of AFLW2000-3D."""

from __future__ import annotations

import argparse
import math
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from streamprn.cli.face_options import add_engine_options, open_reconstructor
from streamprn.cli.parser import positive_int
from streamprn.errors import InputError, StreamPRNError

if TYPE_CHECKING:
    from rich.console import Console

    from streamprn.apps.evaluation import Evaluator, Summary
    from streamprn.cli.parser import Parser

_EXAMPLES = """
  streamprn evaluate AFLW2000 --out report
  streamprn evaluate AFLW2000 --crop truth --engine resfcn256
"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser(
        "evaluate",
        help="accuracy on a dataset in the layout of AFLW2000-3D",
        description="Landmark errors by yaw, pose errors and speed on pictures with .mat files "
        "(pt3d_68, Pose_Para) beside them.",
        examples=_EXAMPLES,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="pictures with their .mat files")
    parser.add_argument(
        "--crop",
        default="detector",
        choices=("detector", "truth"),
        help="find the faces, or crop them by their true landmarks (%(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write errors.csv, curve.png and worst.jpg there"
    )
    parser.add_argument(
        "--limit", type=positive_int, metavar="N", help="evaluate the first N pictures only"
    )
    add_engine_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; 0, or 1 where a file could not be read or no face was found."""
    from rich.progress import track

    from streamprn.apps.evaluation import Evaluator, find_pictures, summarise
    from streamprn.cli.console import stderr_console, stdout_console

    pictures = find_pictures(args.folder)[: args.limit]
    reconstructor = open_reconstructor(args, detect=args.crop == "detector")
    if args.out is not None:
        _prepare_files(args.out)
    evaluator = Evaluator(reconstructor, args.crop)
    for picture in track(pictures, "evaluate", console=stderr_console(), transient=True):
        evaluator.process(picture)
    summary = summarise(evaluator.scores)
    console = stdout_console()
    name = f"{args.engine}, {args.crop} crops"
    console.print(f"{name}, {reconstructor.engine.backend}", markup=False)
    _print_summary(console, name, summary)
    for path, reason in evaluator.failures:
        text = reason if reason.startswith(path) else f"{path}: {reason}"
        console.print(f"failed: {text}", style="red", markup=False, soft_wrap=True)
    if args.out is not None:
        _write_files(console, args.out, evaluator, name)
    return int(bool(evaluator.failures) or summary.missed == summary.pictures)


def _print_summary(console: Console, name: str, summary: Summary) -> None:
    from rich.table import Table

    from streamprn.apps.evaluation import PRN_PAPER_NME, YAW_BINS

    table = Table("NME of 68 points, %", *(f"yaw {low}-{high}" for low, high in YAW_BINS))
    table.add_column("mean of bins")
    table.add_column("mean of all")
    table.add_row("2D", *map(_number, (*summary.bins, summary.nme_2d)))
    table.add_row("3D", *map(_number, (*summary.bins_3d, summary.nme_3d)))
    table.add_row("PRN paper, 2D, AFLW2000-3D", *map(_number, PRN_PAPER_NME), "-")
    table.add_row("pictures", *map(str, summary.bin_counts), "", "")
    console.print(table)
    pitch, yaw, roll, mean = (_number(value) for value in summary.pose)
    console.print(
        f"pose, mean absolute error in degrees: pitch {pitch}, yaw {yaw}, roll {roll}, mean {mean}"
        f" ({summary.pose_pictures} pictures within 99 degrees)"
    )
    if not math.isnan(summary.nme_dense):
        console.print(f"dense NME of all vertices, 3D: {_number(summary.nme_dense)} %")
    console.print(
        f"{summary.pictures} pictures, {summary.missed} without a face found (in none of the "
        f"means), {_number(summary.milliseconds)} ms a picture (median)"
    )


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _prepare_files(out: Path) -> None:
    """Make the folder, and say what it will not hold, before the work."""
    from streamprn.cli.console import stderr_console

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made a folder: {error.strerror}") from error
    if find_spec("matplotlib") is None:
        hint = "there will be no curve.png: it needs Matplotlib (pip install matplotlib)"
        stderr_console().print(hint, markup=False)


def _write_files(console: Console, out: Path, evaluator: Evaluator, name: str) -> None:
    from streamprn.apps import evaluation, images

    evaluation.write_csv(out / "errors.csv", evaluator.scores)
    if evaluator.scores:
        images.write_image(out / "worst.jpg", evaluation.contact_sheet(evaluator.scores))
        try:
            evaluation.write_plot(out / "curve.png", evaluator.scores, name)
        except StreamPRNError as error:
            console.print(f"no curve.png: {error}", markup=False)
    console.print(f"details in {out}", markup=False)
