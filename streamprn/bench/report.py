"""Measurements as tables, as a JSON file and as a plot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.bench.measure import PERCENTILES, STAGES, Measurement, percentiles
from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from rich.console import Console

    from streamprn.bench.peers import Comparison


def show_machine(console: Console, machine: Mapping[str, str]) -> None:
    """Print the header."""
    for name, value in machine.items():
        console.print(f"[bold]{name}[/bold] {value}", highlight=False)


def show(console: Console, one: Measurement) -> None:
    """Print one measurement."""
    from rich.table import Table

    plan = one.plan
    pace = f"{plan.fps:g} frames/s each" if plan.paced else "as fast as it goes"
    title = f"{plan.streams} stream{'s' if plan.streams > 1 else ''}, {pace}, {one.backend}"
    table = Table(title=title, title_justify="left")
    table.add_column("ms")
    for name in PERCENTILES:
        table.add_column(name, justify="right")
    rows = dict(one.stages_ms)
    since = "due" if plan.paced else "read"
    rows |= {f"{since} to published": one.latency_ms, f"{since} to received": one.received_ms}
    for name, values in rows.items():
        table.add_row(name, *_cells(values))
    console.print(table)
    console.print(
        f"{one.frames} frames in {one.seconds:.1f} s: {one.fps:.1f} frames/s, {one.faces} faces, "
        f"{one.dropped} dropped, {one.gaps} missed by the subscriber; "
        f"{one.cpu_cores:.2f} cores, {one.rss_mib:.0f} MiB; "
        f"first face after {one.first_face_s:.2f} s",
        highlight=False,
    )


def _cells(values: NDArray[np.float64]) -> list[str]:
    found = percentiles(values)
    return [f"{found[name]:.2f}" if found else "-" for name in PERCENTILES]


def show_trials(console: Console, trials: Sequence[Measurement], p99_ms: float) -> None:
    """Print the search for the most streams."""
    from rich.table import Table

    table = Table(title=f"streams held with p99 under {p99_ms:g} ms", title_justify="left")
    for name in ("streams", "frames/s", "p50 ms", "p99 ms", "cores", "cores a stream", "held"):
        table.add_column(name, justify="right")
    for one in trials:
        streams = one.plan.streams
        table.add_row(
            str(streams),
            f"{one.fps:.1f}",
            f"{np.median(one.latency_ms):.1f}",
            f"{one.p99_ms:.1f}",
            f"{one.cpu_cores:.2f}",
            f"{one.cpu_cores / streams:.3f}",
            "yes" if is_held(one, p99_ms) else "no",
        )
    console.print(table)


def is_held(one: Measurement, p99_ms: float) -> bool:
    """Whether a measurement kept the pace under the bound."""
    return one.held and one.p99_ms <= p99_ms


def show_comparison(console: Console, found: Comparison) -> None:
    """Print ours beside a peer's."""
    from rich.table import Table

    table = Table(title=f"against {found.peer}", title_justify="left")
    for name in ("", "ours", "theirs", "ours / theirs"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row(
        "frames/s, as fast as it goes",
        _rounds(found.ours_fps),
        _rounds(found.theirs_fps),
        f"{found.speed_ratio:.2f}",
    )
    p50 = np.median(np.array(found.ours_p50_ms) / np.array(found.theirs_p50_ms))
    table.add_row(
        "p50 ms at the clip's pace",
        _rounds(found.ours_p50_ms),
        _rounds(found.theirs_p50_ms),
        f"{p50:.2f}",
    )
    table.add_row(
        "p99 ms at the clip's pace",
        _rounds(found.ours_p99_ms),
        _rounds(found.theirs_p99_ms),
        f"{found.p99_ratio:.2f}",
    )
    console.print(table)


def _rounds(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def write_json(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def check_plot(path: Path) -> None:
    """Refuse a plot that could not be drawn or written, before anything is measured.

    Raises:
        InputError: Matplotlib is not installed, or does not write files of this suffix.
    """
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise InputError("plots need Matplotlib", hint="pip install matplotlib") from error
    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lower().lstrip(".") not in known:
        raise InputError(
            f"{path}: no plot can be written in this format", hint="use .png, .svg or .pdf"
        )


def plot(path: Path, runs: Sequence[Measurement]) -> None:
    """Draw the time of every stage and the distribution of the latency.

    Raises:
        InputError: Matplotlib is not installed, or the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    one = runs[-1]
    values = [one.stages_ms[name] for name in STAGES]
    left.boxplot(values, orientation="horizontal", whis=(1, 99), showfliers=False)
    left.set_yticks(range(1, len(STAGES) + 1), STAGES)
    left.invert_yaxis()
    left.set_xlabel("ms (box: quartiles, whiskers: p1 and p99)")
    left.set_title(f"stages, {one.plan.streams} stream(s)")
    for run in runs:
        ordered = np.sort(run.latency_ms)
        beyond = 1.0 - np.arange(ordered.size) / ordered.size
        right.plot(ordered, beyond, label=f"{run.plan.streams} stream(s)")
    right.set_yscale("log")
    right.set_xlabel("due to published, ms")
    right.set_ylabel("part of the frames that took longer")
    right.grid(visible=True, which="both", alpha=0.3)
    right.legend()
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be written: {error}", hint="use .png or .svg") from error
