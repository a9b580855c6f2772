"""Break things beside and within a running engine, again and again, and see how soon all is well.

`python -m benchmarks.faults [--tries 20] [--only NAME ...] [--results FILE] [--write] [--list]`
makes each fault of `benchmarks/rig/catalogue.py` so many times with real parts: a `streamprn run`,
cameras that are servers in processes of their own, subscribers over TCP. Results go to a JSON file
after each try, and a run goes on where that leaves off; `--write` makes docs/faults.md of it.

A fault has recovered when every stream that it struck shows a face in a frame captured after the
cause went away, as a subscriber sees it who was there all the time.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rig.catalogue import FAULTS, Fault, WrongError
from benchmarks.rig.ears import latencies_ms, missing
from benchmarks.rig.page import PAGE, table, write_section
from benchmarks.rig.stage import NEIGHBOUR, Guest, Stage
from streamprn.bench.machine import describe, in_words

GOAL_S = 2.0
_GIVE_UP_S = 15.0
_CALM_S = 4.0
_SETTLE_S = 2.0
_DISK = "size=32m"


def attempt(fault: Fault, guest: Guest, calm_s: float = _CALM_S) -> dict[str, Any]:
    """Make a fault once and see what happens; plain data."""
    ears = guest.stage.ears
    calm_ns = time.monotonic_ns()
    time.sleep(calm_s)
    struck_ns = time.monotonic_ns()
    found: dict[str, Any] = {"recovery_s": None, "wrong": ""}
    try:
        fault.strike(guest)
        told_ns = None
        if fault.told:
            told_ns = ears.told_ns(guest.streams[0], struck_ns, fault.hold_s)
        time.sleep(max(0.0, fault.hold_s - (time.monotonic_ns() - struck_ns) / 1e9))
        # What came before the cause went away is no recovery; what came after is.
        fault.heal(guest)
        healed_ns = struck_ns if fault.hold_s == 0 else time.monotonic_ns()
        back_ns = fault.back_ns(guest, healed_ns, _GIVE_UP_S)
        if back_ns is not None:
            found["recovery_s"] = round((back_ns - healed_ns) / 1e9, 3)
        if told_ns is not None:
            found["told_s"] = round((told_ns - struck_ns) / 1e9, 3)
    except WrongError as error:
        found["wrong"] = str(error)
    ended_ns = time.monotonic_ns()
    before = ears.between(NEIGHBOUR, calm_ns, struck_ns)
    during = ears.between(NEIGHBOUR, struck_ns, ended_ns)
    ears.forget()
    return found | {
        "load": round(os.getloadavg()[0], 1),
        "before_p99_ms": _p99(latencies_ms(before)),
        "while_p99_ms": _p99(latencies_ms(during)),
        "before_missing": missing(before),
        "while_missing": missing(during),
        "frames": len(during),
    }


def _p99(values: Sequence[float]) -> float | None:
    return round(float(np.percentile(values, 99)), 2) if values else None


def try_fault(fault: Fault, stage: Stage, tries: int) -> Iterator[dict[str, Any]]:
    """Make a fault so many times on one stage.

    The last result holds what the process has more after all of them, in `left`.
    """
    pid = stage.service.process.pid
    before = _settled(stage)
    with Guest(stage, **{"kind": "", **fault.guest}) as guest:
        for number in range(tries):
            found = attempt(fault, guest)
            if number < tries - 1:
                yield found
                with contextlib.suppress(RuntimeError):
                    guest.wait_for_faces()
    if stage.service.process.pid == pid:  # else it is a new one
        after = _settled(stage)
        found["left"] = {name: round(after[name] - before[name], 1) for name in before}
    yield found


def _settled(stage: Stage) -> dict[str, float]:
    time.sleep(_SETTLE_S)
    return stage.service.usage()


@contextlib.contextmanager
def staged(kind: str) -> Iterator[Stage]:
    """The stage that a fault needs."""
    with tempfile.TemporaryDirectory(prefix="faults") as name, contextlib.ExitStack() as opened:
        folder = Path(name)
        arguments: dict[str, Any] = {}
        if kind in ("recording", "disk"):
            arguments["records"] = folder / "recorded"
        if kind == "disk":
            arguments["records"].mkdir()
            opened.enter_context(_small_disk(arguments["records"]))
        if kind == "dns":
            (folder / "hosts").write_text("127.0.0.1 camera.test\n")
            library = folder / "names.so"
            source = Path(__file__).parent / "rig" / "names.c"
            compiler = shutil.which("cc") or "gcc"
            command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
            subprocess.run(command, check=True)
            arguments["environment"] = {
                "LD_PRELOAD": str(library),
                "RIG_HOSTS": str(folder / "hosts"),
            }
        if kind == "engine":
            arguments["program"] = ("-m", "benchmarks.rig.failing", str(folder / "broken"))
        yield opened.enter_context(Stage(folder, **arguments))


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A disk of 32 MiB; needs root."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", _DISK, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def run(faults: Sequence[Fault], tries: int, file: Path) -> None:
    """Make what is missing in a file of results; of faults on one stage, one after the other."""
    for kind, group in itertools.groupby(faults, lambda fault: fault.stage):
        wanted = [(fault, tries - len(_load(file).get(fault.name, []))) for fault in group]
        wanted = [(fault, count) for fault, count in wanted if count > 0]
        if not wanted:
            continue
        try:
            with staged(kind) as stage:
                for fault, count in wanted:
                    for found in try_fault(fault, stage, count):
                        _keep(file, fault.name, found)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            print(f"{kind or 'plain'} stage: {error}", file=sys.stderr)


def _load(file: Path) -> dict[str, list[dict[str, Any]]]:
    return json.loads(file.read_text())["tries"] if file.exists() else {}


def _keep(file: Path, name: str, found: dict[str, Any]) -> None:
    tries = _load(file)
    tries.setdefault(name, []).append(found)
    file.write_text(json.dumps({"machine": describe(), "tries": tries}, indent=1) + "\n")
    print(f"{name}: {found}", flush=True)


def text(tries: dict[str, list[dict[str, Any]]]) -> str:
    """The results as a section of the page."""
    rows = [_row(fault.name, tries[fault.name]) for fault in FAULTS if fault.name in tries]
    head = ["fault", "tries", "recovered", f"within {GOAL_S:g} s", "p50, s", "max, s"]
    head += ["told after, s", "neighbour p99 before, ms", "while, ms", "frames missed", "left"]
    wrong = [
        f"- {name}: {one['wrong']}"
        for name, found in tries.items()
        for one in found
        if one["wrong"]
    ]
    untried = [fault.name for fault in FAULTS if fault.name not in tries]
    lines = [
        _circumstances([one["load"] for found in tries.values() for one in found if "load" in one])
    ]
    lines += [table(head, rows)]
    if untried:
        lines.append(f"Not tried: {'; '.join(untried)}.")
    return "\n\n".join([*lines, "\n".join(sorted(set(wrong)))])


def _circumstances(loads: Sequence[float]) -> str:
    return (
        f"`python -m benchmarks.faults`, {in_words()}. "
        f"Load average meanwhile: {np.median(loads or 0):.0f} (median), "
        f"{max(loads, default=0):.0f} (most). Above the number of cores, other programs "
        "took the processors: latencies and frames missed then say little, before a fault as while "
        "it lasts."
    )


def _row(name: str, tries: list[dict[str, Any]]) -> list[str]:
    times = [one["recovery_s"] for one in tries if one["recovery_s"] is not None]
    soon = sum(one <= GOAL_S for one in times)
    told = [one["told_s"] for one in tries if "told_s" in one]
    left = [one["left"] for one in tries if one.get("left")]
    return [
        name,
        str(len(tries)),
        str(len(times)),
        str(soon),
        f"{np.median(times):.2f}" if times else "-",
        f"{max(times):.2f}" if times else "-",
        f"{np.median(told):.1f}" if told else "-",
        _median([one["before_p99_ms"] for one in tries]),
        _median([one["while_p99_ms"] for one in tries]),
        f"{sum(one['while_missing'] for one in tries)} of {sum(one['frames'] for one in tries)}",
        _left(left[-1]) if left else "-",
    ]


def _median(values: Sequence[float | None]) -> str:
    known = [one for one in values if one is not None]
    return f"{np.median(known):.1f}" if known else "-"


def _left(left: dict[str, float]) -> str:
    return f"{left['rss_mib']:+.0f} MiB, {left['threads']:+.0f} t, {left['descriptors']:+.0f} d"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="faults whose names hold this")
    parser.add_argument("--results", type=Path, default=PAGE.with_suffix(".json"))
    parser.add_argument("--write", action="store_true", help="docs/faults.md of all results")
    parser.add_argument("--list", action="store_true", help="name the faults and end")
    args = parser.parse_args()
    faults = [
        fault
        for fault in FAULTS
        if not args.only or any(part.lower() in fault.name.lower() for part in args.only)
    ]
    if args.list:
        print("\n".join(fault.name for fault in faults))
        return
    # Ending by a signal takes the cameras and the service along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if args.tries:
        run(faults, args.tries, args.results)
    found = text(_load(args.results))
    print(found)
    if args.write:
        write_section("Faults", found)


if __name__ == "__main__":
    main()
