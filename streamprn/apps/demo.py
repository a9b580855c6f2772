"""The main job in ten seconds: a clip through the whole pipeline, and a subscriber to itself."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamprn.apps.progress import told_steps
from streamprn.config import Config
from streamprn.records import FrameResult, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from streamprn.engines.topology import Topology
    from streamprn.live.pipeline import Pipeline, Summary
    from streamprn.wire import Message

STREAM = "demo"
WIDTH, HEIGHT, FPS = 640, 480, 30
#: Every so many frames the known motion of the clip starts again.
PERIOD_FRAMES = 90


@dataclass(slots=True)
class LastResult:
    """A sink that keeps the latest result with a face, for the picture."""

    wanted: frozenset[Kind] = frozenset({Kind.FACE, Kind.MESH, Kind.DEPTH})
    result: FrameResult | None = None

    def take(self, result: FrameResult, published_ns: int) -> None:
        """See `streamprn.live.finish.ResultSink`."""
        if result.faces:
            self.result = result

    def close(self) -> None:
        """Nothing to free."""


@dataclass(slots=True)
class Received:
    """What the subscriber saw."""

    kinds: Counter[Kind] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    gaps: int = 0
    topology: str = ""


def run(
    *,
    out: Path = Path("streamprn-demo.png"),
    seconds: float = 6.0,
    engine: str = "facemesh",
    backend: str = "auto",
    console: Console | None = None,
) -> int:
    """Make a clip, run the pipeline on it in real time, subscribe to it, show what came.

    Args:
        out: the annotated picture to write.
        seconds: length of the clip.
        engine: name or folder of the engine bundle.
        backend: runtime, or "auto".
        console: where to print; a plain one by default.

    Returns:
        The exit code: 0 when the face was found in the clip and received by the subscriber.

    Raises:
        StreamPRNError: the sample picture or the engine is missing, or the file cannot be written.
    """
    from rich.console import Console

    from streamprn.live.pipeline import Pipeline
    from streamprn.source.sample_clip import make_clip

    console = console or Console()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="streamprn-demo-") as folder:
        frames = max(round(seconds * FPS), 2)
        last = LastResult()
        with told_steps(console) as say:
            say("making a clip of a moving face")
            clip = make_clip(
                Path(folder) / "face.mp4", frames=frames, width=WIDTH, height=HEIGHT, fps=FPS
            )
            say("opening the engine")
            with Pipeline(_config(clip.uri, engine, backend), sinks=[last]) as pipeline:
                summary, received = _run(pipeline, frames, say)
                topology = pipeline.topology
    _show(console, summary, received, time.monotonic() - began)
    if last.result is None:
        console.print("No face was found: something is wrong with this installation.")
        return 1
    _save(annotate(last.result, topology), out)
    console.print(f"Picture: {out}")
    return 0 if received.kinds[Kind.FACE] else 1


def _config(uri: str, engine: str, backend: str) -> Config:
    return Config.from_mapping(
        {
            "sources": [{"uri": uri, "name": STREAM}],
            "engine": {"name": engine, "backend": backend},
            "publish": {"bind": "tcp://127.0.0.1:*"},
        }
    )


def _run(pipeline: Pipeline, frames: int, say: Callable[[str], None]) -> tuple[Summary, Received]:
    received, done, ready = Received(), threading.Event(), threading.Event()
    listener = threading.Thread(
        target=_listen, args=(pipeline.endpoint, received, ready, done), name="listener"
    )
    listener.start()
    try:
        ready.wait(5.0)
        summary = pipeline.run(
            max_frames=frames,
            on_progress=say,
            on_event=lambda _: say(f"running {frames} frames in real time"),
        )
    finally:
        done.set()
        listener.join()
    return summary, received


def _listen(
    endpoint: str, received: Received, ready: threading.Event, done: threading.Event
) -> None:
    """Subscribe to faces, meshes, status and topology until `done`."""
    from streamprn.wire.subscribe import Subscriber

    topics = [f"{STREAM}/{kind}" for kind in (Kind.FACE, Kind.MESH, Kind.STATUS, Kind.TOPOLOGY)]
    with Subscriber(endpoint, topics, newest=False) as messages:
        ready.set()
        while True:
            last = done.is_set()
            message = messages.receive(0.1)
            if message is not None:
                _note(received, message)
            elif last:
                break
        received.gaps = messages.counters.gaps


def _note(received: Received, message: Message) -> None:
    from streamprn.wire import TopologyMessage

    received.kinds[message.kind] += 1
    if message.kind is Kind.MESH:
        received.latencies_ms.append(message.age_ns() / 1e6)
    if isinstance(message, TopologyMessage):
        vertices, triangles = len(message.texel), len(message.triangles)
        received.topology = f"{message.name}: {vertices:,} vertices, {triangles:,} triangles"


def _show(console: Console, summary: Summary, received: Received, seconds: float) -> None:
    from rich.table import Table

    stream = summary.streams[0]
    table = Table(title="StreamPRN demo", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    latency = ", ".join(f"{name} {value:.1f}" for name, value in stream.latency_ms.items())
    rows = {
        "runtime": summary.backend,
        "frames through the pipeline": f"{stream.frames} at {stream.fps:.1f} frames/s",
        "faces found": f"{stream.faces}",
        "dropped, corrupt": f"{stream.dropped}, {stream.corrupt}",
        "due to published, ms": latency,
        "due to received mesh, ms": _percentiles(received.latencies_ms),
        "topology": received.topology or "not received",
        "received": ", ".join(f"{n} {kind}" for kind, n in sorted(received.kinds.items()))
        + f" ({received.gaps} gaps)",
        "endpoint": summary.endpoint,
        "total time": f"{seconds:.1f} s",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def _percentiles(values: list[float]) -> str:
    if not values:
        return "nothing received"
    p50, p99, top = np.percentile(values, (50, 99, 100))
    return f"p50 {p50:.1f}, p99 {p99:.1f}, max {top:.1f}"


def annotate(
    result: FrameResult, topology: Topology
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A picture of one result: landmarks, UV grid, pose box and depth in four panels.

    Args:
        result: with at least one face, and its depth image.
        topology: of the engine that made it.

    Returns:
        `(2 H, 2 W, 3)` uint8 RGB.
    """
    from streamprn.apps import overlays
    from streamprn.apps.reconstruction import Reconstruction
    from streamprn.apps.textures import Charts

    image = result.frame.image.rgb
    charts = Charts(topology)
    faces = [Reconstruction(image, charts, face) for face in result.faces]
    panels = [overlays.overlay(image, faces, kind) for kind in ("landmarks", "mesh", "pose")]
    panels.append(overlays.depth_picture(result.depth))
    return np.vstack([np.hstack(panels[:2]), np.hstack(panels[2:])])


def _save(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], out: Path) -> None:
    from streamprn.apps.images import write_image

    write_image(out, picture)
