"""Peers measured on the same clip, in turn with ours, and the ratios."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.bench.measure import Measurement, Plan, measure, percentiles
from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

#: The peers and the environments that `make peers` sets up for them.
PEERS = {
    "mediapipe": ".venv-peers",
    "mediapipe-tasks": ".venv-peers-tasks",
    "mediapipe-tasks-blendshapes": ".venv-peers-tasks",
}
SCRIPT = Path(__file__).with_name("peer_mediapipe.py")


@dataclass(frozen=True, slots=True)
class PeerRun:
    """One run of a peer."""

    fps: float
    latency_ms: NDArray[np.float64]
    versions: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours and theirs, in turn: first as fast as it goes, then at the clip's pace.

    Attributes:
        peer: its versions, in words.
        ours_fps: frames a second of each round, and `theirs_fps`.
        theirs_fps: see `ours_fps`.
        ours_p99_ms: 99th percentile of the latency at the clip's pace, of each round.
        theirs_p99_ms: see `ours_p99_ms`.
        ours_p50_ms: the median of the same.
        theirs_p50_ms: see `ours_p50_ms`.
    """

    peer: str
    ours_fps: Sequence[float]
    theirs_fps: Sequence[float]
    ours_p99_ms: Sequence[float]
    theirs_p99_ms: Sequence[float]
    ours_p50_ms: Sequence[float]
    theirs_p50_ms: Sequence[float]

    @property
    def speed_ratio(self) -> float:
        """Median of ours over theirs, round by round."""
        pairs = zip(self.ours_fps, self.theirs_fps, strict=True)
        return median(ours / theirs for ours, theirs in pairs)

    @property
    def p99_ratio(self) -> float:
        """Median of ours over theirs, round by round; below 1 ours is sooner."""
        pairs = zip(self.ours_p99_ms, self.theirs_p99_ms, strict=True)
        return median(ours / theirs for ours, theirs in pairs)

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, for a file."""
        return {
            "peer": self.peer,
            "ours_fps": list(self.ours_fps),
            "theirs_fps": list(self.theirs_fps),
            "ours_p50_ms": list(self.ours_p50_ms),
            "theirs_p50_ms": list(self.theirs_p50_ms),
            "ours_p99_ms": list(self.ours_p99_ms),
            "theirs_p99_ms": list(self.theirs_p99_ms),
            "speed_ratio": self.speed_ratio,
            "p99_ratio": self.p99_ratio,
        }


def find_python(peer: str = "mediapipe") -> Path:
    """The Python of a peer's environment: $STREAMPRN_PEERS_PYTHON, or its folder here.

    Raises:
        InputError: there is none.
    """
    told = os.environ.get("STREAMPRN_PEERS_PYTHON")
    path = Path(told) if told else Path(PEERS[peer]) / "bin" / "python"
    if not path.is_file():
        raise InputError(
            f"{path}: no such Python, the peers are not installed",
            hint="run `make peers` in a checkout and start from there",
        )
    return path


def compare(
    plan: Plan, *, peer: str = "mediapipe", rounds: int, tell: Callable[[str], None]
) -> Comparison:
    """Run ours and theirs alternately.

    Args:
        plan: of ours, one stream; both are run at its pace and as fast as they go.
        peer: one of `PEERS`.
        rounds: how many times each.
        tell: told what is being measured.

    Raises:
        InputError: the peers are not installed.
        StreamPRNError: a run failed.
    """
    python = find_python(peer)
    # The peer follows one face and looks for no other; so do we.
    one = replace(plan, streams=1, settings={**plan.settings, "detect.max_faces": 1})
    ours: dict[bool, list[Measurement]] = {False: [], True: []}
    theirs: dict[bool, list[PeerRun]] = {False: [], True: []}
    for number in range(1, rounds + 1):
        for paced in (False, True):
            pace = "at the clip's pace" if paced else "as fast as it goes"
            tell(f"round {number} of {rounds}, {pace}: ours")
            ours[paced].append(measure(replace(one, fps=plan.fps if paced else 0.0)))
            tell(f"round {number} of {rounds}, {pace}: MediaPipe")
            theirs[paced].append(_run_peer(python, peer, plan, plan.fps if paced else 0.0))
    return Comparison(
        peer=f"{peer}: {theirs[False][0].versions}",
        ours_fps=[run.fps for run in ours[False]],
        theirs_fps=[run.fps for run in theirs[False]],
        ours_p99_ms=[run.p99_ms for run in ours[True]],
        theirs_p99_ms=[percentiles(run.latency_ms)["p99"] for run in theirs[True]],
        ours_p50_ms=[percentiles(run.latency_ms)["p50"] for run in ours[True]],
        theirs_p50_ms=[percentiles(run.latency_ms)["p50"] for run in theirs[True]],
    )


def _run_peer(python: Path, peer: str, plan: Plan, fps: float) -> PeerRun:
    finished = subprocess.run(
        [str(python), str(SCRIPT), peer, str(fps), str(plan.seconds)],
        # Not among the arguments, which every user of the machine can read.
        input=plan.uri,
        capture_output=True,
        text=True,
        timeout=plan.seconds * 4 + 60,
        check=False,
    )
    if finished.returncode:
        lines = finished.stderr.strip().splitlines() or ["no message"]
        raise InputError(f"MediaPipe failed: {lines[-1]}", hint="run `make peers` again")
    report = json.loads(finished.stdout.strip().splitlines()[-1])
    latency = np.array(report["latency_ms"], np.float64)
    return PeerRun((len(latency) - 1) / report["seconds"], latency, report["versions"])
