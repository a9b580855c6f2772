"""Make docs/benchmarks.md: measure everything it says, on this machine, in one go.

`python benchmarks/figures.py [--soak-minutes 1] [--peers] [--runtimes]` takes some minutes.
`--peers` (after `make peers`, from the checkout) measures the comparison with MediaPipe too, and
`--runtimes` (extra `test`) that of the CPU runtimes; without them those sections stay as they are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from streamprn.bench.machine import describe, in_words
from streamprn.bench.measure import STAGES, Measurement, Plan, measure, percentiles
from streamprn.bench.peers import PEERS
from streamprn.engines.detectors import open_detector
from streamprn.engines.engine import open_engine
from streamprn.engines.geometry import FaceGeometry
from streamprn.kernels import warp
from streamprn.records import FrameImage
from streamprn.source.sample_clip import astronaut, make_clip

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
STREAMS = (1, 2, 4, 6)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def best_and_median_ms(work: Callable[[], Any], repeat: int = 60) -> tuple[float, float]:
    work()
    times = []
    for _ in range(repeat):
        began = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - began) / 1e6)
    return min(times), float(np.median(times))


def engine_parts() -> str:
    """Detector and network, on the sample picture."""
    engine, detector = open_engine("facemesh"), open_detector("short")
    image = FrameImage.from_rgb(astronaut())
    (found,) = detector.detect(image)
    roi = engine.crop.roi_from_detection(found)
    crop = warp.warp_rgb(image.rgb, engine.crop.frame_from_crop(roi), engine.crop.size)
    geometry = FaceGeometry(engine.topology)
    (surface,) = engine.infer(crop).surfaces
    vertices, _ = surface.restore(engine.crop.frame_from_crop(roi))
    work: dict[str, Callable[[], Any]] = {
        "detector (short), 512x512": lambda: detector.detect(image),
        "network and UV operator, 1 crop": lambda: engine.infer(crop),
        "visibility of 68 landmarks (coarse mesh)": lambda: geometry.visible_landmarks(vertices),
    }
    rows = []
    for name, one in work.items():
        best, middle = best_and_median_ms(one)
        rows.append([name, f"{best:.2f}", f"{middle:.2f}"])
    return table(["part", "best ms", "median ms"], rows)


def kernels() -> str:
    """The table of `benchmarks/kernels.py`."""
    script = Path(__file__).with_name("kernels.py")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "kernels.json"
        command = [sys.executable, str(script), "--json", str(report)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found = json.loads(report.read_text())["kernels"]
    rows = [
        [
            one["name"],
            one["size"],
            f"{one['min']:.2f}",
            f"{one['median']:.2f}",
            one["baseline"],
            f"{one['ratio']:.1f}" if one["ratio"] else "",
        ]
        for one in found
    ]
    return table(["kernel", "size", "best ms", "median ms", "beside", "times as fast"], rows)


def streams(clip: Path) -> tuple[str, Measurement]:
    """Paced runs with more and more streams."""
    rows, runs = [], []
    for count in STREAMS:
        run = measure(Plan(str(clip), streams=count, fps=30.0, seconds=8.0, warmup_s=2.0))
        runs.append(run)
        found = percentiles(run.latency_ms)
        rows.append(
            [
                str(count),
                f"{run.fps:.1f}",
                *(f"{found[name]:.1f}" for name in ("p50", "p90", "p99", "max")),
                f"{run.cpu_cores:.2f}",
                f"{run.cpu_cores / count:.3f}",
                f"{run.rss_mib:.0f}",
                "yes" if run.held else "no",
            ]
        )
    head = ["streams", "frames/s", "p50 ms", "p90 ms", "p99 ms", "max ms"]
    return table([*head, "cores", "cores a stream", "MiB", "pace held"], rows), runs[0]


def stages(run: Measurement) -> str:
    """Every stage of one paced stream."""
    rows = []
    named = {name: run.stages_ms[name] for name in STAGES}
    named |= {"due to published": run.latency_ms, "due to received": run.received_ms}
    for name, values in named.items():
        found = percentiles(values)
        rows.append([name, *(f"{value:.2f}" for value in found.values())])
    return table(["ms", "p50", "p90", "p99", "p99.9", "max"], rows)


def peers(clip: Path) -> str:
    """Ours and each of MediaPipe's face meshes in turn."""
    return "\n\n".join(against(peer, clip) for peer in PEERS)


def against(peer: str, clip: Path) -> str:
    """Ours and one peer in turn."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "peers.json"
        command = [sys.executable, "-m", "streamprn", "bench", str(clip), "--against", peer]
        subprocess.run([*command, "--duration", "6", "--json", str(report)], check=True)
        found = json.loads(report.read_text())["comparison"]
    rows = []
    for name, key in (
        ("frames/s, as fast as it goes", "fps"),
        ("p50 ms at 30 frames/s", "p50_ms"),
        ("p99 ms at 30 frames/s", "p99_ms"),
    ):
        ours, theirs = found[f"ours_{key}"], found[f"theirs_{key}"]
        ratio = float(np.median(np.array(ours) / np.array(theirs)))
        shown = [", ".join(f"{value:.1f}" for value in values) for values in (ours, theirs)]
        rows.append([name, *shown, f"{ratio:.2f}"])
    return f"`{found['peer']}`\n\n" + table(["", "ours", "theirs", "ours / theirs"], rows)


def publishing() -> str:
    """The table of `benchmarks/publish.py`."""
    command = [sys.executable, "-m", "benchmarks.publish", "--json"]
    root = Path(__file__).parent.parent
    printed = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, cwd=root
    ).stdout
    rows = [
        [
            one["kind"].replace("floor-", "bare sockets, size of a "),
            f"{one['rate_hz']:.0f}",
            *(f"{one[f'{name}_ms']:.2f}" for name in ("p50", "p90", "p99", "max")),
            str(one["gaps"]),
        ]
        for one in map(json.loads, printed.splitlines())
    ]
    return table(["what", "messages/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "gaps"], rows)


def printed_by(name: str, *arguments: str) -> str:
    """What another benchmark prints, as it is."""
    command = [sys.executable, str(Path(__file__).with_name(name)), *arguments]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    shown = " ".join(["python", f"benchmarks/{name}", *arguments])
    return f"`{shown}`\n\n```\n{printed.strip()}\n```"


def soak(minutes: float) -> str:
    """Start-up and memory of `streamprn run`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "soak.json"
        command = [sys.executable, "-m", "benchmarks.soak", "--minutes", str(minutes)]
        command += ["--json", str(report)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=PAGE.parent.parent)
        found = json.loads(report.read_text())["soak"]
    return table(["", ""], [[name, f"{value:.2f}"] for name, value in found.items()])


SECTIONS = {
    "machine": "Machine",
    "peers": "Against MediaPipe, one 640x480 stream, one face",
    "streams": "Streams of 640x480 at 30 frames/s, one face each",
    "stages": "Stages of one stream at 30 frames/s",
    "parts": "Detector and network",
    "kernels": "Kernels, one thread, a face of 300 px on the facemesh topology",
    "publishing": "From the publisher to a subscriber in another process, loopback TCP",
    "apps": "Offline work",
    "runtimes": "CPU runtimes of `resfcn256`",
    "start": "From the start of `streamprn run` to the first face received",
    "jitter": "A still face in noise, and a moving one, beside MediaPipe",
    "metric": "Pose in the frame of the camera",
    "churn": "A stream beside which others are added and removed",
    "crossings": "Ids where faces pass each other, go and return",
    "soak": "Start and memory of `streamprn run`, one looped stream",
}


#: Sections that are what another benchmark prints, which names its machine itself.
PRINTED = {
    "apps": ("apps.py",),
    "start": ("start.py",),
    "churn": ("churn.py",),
    "metric": ("metric_pose.py",),
    "crossings": ("crossings.py",),
    "jitter": ("jitter.py", "--peers"),
    "runtimes": ("runtimes.py", "--int8"),
}


def write(found: dict[str, str]) -> None:
    """Write the page; sections that were not measured keep what they said."""
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    text = [
        "# Benchmarks",
        "Made by `python benchmarks/figures.py` (with `--peers` after `make peers`); times are "
        "from the machine named here, which is shared with others: trust ratios within one run "
        "more than single times. Latencies count from when a frame was due. A subscriber in a "
        "process of its own takes `face` and `mesh`; beside MediaPipe, which gives points alone, "
        "`mesh`, whose header holds pose and landmarks. GPU figures: not measured; see "
        "`docs/gpu.md`.",
    ]
    for key, title in SECTIONS.items():
        body = found.get(key) or old_section(old, title) or "Not measured."
        text.append(f"## {title}\n{body.strip()}")
    PAGE.write_text("\n\n".join(text) + "\n", encoding="utf-8")


def old_section(page: str, title: str) -> str:
    _, found, rest = page.partition(f"## {title}\n")
    return rest.partition("\n## ")[0] if found else ""


#: Sections that can be measured alone, and then name their machine.
ALONE = {"parts": engine_parts, "kernels": kernels, "publishing": publishing}


def _one(name: str) -> str:
    if name in ALONE:
        return f"{in_words()}\n\n{ALONE[name]()}"
    if name != "peers":
        return printed_by(*PRINTED[name])
    with tempfile.TemporaryDirectory() as folder:
        return peers(make_clip(Path(folder) / "face.mp4").path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--soak-minutes", type=float, default=1.0)
    parser.add_argument("--peers", action="store_true", help="measure MediaPipe too")
    parser.add_argument("--runtimes", action="store_true", help="measure the CPU runtimes too")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=["peers", *sorted(ALONE), *sorted(PRINTED)],
        help="measure these sections alone",
    )
    args = parser.parse_args()
    if args.only:
        write({name: _one(name) for name in args.only})
        print(f"wrote {PAGE}")
        return
    facts = describe()
    found = {"machine": table(["", ""], [[name, value] for name, value in facts.items()])}
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder) / "face.mp4").path
        if args.peers:
            found["peers"] = peers(clip)
        found["streams"], one = streams(clip)
        found["stages"] = stages(one)
    found["parts"] = engine_parts()
    found["kernels"] = kernels()
    found["publishing"] = publishing()
    others = [*(["runtimes"] if args.runtimes else []), *(["jitter"] if args.peers else [])]
    for name in ("apps", "start", "churn", "metric", *others):
        found[name] = printed_by(*PRINTED[name])
    if args.soak_minutes > 0:
        found["soak"] = soak(args.soak_minutes)
    write(found)
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
