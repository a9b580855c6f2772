"""`streamprn export`: a recording to files that other programs read."""

from __future__ import annotations

import argparse
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from streamprn.cli.parser import Parser, number, positive_int
from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from streamprn.apps.export_recording import Exported

_FORMATS = ("jsonl", "csv", "parquet", "obj", "glb")
# Without a terminal: the first line, and the time between lines.
_PATIENCE_S, _LINE_S = 2.0, 10.0
# For taking away what was written so far.
_CLEANING_S = 10.0

_DESCRIPTION = """\
Write a recording of `streamprn run --record DIR` to a file that other programs read. The suffix of
OUT chooses the format:

  .jsonl    one JSON object for each frame: faces, landmarks, poses, time stamps
  .csv      one row for each face of each frame, with OpenFace's column names
  .parquet  the same table with types (needs streamprn[parquet])
  .obj      a folder of OBJ files, one for each face of each frame
            (also a name without a suffix)
  .glb      one animated glTF for Blender and others: head motion, and a
            morph target a frame

.obj and .glb need recorded meshes: `--set record.kinds=[face,mesh]`. What was cut off or damaged is
left out and named; the exit code is 1 where something was damaged."""
_EXAMPLES = """
streamprn export recordings/ faces.csv
streamprn export recordings/ door.jsonl --stream door
streamprn export recordings/door.sprn face1.glb --face 1 --every 2
streamprn export recordings/ meshes.obj --stream door --every 30 --replace
"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Add `export`."""
    parser = subparsers.add_parser(
        "export",
        help="a recording to JSON lines, CSV, Parquet, OBJ, GLB",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "recording", metavar="RECORDING", type=Path, help="a .sprn file, or a folder of recordings"
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="what is written; see above")
    parser.add_argument("--format", choices=_FORMATS, help="whatever the suffix of OUT")
    parser.add_argument("--stream", metavar="NAME", help="this stream alone")
    parser.add_argument("--face", metavar="ID", type=number(int, 0), help="this face alone")
    parser.add_argument(
        "--every", metavar="N", type=positive_int, default=1, help="every N-th frame of a stream"
    )
    parser.add_argument(
        "--max-frames",
        metavar="N",
        type=positive_int,
        help="allow so many frames of one face in .obj (default: 1000) and .glb (default: 300)",
    )
    parser.add_argument("--replace", action="store_true", help="replace OUT where it exists")
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the file; 1 where part of the recording could not be read."""
    from streamprn.apps.export_recording import ExportOptions, export
    from streamprn.cli.console import configure_logging, stderr_console
    from streamprn.cli.signals import stop_on_signals

    if str(args.out) == "-":
        raise InputError("-: OUT is a file or a folder", hint="e.g. faces.csv")
    console = stderr_console()
    configure_logging("debug" if args.verbose else "warning", console)
    options = ExportOptions(
        args.format, args.stream, args.face, args.every, args.max_frames, args.replace
    )
    with stop_on_signals(_CLEANING_S, interrupt=True), _progress(console) as on_frame:
        exported = export(args.recording, args.out, options, on_frame)
    _report(exported, args.out)
    return int(bool(exported.problems))


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[int, int, int], None]]:
    """Tell how far it is: a bar on a terminal, else a line now and then."""
    if not console.is_terminal:
        due = time.monotonic() + _PATIENCE_S

        def say(done: int, total: int, frames: int) -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + _LINE_S
                console.print(f"frame {frames}, file {done + 1} of {total} ...")

        yield say
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("export", total=None)

        def show(done: int, total: int, frames: int) -> None:
            text = f"frame {frames}, file {done + 1} of {total}"
            progress.update(
                task, description=text, completed=done, total=total if total > 1 else None
            )

        yield show


def _report(exported: Exported, out: Path) -> None:
    from streamprn.cli.console import stderr_console, stdout_console

    streams = ", ".join(f"{name} ({count} frames)" for name, count in exported.frames.items())
    plural = "" if exported.count == 1 else "es" if exported.unit == "mesh" else "s"
    stdout_console().print(
        f"{out}: {exported.count} {exported.unit}{plural} of {streams}",
        markup=False,
        soft_wrap=True,
    )
    console = stderr_console()
    warnings = [f"left out: {problem}" for problem in exported.problems]
    if exported.skipped:
        warnings.append(f"left out: {exported.skipped} faces without a mesh that can be drawn")
    for warning in warnings:
        console.print(warning, style="yellow", markup=False, soft_wrap=True)
