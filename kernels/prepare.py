"""Compiling the CPU loops in a process beside, into the cache on disk.

Numba compiles in one thread at a time and holds the interpreter meanwhile, so a second thread gains
nothing and would delay frames. A second process uses a second core: what it has compiled, the first
one loads from the cache in a few milliseconds.

`python -m streamprn.kernels.prepare STEP...` compiles the steps in the order given and prints each
one's name when it is done; without arguments, all of them.
"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import numpy as np

from streamprn.kernels import (
    blocks,
    looks,
    normals,
    patches,
    pose,
    quantise,
    raster,
    sampling,
    smoothing,
    uv,
    visibility,
    warp,
)
from streamprn.kernels._warp_rgb import warp_rgb_loop
from streamprn.kernels._warp_yuv import warp_yuv_loop
from streamprn.records import YuvPlanes

__all__ = ["STEPS", "Preparation", "is_cached", "paused_collection"]

SIDE = 16


def _mesh() -> tuple[np.ndarray, np.ndarray]:
    """Vertices `(4, 3)` float32 and triangles `(2, 3)` int32 of a square before a picture."""
    vertices = np.array([[2, 2, 0], [9, 2, 1], [2, 9, 2], [9, 9, 0]], np.float32)
    return vertices, np.array([[0, 2, 1], [1, 2, 3]], np.int32)


def _crops() -> None:
    warp.warp_rgb(np.zeros((SIDE, SIDE, 3), np.uint8), np.eye(2, 3, dtype=np.float32), 8)


def _plane_crops() -> None:
    half = np.zeros((SIDE // 2, SIDE // 2), np.uint8)
    planes = YuvPlanes(np.zeros((SIDE, SIDE), np.uint8), half, half)
    warp.warp_yuv(planes, np.eye(2, 3, dtype=np.float32), 8)


def _pose() -> None:
    vertices, _ = _mesh()
    pose.estimate(vertices, pose.Reference(vertices))


def _facing() -> None:
    """The part of visibility that draws nothing."""
    vertices, triangles = _mesh()
    facing, placed = normals.vertex_normals(vertices, triangles), np.empty_like(vertices)
    visibility.place(vertices, SIDE, placed)
    depth = np.zeros((SIDE, SIDE), np.float32)
    visibility.seen(placed, facing, depth)


def _depth() -> None:
    vertices, triangles = _mesh()
    out = np.full((SIDE, SIDE), np.nan, np.float32)
    raster.depth(vertices, triangles, SIDE, SIDE, out=out, merge=True)


def _texture() -> None:
    vertices, triangles = _mesh()
    places = np.asarray(vertices[:, :2] / SIDE, np.float32)
    chart = sampling.Chart.draw(triangles, places, SIDE)
    sampling.texture(np.zeros((SIDE, SIDE, 3), np.uint8), vertices, chart)


def _quantised() -> None:
    quantise.quantise(_mesh()[0])


def _smoothing() -> None:
    vertices, _ = _mesh()
    smoothing.one_euro(
        vertices,
        vertices.copy(),
        np.zeros_like(vertices),
        dt_s=0.1,
        min_cutoff_hz=1.0,
        beta_per_px=0.1,
        derivative_cutoff_hz=1.0,
    )
    uv.bounds(vertices)


def _looks() -> None:
    points = np.ones((4, 2), np.float32)
    half = np.zeros((SIDE // 2, SIDE // 2), np.uint8)
    patches.means_yuv(YuvPlanes(np.zeros((SIDE, SIDE), np.uint8), half, half), points, 1.0)
    colours = patches.means_rgb(np.zeros((SIDE, SIDE, 3), np.uint8), points, 1.0)
    vertices, _ = _mesh()
    carriers, crop = np.eye(4, dtype=np.float32), np.eye(2, 3, dtype=np.float32)
    _, weights, _ = looks.place(carriers, vertices, vertices, (0, 0, 1), crop, (SIDE, SIDE), 0.0)
    looks.normalise(colours[0], weights)
    looks.likeness(colours, weights, colours, weights)


def _stillness() -> None:
    sums = blocks.sums(np.zeros((SIDE, SIDE), np.uint8), 0, 0, (1, 1))
    blocks.change(sums, sums)


#: By name, the ones that a first face needs first.
STEPS: dict[str, Callable[[], None]] = {
    "pose": _pose,
    "depth": _depth,
    "looks": _looks,
    "stillness": _stillness,
    "facing": _facing,
    "crops from planes": _plane_crops,
    "crops": _crops,
    "texture": _texture,
    "smoothing": _smoothing,
    "quantised vertices": _quantised,
}

_LOOPS: dict[str, object] = {
    "pose": pose._estimate,
    "looks": looks._likeness,
    "stillness": blocks._change,
    "facing": visibility._visible,
    "crops from planes": warp_yuv_loop,
    "crops": warp_rgb_loop,
}


def is_cached(step: str) -> bool:
    """Whether the cache on disk holds what a step would compile; True where that is unknown."""
    cache_file = getattr(getattr(_LOOPS[step], "_cache", None), "_cache_file", None)
    try:
        return cache_file is None or bool(cache_file._load_index())
    except Exception:  # noqa: BLE001
        # Not our file format: whatever is wrong with it, compiling will say.
        return True


@contextlib.contextmanager
def paused_collection() -> Iterator[None]:
    """No garbage collection inside: a tenth of the time of compiling goes into it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Preparation:
    """Compiles steps in a process beside; a context manager that ends it.

    Does nothing where the steps are cached already, where there is no second processor, or where no
    process can be started: then whoever needs a loop compiles it.

    Args:
        steps: in this order, of `STEPS`; the first ones are looked for in the cache.
    """

    def __init__(self, steps: Sequence[str]) -> None:
        self._done: set[str] = set()
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread
        if (os.cpu_count() or 1) > 1 and not all(is_cached(s) for s in steps if s in _LOOPS):
            self._start(steps)

    @property
    def running(self) -> bool:
        """Whether something is being compiled beside."""
        return self._process is not None

    def _start(self, steps: Sequence[str]) -> None:
        command = [sys.executable, "-m", "streamprn.kernels.prepare", *steps]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError:
            return
        self._reader = threading.Thread(
            target=self._read, args=(self._process,), name="prepare", daemon=True
        )
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._note(line.strip())
        process.wait()
        self._note(*STEPS)

    def _note(self, *steps: str) -> None:
        with self._changed:
            self._done.update(steps)
            self._changed.notify_all()

    def wait(self, step: str, timeout_s: float = 60.0) -> None:
        """Return when a step is in the cache, or will not be any more."""
        if self._process is None:
            return
        with self._changed:
            self._changed.wait_for(lambda: step in self._done, timeout_s)

    def close(self) -> None:
        """End the process; what it has compiled stays."""
        if self._process is not None:
            self._process.kill()
            self._reader.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def main(steps: Sequence[str]) -> None:
    """Compile steps, and tell each on standard output."""
    with paused_collection():
        for step in steps or STEPS:
            STEPS[step]()
            sys.stdout.write(f"{step}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
