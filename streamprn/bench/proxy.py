"""What the proxy adds and what it holds: latency of a mesh, messages and bytes a second."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from streamprn.bench import machine, report
from streamprn.bench.relay import STREAM, VERTICES
from streamprn.records import Kind

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

__all__ = ["run_proxy"]

_WAYS = ("direct", "proxy")
#: Before messages count: a connection takes a moment.
_SETTLE_S = 0.5
_QUANTILES = (50, 99, 99.9)


class _Process:
    """One of the processes of `streamprn.bench.relay`."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streamprn.bench.relay", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.facts = self.answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            _pipe(self._process.stdin).close()
        try:
            self._process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _pipe(self._process.stdout).close()

    def say(self, *words: object) -> None:
        """Give it one line."""
        pipe = _pipe(self._process.stdin)
        pipe.write(" ".join(map(str, words)) + "\n")
        pipe.flush()

    def answer(self) -> dict[str, Any]:
        """What it says next."""
        found: dict[str, Any] = json.loads(_pipe(self._process.stdout).readline())
        return found


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def run_proxy(
    *, fps: float, seconds: float, rounds: int, json_path: Path | None, console: Console
) -> int:
    """Measure direct and through the proxy in turn, and print.

    Args:
        fps: meshes a second while latency is measured.
        seconds: of each measurement.
        rounds: of them; latencies of all are taken together.
        json_path: write the figures, or None.
        console: for results.
    """
    late: dict[str, list[float]] = {way: [] for way in _WAYS}
    with _Process("feed") as feed:
        source = feed.facts
        with _Process("proxy", source["endpoint"], source["run"]) as proxy:
            endpoints = {"direct": source["endpoint"], "proxy": proxy.facts["endpoint"]}
            for _ in range(rounds):
                for way in _WAYS:
                    done = _read(feed, endpoints[way], Kind.MESH, fps, seconds)
                    late[way] += done["late_ms"]
            floods = {
                (way, kind): _read(feed, endpoints[way], kind, 0, seconds)
                for way in _WAYS
                for kind in (Kind.STATS, Kind.MESH)
            }
    figures = _figures(late, floods, fps)
    _print(figures, console)
    if json_path is not None:
        report.write_json(json_path, figures)
    return 0


def _read(feed: _Process, endpoint: str, kind: Kind, fps: float, seconds: float) -> dict[str, Any]:
    newest = "all" if fps else "newest"
    with _Process("read", endpoint, f"{STREAM}/{kind.value}", newest) as reader:
        feed.say(kind.value, fps, seconds + 2 * _SETTLE_S)
        time.sleep(_SETTLE_S)
        reader.say("begin")
        time.sleep(seconds)
        reader.say("end")
        done = reader.answer()
        feed.answer()
    return done


def _figures(
    late: dict[str, list[float]], floods: dict[tuple[str, Kind], dict[str, Any]], fps: float
) -> dict[str, Any]:
    latency = {
        way: {f"p{q:g}": float(np.percentile(values or [np.nan], q)) for q in _QUANTILES}
        for way, values in late.items()
    }
    added = {name: latency["proxy"][name] - latency["direct"][name] for name in latency["proxy"]}
    rates = {key: done["received"] / done["seconds"] for key, done in floods.items()}
    return {
        "machine": machine.describe(),
        "mesh_bytes": VERTICES * 12,
        "fps": fps,
        "meshes": len(late["proxy"]),
        "latency_ms": latency,
        "added_ms": added,
        "small_messages_per_s": {way: rates[way, Kind.STATS] for way in _WAYS},
        "meshes_per_s": {way: rates[way, Kind.MESH] for way in _WAYS},
        "GB_per_s": {way: rates[way, Kind.MESH] * VERTICES * 12 / 1e9 for way in _WAYS},
    }


def _print(figures: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("", *_WAYS, "added"):
        table.add_column(title, justify="left" if not title else "right")
    for name, added in figures["added_ms"].items():
        each = (f"{figures['latency_ms'][way][name]:.3f}" for way in _WAYS)
        table.add_row(f"mesh, {name}, ms", *each, f"{added:+.3f}")
    for key, text, digits in (
        ("small_messages_per_s", "small messages/s", 0),
        ("meshes_per_s", "meshes/s", 0),
        ("GB_per_s", "GB/s of meshes", 2),
    ):
        table.add_row(text, *(f"{figures[key][way]:,.{digits}f}" for way in _WAYS), "")
    console.print(table)
