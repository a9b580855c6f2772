"""What the commands share that write a clip anew: checks of the paths, progress, the last line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamprn.apps.clips import ClipReport

__all__ = ["check_output", "rework"]


def check_output(out: Path, *inputs: Path) -> None:
    """Refuse an output that is a folder or one of the inputs.

    Raises:
        InputError: it is.
    """
    if out.is_dir():
        raise InputError(f"{out}: is a folder", hint="give the name of the file to write")
    if out.exists() and any(path.exists() and out.samefile(path) for path in inputs):
        raise InputError(f"{out}: would overwrite an input")


def rework(
    source: Path,
    out: Path,
    work: Callable[[Callable[[int, int], None], Callable[[str], None]], ClipReport],
) -> int:
    """Do the work with a progress bar; 0, or 1 where no picture shows a face.

    Args:
        source: the clip, for the bar.
        out: what is written, for the last line.
        work: takes `on_frame` and `on_note` of `streamprn.apps.clips.rework_clip`.
    """
    from rich.progress import Progress

    from streamprn.cli.console import stderr_console, stdout_console

    console = stderr_console()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(source.name, total=None)
        report = work(
            lambda done, count: progress.update(task, completed=done, total=count or None),
            lambda note: console.print(f"note: {note}", markup=False, soft_wrap=True),
        )
    broken = f"; {report.broken} broken ones left out" if report.broken else ""
    stdout_console().print(
        f"{out}: {report.frames} frames, {report.with_face} of them with a face{broken}",
        markup=False,
        soft_wrap=True,
    )
    return int(report.with_face == 0)
