"""How a running `streamprn run` wears: its memory alone, or everything while streams come and go.

`python -m benchmarks.soak [--minutes 10] [--streams 1] [--json FILE]` starts `streamprn run` on the
looped sample clip as a user would, subscribes to faces and meshes, and samples the physical memory
of the process once a second. It prints the start-up time, the memory at the start (after half a
minute) and at the end, and the slope of a straight line through the samples over the run.

`python -m benchmarks.soak --churn [--minutes 60] [--every 5] [--write]` starts it with a camera, a
film, recordings and the control interface. Every five seconds streams are added and removed, paused
and resumed, subscribers come and leave, pictures and figures are fetched, every minute the
configuration is read again (`benchmarks/rig/wear.py`). It samples memory, threads, descriptors,
sockets and the latency of a camera that is left alone, and judges each by the slope of a straight
line through the medians of a minute. `--write` puts the result into docs/faults.md.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.rig import wearing
from benchmarks.rig.places import free_port
from streamprn.bench.machine import describe
from streamprn.records import Kind
from streamprn.source.sample_clip import make_clip
from streamprn.wire.subscribe import Subscriber

SETTLE_S = 30.0
MIB = 1 << 20


def soak(clip: Path, streams: int, seconds: float) -> dict[str, float]:
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "streamprn", "run", *[str(clip)] * streams]
    command += ["--loop", "--quiet", "--bind", endpoint]
    topics = [f"{clip.stem}{end}/{kind}" for end in _ends(streams) for kind in ("face", "mesh")]
    began = time.monotonic()
    process = subprocess.Popen(command)
    try:
        with Subscriber(endpoint, topics) as heard:
            return _watch(psutil.Process(process.pid), heard, began, seconds)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(5)


def _ends(streams: int) -> list[str]:
    return [""] + [f"-{number}" for number in range(2, streams + 1)]


def _watch(
    process: psutil.Process, heard: Subscriber, began: float, seconds: float
) -> dict[str, float]:
    first_face_s = 0.0
    frames = 0
    samples: list[tuple[float, float]] = []
    while time.monotonic() - began < seconds:
        message = heard.receive(0.5)
        if message is not None and message.kind is Kind.FACE and message.faces:
            frames += 1
            first_face_s = first_face_s or time.monotonic() - began
        if not samples or time.monotonic() - began - samples[-1][0] >= 1.0:
            samples.append((time.monotonic() - began, process.memory_info().rss / MIB))
    settled = np.array([one for one in samples if one[0] >= min(SETTLE_S, seconds / 2)])
    slope = float(np.polyfit(settled[:, 0], settled[:, 1], 1)[0])
    return {
        "first_face_s": first_face_s,
        "faces_received": frames,
        "seconds": seconds,
        "start_mib": float(settled[0, 1]),
        "end_mib": float(settled[-1, 1]),
        "peak_mib": max(rss for _, rss in samples),
        "slope_mib_over_run": slope * (settled[-1, 0] - settled[0, 0]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, help="default: 10, with --churn 60")
    parser.add_argument("--streams", type=int, default=1, help="without --churn")
    parser.add_argument("--churn", action="store_true", help="let everything come and go")
    parser.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="with --churn")
    parser.add_argument("--write", action="store_true", help="with --churn: into docs/faults.md")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    seconds = 60 * (args.minutes or (60.0 if args.churn else 10.0))
    found: Any
    with tempfile.TemporaryDirectory() as folder:
        if args.churn:
            worn = wearing.wear(Path(folder), seconds, args.every)
            print(wearing.text(worn))
            if args.write:
                wearing.write(worn)
            found = worn.as_json()
        else:
            clip = make_clip(Path(folder) / "face.mp4").path
            found = soak(clip, args.streams, seconds)
            for name, value in found.items():
                print(f"{name:20} {value:10.2f}")
    if args.json:
        args.json.write_text(json.dumps({"machine": describe(), "soak": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
