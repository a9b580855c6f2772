"""A soak with churn: the run, and the verdict on each figure by its slope."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rig.camera import Camera
from benchmarks.rig.ears import Ears, latencies_ms, missing
from benchmarks.rig.page import table, write_section
from benchmarks.rig.places import clip
from benchmarks.rig.service import Service
from benchmarks.rig.wear import Wear
from streamprn.bench.machine import in_words
from streamprn.wire.segments import recordings

SECTION = "An hour in which everything comes and goes"
#: Left out at the start: caches fill, pools grow to their size.
_SETTLE_SHARE = 0.1
#: What counts as growth over an hour: a part of the figure, or so much, whichever is more.
_BOUNDS = {
    "memory, MiB": (0.01, 0.0),
    "threads": (0.0, 0.5),
    "descriptors": (0.0, 0.5),
    "sockets": (0.0, 0.5),
    "latency p50, ms": (0.1, 0.2),
    "latency p99, ms": (0.25, 2.0),
}
_KEYS = {
    "memory, MiB": "rss_mib",
    "threads": "threads",
    "descriptors": "descriptors",
    "sockets": "sockets",
}


@dataclass(frozen=True)
class Verdict:
    """One figure over the run.

    Attributes:
        first: median of the first minute that counts.
        last: of the last minute.
        per_hour: slope of a straight line through the medians of minutes.
        error: of the slope, one standard deviation.
        bound: what it may grow in an hour.
    """

    figure: str
    first: float
    last: float
    per_hour: float
    error: float
    bound: float

    @property
    def flat(self) -> bool:
        """Whether it does not grow, as far as this run can tell."""
        return self.per_hour - 2 * self.error < self.bound


@dataclass
class Worn:
    """What a soak found."""

    seconds: float
    every_s: float
    verdicts: list[Verdict]
    done: dict[str, int]
    refused: list[str]
    frames: int
    missing: int
    recorded: int
    log: str = ""
    minutes: list[dict[str, float]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


def wear(folder: Path, seconds: float, every_s: float) -> Worn:
    """Run a service for so long while everything comes and goes."""
    film = clip(folder)
    with Camera(film) as camera:
        stays = {"uri": camera.uri(), "name": "stays"}
        sources = [stays, {"uri": str(film), "name": "film", "loop": True}]
        guest = {"uri": camera.uri(), "required": False}
        # Files end every half minute, so that they come and go too.
        limits = {"segment_s": 30.0, "keep_mb": 4, "keep_total_mb": 16}
        record = {"dir": str(folder / "out"), **limits}
        with (
            Service(folder, sources, {"record": record}) as service,
            Ears(service.endpoint, ["stays"]) as ears,
            Wear(service, sources, guest, every_s) as worn,
        ):
            samples, frames = _sample(service, ears, seconds)
            seconds = samples[-1][0]
            log = service.said()
        kept = recordings(folder / "out")
    minutes = _minutes(samples, frames, seconds)
    return Worn(
        seconds,
        every_s,
        _verdicts(minutes),
        dict(worn.done),
        worn.refused,
        len(frames),
        missing(frames),
        sum(map(len, kept.values())),
        log,
        minutes,
    )


def _sample(
    service: Service, ears: Ears, seconds: float
) -> tuple[list[tuple[float, dict[str, float]]], list[Any]]:
    began_ns = time.monotonic_ns()
    samples = []
    next_s = 0.0
    # Who interrupts it gets the verdict on what was seen until then.
    with contextlib.suppress(KeyboardInterrupt):
        while next_s < seconds:
            time.sleep(max(0.0, next_s - (time.monotonic_ns() - began_ns) / 1e9))
            samples.append(((time.monotonic_ns() - began_ns) / 1e9, service.usage()))
            next_s += 1.0
    return samples, ears.between("stays", began_ns, time.monotonic_ns())


def _minutes(
    samples: Sequence[tuple[float, dict[str, float]]], frames: Sequence[Any], seconds: float
) -> list[dict[str, float]]:
    """Medians of each minute; of a short run, of each twentieth part."""
    length_s = min(60.0, seconds / 20)
    began_ns = frames[0].received_ns
    found = []
    for number in range(int(seconds // length_s)):
        low, high = number * length_s, (number + 1) * length_s
        held = [usage for at, usage in samples if low <= at < high]
        late = latencies_ms(
            [one for one in frames if low <= (one.received_ns - began_ns) / 1e9 < high]
        )
        if held and late:
            p50, p99 = np.percentile(late, (50, 99))
            medians = {
                name: float(np.median([one[key] for one in held])) for name, key in _KEYS.items()
            }
            found.append(
                {"at_s": low + length_s / 2, **medians}
                | {"latency p50, ms": float(p50), "latency p99, ms": float(p99)}
            )
    return found


def _verdicts(minutes: Sequence[dict[str, float]]) -> list[Verdict]:
    settled = minutes[round(_SETTLE_SHARE * len(minutes)) :]
    hours = np.array([one["at_s"] for one in settled]) / 3600
    found = []
    for figure, (part, least) in _BOUNDS.items():
        values = np.array([one[figure] for one in settled])
        (slope, _), covariance = np.polyfit(hours, values, 1, cov=True)
        bound = max(part * float(np.median(values)), least)
        error = float(np.sqrt(covariance[0, 0]))
        found.append(Verdict(figure, values[0], values[-1], float(slope), error, bound))
    return found


def text(worn: Worn) -> str:
    """The result as a section of the page."""
    rows = [
        [
            one.figure,
            f"{one.first:.1f}",
            f"{one.last:.1f}",
            f"{one.per_hour:+.2f} ± {one.error:.2f}",
            f"{one.bound:.2f}",
            "flat" if one.flat else "GROWS",
        ]
        for one in worn.verdicts
    ]
    done = ", ".join(f"{count} {what}" for what, count in worn.done.items())
    lines = [
        f"`python -m benchmarks.soak --churn --minutes {worn.seconds / 60:.0f} --every "
        f"{worn.every_s:g}`, {in_words()}.",
        table(["figure", "first minute", "last minute", "slope an hour", "bound", "verdict"], rows),
        f"Done meanwhile: {done}; {worn.recorded} files of recordings kept at the end. "
        f"Requests refused: {len(worn.refused)}. Of the camera that was left alone, "
        f"{worn.frames} frames came and {worn.missing} are missing by their numbers.",
    ]
    if worn.minutes:
        tenths = np.array_split([one["memory, MiB"] for one in worn.minutes], 10)
        medians = ", ".join(f"{np.median(one):.1f}" for one in tenths if len(one))
        lines.append(f"Memory in the tenths of the run, MiB: {medians}.")
    return "\n\n".join(lines + worn.refused[:3])


def write(worn: Worn) -> None:
    """Put the result into the page."""
    write_section(SECTION, text(worn))
