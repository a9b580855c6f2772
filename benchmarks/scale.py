"""What a stream costs, a topic weighs and a proxy carries; what follows for many cameras.

python -m benchmarks.scale            prints the tables of docs/scale.md
python -m benchmarks.scale --write    writes them there, in about three minutes
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import zmq

from benchmarks.figures import table
from streamprn.bench import machine
from streamprn.bench.measure import Plan
from streamprn.live.pipeline import Pipeline
from streamprn.records import FRAME_KINDS, FrameResult, Kind
from streamprn.source.sample_clip import draw, encode, make_clip, place

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BEGIN = "<!-- tables: begin, by `python -m benchmarks.scale --write` -->"
END = "<!-- tables: end -->"
FPS = 30
STREAMS = 4
SECONDS = 6.0
WARM_UP_S = 2.0
HOURS_A_MONTH = 730
#: Of a machine's processor time, so that bursts find room.
FILLED = 0.7
FLEETS = (1, 100, 10_000)


@dataclasses.dataclass(frozen=True)
class Case:
    """One kind of camera and of subscriber."""

    name: str
    clip: str
    kinds: frozenset[Kind]
    settings: dict[str, object] = dataclasses.field(default_factory=dict)


ALL = frozenset({Kind.FACE, Kind.MESH})
CASES = (
    Case("nobody in the picture", "empty", ALL),
    Case("the same, `track.still_change: 0`", "empty", ALL, {"track.still_change": 0.0}),
    Case("a still face, `face` and `mesh`", "still", ALL),
    Case("that, `track.still_change: 0`", "still", ALL, {"track.still_change": 0.0}),
    Case("a moving face, nothing wanted", "moving", frozenset()),
    Case("a moving face, `face`", "moving", frozenset({Kind.FACE})),
    Case("a moving face, `face` and `mesh`", "moving", ALL),
    Case("a moving face, `mesh` as int16", "moving", ALL, {"publish.mesh_format": "int16"}),
)


class Cost:
    """A sink that measures the processor time of this process, and then ends the run."""

    def __init__(self, kinds: frozenset[Kind]) -> None:
        self.wanted = kinds
        self.done = threading.Event()
        self.frames = 0
        self.cores = 0.0
        self._began: tuple[float, float] | None = None
        self._opened = time.monotonic()

    def take(self, result: FrameResult, published_ns: int) -> None:
        """See `streamprn.live.finish.ResultSink`."""
        now = time.monotonic()
        if now - self._opened < WARM_UP_S:
            return
        times = psutil.Process().cpu_times()
        if self._began is None:
            self._began = now, times.user + times.system
        self.frames += 1
        since = now - self._began[0]
        if since >= SECONDS:
            self.cores = (times.user + times.system - self._began[1]) / since
            self.done.set()

    def close(self) -> None:
        """Nothing to free."""


def make_clips(folder: Path) -> dict[str, Path]:
    """A face that moves, one that stands still before a noisy camera, and an empty room."""
    rng = np.random.default_rng(0)
    still = draw([place(320, 230, 1.5, 5)], 640, 480).astype(np.float32)
    rows, columns = np.mgrid[:480, :640]
    room = (90 + 50 * np.sin(columns / 40) * np.cos(rows / 60))[:, :, None].repeat(3, axis=2)

    def noisy(picture: np.ndarray) -> list[np.ndarray]:
        noise = (rng.normal(0, 2, picture.shape) for _ in range(90))
        return [np.clip(picture + one, 0, 255).astype(np.uint8) for one in noise]

    return {
        "moving": make_clip(folder / "moving.mp4").path,
        "still": encode(folder / "still.mp4", noisy(still), crf=23),
        "empty": encode(folder / "empty.mp4", noisy(room), crf=23),
    }


def cores_a_stream(case: Case, clip: Path) -> float:
    """Of the pipeline's process, at 30 frames/s, without the sockets of its subscribers."""
    sink = Cost(case.kinds)
    plan = Plan(str(clip), STREAMS, FPS, settings=case.settings)
    with Pipeline(plan.config(), sinks=[sink]) as pipeline:
        pipeline.run(sink.done)
    due = STREAMS * FPS * SECONDS
    if sink.frames < 0.97 * due:
        raise SystemExit(
            f"{case.name}: {sink.frames} of {due:.0f} frames: this machine is too slow"
        )
    return sink.cores / STREAMS


def weights(clip: Path, mesh_format: str) -> dict[str, float]:
    """Bytes of a message of each topic, with its header, of one moving face in 640x480."""
    sizes: dict[str, list[int]] = collections.defaultdict(list)
    stop = threading.Event()
    plan = Plan(str(clip), fps=FPS, settings={"publish.mesh_format": mesh_format})
    with (
        Pipeline(plan.config()) as pipeline,
        zmq.Context() as context,
        context.socket(zmq.SUB) as socket,
    ):
        socket.connect(pipeline.endpoint)
        for kind in Kind:
            socket.subscribe(f"s0/{kind.value}")
        runner = threading.Thread(target=pipeline.run, args=(stop,))
        runner.start()
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and len(sizes["image"]) < 40:
            if socket.poll(1000):
                parts = socket.recv_multipart()
                sizes[parts[0].decode().partition("/")[2]].append(sum(map(len, parts)))
        stop.set()
        runner.join()
    return {kind: float(np.mean(found)) for kind, found in sizes.items() if found}


def proxy() -> dict[str, float]:
    """Small messages, meshes and bytes a second through a proxy; what it adds to a mesh, ms."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "proxy.json"
        command = ["bench", "--proxy", "--fps", "100", "--duration", "5", "--json", str(path)]
        subprocess.run([sys.executable, "-m", "streamprn", *command], check=True, timeout=300,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        found = json.loads(path.read_text())
    return {
        "messages": found["small_messages_per_s"]["proxy"],
        "meshes": found["meshes_per_s"]["proxy"],
        "gb": found["GB_per_s"]["proxy"],
        "p99": found["added_ms"]["p99"],
    }


def size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return f"{number:.3g} {unit}"
        number /= 1000
    raise AssertionError


def fleet(cores: float, heavy: float, light: float, carried: dict[str, float], price: float) -> str:
    """What 1, 100 and 10,000 cameras of one moving face take."""
    rows = []
    for cameras in FLEETS:
        total = cameras * cores / FILLED
        mesh, face = cameras * FPS * heavy, cameras * FPS * light
        rows.append(
            [
                f"{cameras:,}",
                f"{total:.3g}",
                f"{-(-total // 64):.0f}",
                size(mesh) + "/s",
                f"{np.ceil(mesh / 1e9 / carried['gb'] / FILLED):.0f}",
                size(face) + "/s",
                f"{np.ceil(cameras * FPS / carried['messages'] / FILLED):.0f}",
                f"{total / cameras * price * HOURS_A_MONTH:.2f}",
            ]
        )
    head = ["cameras", "cores", "machines of 64 cores", "all meshes", "proxies for them",
            "all `face`", "proxies for them", "cost a camera and month"]  # fmt: skip
    return table(head, rows)


def report(price: float) -> str:
    facts = machine.describe()
    words = ", ".join(
        f"{key} {facts[key]}" for key in ("processor", "cores", "date", "load before")
    )
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(Path(folder))
        costs = {case.name: cores_a_stream(case, clips[case.clip]) for case in CASES}
        plain, small = (weights(clips["moving"], form) for form in ("float32", "int16"))
    carried = proxy()
    rows = [
        [name, f"{cost:.3f}", f"{1000 * cost / FPS:.1f}", f"{FILLED / cost:.1f}"]
        for name, cost in costs.items()
    ]
    by_topic = [
        [f"`{kind}`", size(plain[kind]), size(FPS * plain[kind]) + "/s"]
        for kind in sorted(plain, key=plain.__getitem__)
        if kind in {one.value for one in FRAME_KINDS}
    ]
    by_topic.append(["`mesh` as int16", size(small["mesh"]), size(FPS * small["mesh"]) + "/s"])
    head = f"{STREAMS} streams of 640x480 at {FPS} frames/s, one face each"
    return "\n\n".join(
        [
            f"Measured on: {words}.",
            f"### A stream\n\n{head}. *Streams a core*: with {FILLED:.0%} of the core filled.",
            table(["stream", "cores", "ms a frame", "streams a core"], rows),
            "### A topic\n\nA message with its header, one face.",
            table(["topic", "a message", f"at {FPS} frames/s"], by_topic),
            "### A proxy\n\n"
            f"{carried['messages']:,.0f} small messages a second, or {carried['meshes']:,.0f} "
            f"meshes of 55,450 vertices ({carried['gb']:.2f} GB/s), in one thread; a mesh takes "
            f"{carried['p99']:.2f} ms more at p99.",
            f"### Fleets\n\nOf cameras with one moving face, `face` and `mesh` wanted of each; "
            f"{price:g} an hour for a core.",
            fleet(costs[CASES[6].name], plain["mesh"], plain["face"], carried, price),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    parser.add_argument("--core-hour", type=float, default=0.045, help="price (default: 0.045)")
    args = parser.parse_args()
    found = report(args.core_hour)
    if not args.write:
        print(found)
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{found}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
