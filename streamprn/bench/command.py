"""`streamprn bench`: what to measure, in which order, and where it goes."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamprn.bench import machine, report
from streamprn.bench.measure import Measurement, Plan, measure
from streamprn.errors import InputError
from streamprn.records import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

#: A search for the most streams ends here at the latest.
MOST_STREAMS = 64


def run(
    source: str | None = None,
    *,
    streams: int = 1,
    fps: float = 30.0,
    seconds: float = 10.0,
    warmup_s: float = 2.0,
    kinds: Sequence[Kind] | None = None,
    engine: str = "facemesh",
    backend: str = "auto",
    find_max: bool = False,
    p99_ms: float = 100.0,
    against: str | None = None,
    rounds: int = 3,
    json_path: Path | None = None,
    plot_path: Path | None = None,
    console: Console | None = None,
) -> int:
    """Measure the pipeline and print what it showed.

    Args:
        source: any source that `run` takes; None for the sample clip of a moving face.
        streams: copies of the source that run at once.
        fps: pace of each, frames a second; 0 for as fast as it goes.
        seconds: measured time of each run.
        warmup_s: time before it that does not count.
        kinds: what the subscriber asks for; `face` and `mesh` by default, against a peer `mesh`
            (vertices, with pose and landmarks in its header).
        engine: name or folder of the bundle.
        backend: runtime, or "auto".
        find_max: search the most streams held with the 99th percentile under `p99_ms`.
        p99_ms: see `find_max`.
        against: a peer to measure in turn with ours, one of `streamprn.bench.peers.PEERS`.
        rounds: of that comparison.
        json_path: where the figures go.
        plot_path: where the plot goes.
        console: where to print; a plain one by default.

    Returns:
        The exit code: 1 where the pace was not held, else 0.

    Raises:
        StreamPRNError: an argument cannot be used, or a run failed.
    """
    from rich.console import Console

    console = console or Console()
    _check(streams, fps, seconds, find_max, against)
    _check_outputs(json_path, plot_path)
    _check_needs(source, plot_path)
    facts = machine.describe()
    report.show_machine(console, facts)
    with _clip(source, console) as uri:
        plan = Plan(
            uri=uri,
            streams=streams,
            fps=fps,
            seconds=seconds,
            warmup_s=warmup_s,
            settings={
                "engine.name": engine,
                "engine.backend": backend,
                "engine.device_times": True,
            },
        )
        if kinds:
            plan = replace(plan, kinds=tuple(kinds))
        elif against is not None:
            # The peer gives points alone; the mesh's header holds pose and landmarks.
            plan = replace(plan, kinds=(Kind.MESH,))
        results: dict[str, Any] = {"machine": facts}
        if against is not None:
            runs: list[Measurement] = []
            results["comparison"] = _compare(plan, against, rounds, console)
        elif find_max:
            runs = _search(plan, p99_ms, console)
            results["most_streams"] = _most(runs, p99_ms)
        else:
            runs = [_measure(plan, console)]
            report.show(console, runs[0])
    results["runs"] = [one.as_json() for one in runs]
    if json_path is not None:
        report.write_json(json_path, results)
    if plot_path is not None and runs:
        report.plot(plot_path, runs)
    return 0 if find_max or all(one.held for one in runs) else 1


def _check_outputs(*given: Path | None) -> None:
    """Refuse what could not be written, before minutes are spent on it."""
    for path in given:
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise InputError(
                f"{path} cannot be written", hint="name a file in a folder that exists"
            )


def _check_needs(source: str | None, plot_path: Path | None) -> None:
    """Refuse what a package is missing for, before minutes are spent on it."""
    if plot_path is not None:
        report.check_plot(plot_path)
    if source is None:
        from streamprn.source.sample_clip import astronaut

        astronaut()


def _check(streams: int, fps: float, seconds: float, find_max: bool, against: str | None) -> None:
    from streamprn.bench.peers import PEERS

    if not 1 <= streams <= MOST_STREAMS:
        raise InputError(f"--streams {streams}: allowed are 1 to {MOST_STREAMS}")
    if not 0 <= fps <= 1000:
        raise InputError(f"--fps {fps}: allowed are 0 to 1000 frames/s")
    if not 0.1 <= seconds <= 86400:
        raise InputError(f"--duration {seconds}: allowed are 0.1 to 86400 s")
    if find_max and not fps:
        raise InputError("--find-max needs a pace", hint="give --fps 30")
    if against is not None and against not in PEERS:
        raise InputError(f"--against {against}: unknown peer", hint=f"known: {', '.join(PEERS)}")


@contextmanager
def _clip(source: str | None, console: Console) -> Iterator[str]:
    """The source, or the sample clip in a temporary folder."""
    if source is not None:
        yield source
        return
    from streamprn.source.sample_clip import make_clip

    with tempfile.TemporaryDirectory(prefix="streamprn-bench-") as folder:
        with console.status("making the sample clip (640x480, 30 frames/s, one moving face)"):
            clip = make_clip(Path(folder) / "face.mp4")
        yield clip.uri


def _measure(plan: Plan, console: Console) -> Measurement:
    with console.status(f"measuring {plan.streams} stream(s) for {plan.seconds:g} s"):
        return measure(plan)


def _compare(plan: Plan, peer: str, rounds: int, console: Console) -> dict[str, Any]:
    from streamprn.bench.peers import compare

    with console.status("comparing") as status:
        tell: Callable[[str], None] = status.update
        found = compare(plan, peer=peer, rounds=rounds, tell=tell)
    report.show_comparison(console, found)
    return found.as_json()


def _search(plan: Plan, p99_ms: float, console: Console) -> list[Measurement]:
    """Double the streams until the pace is lost, then halve the gap."""
    trials: dict[int, Measurement] = {}

    def held(streams: int) -> bool:
        if streams not in trials:
            trials[streams] = _measure(replace(plan, streams=streams), console)
        return report.is_held(trials[streams], p99_ms)

    good, bad = 0, 1
    while bad <= MOST_STREAMS and held(bad):
        good, bad = bad, 2 * bad
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if held(middle) else (good, middle)
    found = [trials[streams] for streams in sorted(trials)]
    report.show_trials(console, found, p99_ms)
    console.print(f"Most streams held: {good}")
    return found


def _most(trials: Sequence[Measurement], p99_ms: float) -> int:
    return max((one.plan.streams for one in trials if report.is_held(one, p99_ms)), default=0)
