"""`streamprn evaluate`: accuracy of one engine or several on a dataset."""

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
    from collections.abc import Sequence

    from rich.console import Console

    from streamprn.apps.comparison import Run
    from streamprn.apps.datasets import Dataset
    from streamprn.apps.evaluation import Evaluator, Summary
    from streamprn.cli.parser import Parser

_EXAMPLES = """
  streamprn evaluate AFLW2000 --out report
  streamprn evaluate AFLW2000 --crop truth --engine facemesh --engine facemesh2
  streamprn evaluate helen/testset --engine facemesh,facemesh2
  streamprn evaluate heads --angle-pattern 'yaw(?P<yaw>[+-]?[0-9]+)'
  streamprn evaluate --compare old/results.json new/results.json
"""


# Degrees of yaw at which every engine tells left from right.
_TURNED = 20.0


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser(
        "evaluate",
        help="accuracy of engines on a dataset, side by side",
        description="Landmark errors by yaw, pose errors and speed on pictures whose truth is "
        "known: with .mat files beside them (AFLW2000-3D), with .pts files (300-W), or with the "
        "yaw in their names.",
        examples=_EXAMPLES,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", nargs="?", help="the dataset")
    parser.add_argument(
        "--layout",
        choices=("aflw2000", "300w", "angles"),
        help="of the dataset (default: that of the files that are there)",
    )
    parser.add_argument(
        "--angle-pattern",
        metavar="REGEX",
        help="finds the yaw in the path of a picture: group yaw, or minus_yaw where the sign is "
        "not that of AFLW2000-3D; perhaps pitch and roll",
    )
    parser.add_argument(
        "--crop",
        default="detector",
        choices=("detector", "truth"),
        help="find the faces, or crop them by their true landmarks (%(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write results.json, and of each engine errors.csv, curve.png and worst.jpg there",
    )
    parser.add_argument(
        "--limit", type=positive_int, metavar="N", help="evaluate the first N pictures only"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="JSON",
        nargs="+",
        help="show results.json files of earlier runs side by side, in place of DIR",
    )
    add_engine_options(parser, several=True)


def run(args: argparse.Namespace) -> int:
    """Run the command; 0, or 1 where a file could not be read or no face was found."""
    from streamprn.cli.console import stdout_console

    console = stdout_console()
    if (args.folder is None) == (args.compare is None):
        raise InputError(
            "give either a dataset or --compare", hint="see `streamprn evaluate --help`"
        )
    if args.compare is not None:
        from streamprn.apps.comparison import read_runs

        _print_comparison(console, [one for path in args.compare for one in read_runs(path)])
        return 0
    return _evaluate(args, console)


def _evaluate(args: argparse.Namespace, console: Console) -> int:
    from streamprn.apps.comparison import Run
    from streamprn.apps.datasets import open_dataset
    from streamprn.apps.evaluation import summarise

    dataset = open_dataset(args.folder, args.layout, args.angle_pattern)
    if args.out is not None:
        _prepare_files(args.out)
    runs: list[Run] = []
    failures: dict[str, str] = {}
    for engine in engines_of(args.engine or ["facemesh"]):
        evaluator = _run_engine(args, engine, dataset)
        backend = evaluator.reconstructor.engine.backend
        console.print(f"{engine}, {args.crop} crops, {backend}", markup=False)
        scores = tuple(evaluator.scores)
        runs.append(Run(engine, backend, dataset.layout, args.crop, scores))
        failures |= dict(evaluator.failures)
    if len(runs) == 1 and dataset.layout == "aflw2000":
        _print_summary(console, summarise(runs[0].scores))
    else:
        _print_comparison(console, runs)
    for path, reason in failures.items():
        text = reason if reason.startswith(path) else f"{path}: {reason}"
        console.print(f"failed: {text}", style="red", markup=False, soft_wrap=True)
    if args.out is not None:
        _write_files(console, args.out, runs)
    nothing = any(not any(one.found for one in run.scores) for run in runs)
    return int(bool(failures) or nothing)


def engines_of(given: Sequence[str]) -> list[str]:
    """The engines of the `--engine` options, each a name, a folder, or a list with commas.

    Raises:
        InputError: one is named twice, or a name is empty.
    """
    names = [one.strip() for text in given for one in text.split(",")]
    for name in names:
        if not name:
            raise InputError(f"--engine {','.join(given)}: a name is empty")
        if names.count(name) > 1:
            raise InputError(f"--engine {name} is given twice")
    return names


def _run_engine(args: argparse.Namespace, engine: str, dataset: Dataset) -> Evaluator:
    from rich.progress import track

    from streamprn.apps.evaluation import Evaluator
    from streamprn.cli.console import stderr_console

    chosen = argparse.Namespace(**vars(args) | {"engine": engine})
    reconstructor = open_reconstructor(chosen, detect=args.crop == "detector")
    evaluator = Evaluator(reconstructor, dataset.read, args.crop)
    pictures = dataset.pictures[: args.limit]
    for picture in track(pictures, engine, console=stderr_console(), transient=True):
        evaluator.process(picture)
    reconstructor.engine.close()
    return evaluator


def _print_summary(console: Console, summary: Summary) -> None:
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


def _print_comparison(console: Console, runs: Sequence[Run]) -> None:
    from rich.table import Table

    from streamprn.apps.comparison import compare

    found = compare(runs)
    heads, cells = _COLUMNS[runs[0].layout](found.summaries)
    table = Table("engine", *heads, "missed", "ms")
    names = [one.engine for one in runs]
    if len(set(names)) < len(names):
        names = [one.source or one.engine for one in runs]
    for name, row, summary in zip(names, cells, found.summaries, strict=True):
        table.add_row(name, *row, str(summary.missed), _number(summary.milliseconds))
    console.print(table)
    console.print(
        f"{found.pictures} pictures; means over the {found.common} in which "
        + ("every engine found the face" if len(runs) > 1 else "the face was found")
    )
    turned = [one.reads for one in found.summaries[0].yaws if one.true >= _TURNED]
    if runs[0].layout == "angles" and turned and max(turned) < 0:
        console.print("the yaws seem to have the other sign: name the group minus_yaw")


def _aflw2000_columns(summaries: Sequence[Summary]) -> tuple[list[str], list[list[str]]]:
    from streamprn.apps.evaluation import YAW_BINS

    bins = [f"NME %, yaw {low}-{high}" for low, high in YAW_BINS]
    heads = [*bins, "mean of bins", "the same in 3D", "inner 51", "pose, degrees"]
    rows = []
    for one in summaries:
        values = (*one.bins, one.bins_3d[-1], one.nme_inner, one.pose[-1])
        rows.append([_number(value) for value in values])
    return heads, rows


def _300w_columns(summaries: Sequence[Summary]) -> tuple[list[str], list[list[str]]]:
    heads = ["NME % of the box", "inner 51", "% of the outer eye distance"]
    rows = [
        [_number(value) for value in (one.nme_2d, one.nme_inner, one.nme_eyes)] for one in summaries
    ]
    return heads, rows


def _angle_columns(summaries: Sequence[Summary]) -> tuple[list[str], list[list[str]]]:
    heads = [f"yaw {one.true:.0f} reads" for one in summaries[0].yaws]
    rows = [
        [*(f"{one.reads:.1f}" for one in summary.yaws), _number(_yaw_error(summary))]
        for summary in summaries
    ]
    return [*heads, "mean error of yaw, degrees"], rows


def _yaw_error(summary: Summary) -> float:
    count = sum(one.count for one in summary.yaws)
    return sum(one.error * one.count for one in summary.yaws) / count if count else math.nan


_COLUMNS = {"aflw2000": _aflw2000_columns, "300w": _300w_columns, "angles": _angle_columns}


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


def _write_files(console: Console, out: Path, runs: Sequence[Run]) -> None:
    from streamprn.apps import images, reports
    from streamprn.apps.comparison import write_runs

    for index, run in enumerate(runs):
        # One engine has the folder for itself, several a folder each.
        name = Path(run.engine).name
        taken = [Path(one.engine).name for one in runs].count(name) > 1
        folder = out if len(runs) == 1 else out / (f"{name}-{index + 1}" if taken else name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made a folder: {error.strerror}") from error
        reports.write_csv(folder / "errors.csv", run.scores)
        if run.scores:
            images.write_image(folder / "worst.jpg", reports.contact_sheet(run.scores))
            try:
                title = f"{run.engine}, {run.crop} crops"
                reports.write_plot(folder / "curve.png", run.scores, title)
            except StreamPRNError as error:
                console.print(f"no curve.png: {error}", markup=False)
    write_runs(out / "results.json", runs)
    console.print(f"details in {out}", markup=False)
