"""How long `streamprn run` takes from its start to the first face that a subscriber receives.

`python benchmarks/start.py [--rounds 3] [--against CHECKOUT]` starts it as a user would: cold, with
an empty cache of kernels, and warm, with the cache of the start before. `--against` measures
another checkout in turn, in the same Python environment.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from streamprn.bench.machine import in_words
from streamprn.source.sample_clip import make_clip
from streamprn.wire.subscribe import Subscriber

PATIENCE_S = 120.0
HERE = Path(__file__).resolve().parent.parent


def first_face_s(checkout: Path, clip: str, home: str, port: int) -> float:
    """Seconds from starting the program to receiving a face."""
    endpoint = f"tcp://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamprn", "run", clip, "--loop", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "STREAMPRN_HOME": home}
    environment.pop("NUMBA_CACHE_DIR", None)
    with Subscriber(endpoint, f"{Path(clip).stem}/face") as heard:
        began = time.monotonic()
        # Elsewhere than in a checkout, which would come first among the places to import from.
        process = subprocess.Popen([*command, "--bind", endpoint], env=environment, cwd=home)
        try:
            while time.monotonic() - began < PATIENCE_S:
                message = heard.receive(0.2)
                if message is not None and message.faces:
                    return time.monotonic() - began
            raise SystemExit(f"no face in {PATIENCE_S:.0f} s from {checkout}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def measure(checkouts: dict[str, Path], rounds: int) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder) / "face.mp4").uri
        port = 15870
        for _ in range(rounds):
            for name, checkout in checkouts.items():
                with tempfile.TemporaryDirectory() as home:
                    for kind in ("cold", "warm", "warm"):
                        port += 1
                        took = first_face_s(checkout, clip, home, port)
                        found.setdefault((name, kind), []).append(took)
                        if kind == "cold":
                            time.sleep(8)  # what a first start compiles beside comes to its end
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    args = parser.parse_args()
    checkouts = {"this checkout": HERE}
    if args.against:
        checkouts["the other one"] = args.against.resolve()
    found = measure(checkouts, args.rounds)
    print(in_words())
    print(f"{'first face, s':24s} {'least':>6s} {'median':>7s} {'most':>6s}")
    for (name, kind), values in found.items():
        middle = statistics.median(values)
        print(f"{name + ', ' + kind:24s} {min(values):6.2f} {middle:7.2f} {max(values):6.2f}")


if __name__ == "__main__":
    main()
