"""How still a still face stands, and how late a moving one comes: smoothing off and on.

`python benchmarks/jitter.py [--engine NAME ...] [--peers]` draws two noisy clips of 640x480 at 30
frames/s, one of a still face and one of a face that moves at known speeds, and follows both. Jitter
is the RMS distance of MediaPipe's 468 points (x and y) from their mean place over the still clip;
lag is the shift in time that brings the points' mean of the moving clip nearest to the truth.
`--peers` (after `make peers`, from the checkout) lets MediaPipe's Python solution follow the same
frames. Nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamprn.bench.peers import find_python
from streamprn.faces.smooth import Smoothing
from streamprn.faces.tracker import Tracker, open_engine
from streamprn.source.sample_clip import FACE_CENTRE_XY, draw, place

WIDTH, HEIGHT, FPS = 640, 480, 30
FRAMES = 120
#: Frames that the trackers get to settle before anything counts.
SETTLE = 30
#: Standard deviation of the noise, levels of 255: an indoor camera's.
NOISE = 6.0
#: Pixels a second of the moving face, which is 165 pixels wide: 10, 20 and 30 cm a second.
SPEEDS = (110.0, 220.0, 330.0)
#: How far it goes from the middle.
REACH_PX = 120.0
PEER = Path(__file__).with_name("jitter_mediapipe.py")
MESH = 468

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Clip:
    """Frames `(T, H, W, 3)` uint8, and the face's true place `(T, 2)` in each, pixels."""

    frames: Frames
    truth: NDArray[np.float64]


def noisy(transforms: Iterable[NDArray[np.float64]], sigma: float = NOISE, seed: int = 0) -> Clip:
    rng = np.random.default_rng(seed)
    frames, truth = [], []
    for transform in transforms:
        picture = draw([transform], WIDTH, HEIGHT)
        noise = sigma * rng.standard_normal(picture.shape, np.float32)
        frames.append(np.clip(np.round(picture + noise), 0, 255).astype(np.uint8))
        truth.append(transform @ (*FACE_CENTRE_XY, 1.0))
    return Clip(np.stack(frames), np.array(truth))


def still(frames: int = FRAMES, sigma: float = NOISE) -> Clip:
    return noisy([place(WIDTH / 2, 230.0, 1.5)] * frames, sigma)


def moving(speed: float, frames: int = FRAMES, sigma: float = NOISE) -> Clip:
    """A face that goes to and fro at a speed, pixels a second, its turns rounded."""
    period = 4 * REACH_PX / speed
    phase = np.arange(frames) / FPS / period * 2 * np.pi
    # A triangle with soft corners: nearly all of the way at one speed.
    x = REACH_PX * 2 / np.pi * np.arcsin(0.98 * np.sin(phase)) / np.arcsin(0.98) * np.pi / 2
    return noisy([place(WIDTH / 2 + dx, 230.0, 1.5) for dx in x], sigma)


def followed(frames: Frames, engine: Any, smoothing: Smoothing | None) -> NDArray[np.float64]:
    """`(T, 468, 2)`: MediaPipe's points in every frame."""
    found = []
    with Tracker(engine, max_faces=1, smoothing=smoothing) as tracker:
        for index, frame in enumerate(frames):
            (face,) = tracker.process(frame, index / FPS)
            assert face.mesh_points is not None
            found.append(face.mesh_points.xyz_px[:MESH, :2].astype(np.float64))
    return np.stack(found)


def by_mediapipe(clips: Sequence[Clip]) -> Iterator[NDArray[np.float64]]:
    """The same of its Python solution, in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        for clip in clips:
            frames, points = Path(folder) / "frames.npy", Path(folder) / "points.npy"
            np.save(frames, clip.frames)
            command = [str(find_python()), str(PEER), str(frames), str(points)]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL, timeout=600)
            yield np.load(points)


def jitter_px(points: NDArray[np.float64]) -> float:
    """RMS distance of points `(T, P, 2)` from their mean places."""
    settled = points[SETTLE:]
    return float(np.sqrt(((settled - settled.mean(axis=0)) ** 2).sum(axis=2).mean()))


def lag_frames(points: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """How much later than the truth the points' mean is, in frames, by least squares."""
    path, true = points.mean(axis=1)[SETTLE:], truth
    times = np.arange(SETTLE, SETTLE + len(path))
    lags = np.linspace(-2.0, 6.0, 801)
    errors = []
    for lag in lags:
        axes = [np.interp(times - lag, np.arange(len(true)), true[:, axis]) for axis in (0, 1)]
        gap = path - np.stack(axes, axis=1)
        errors.append(((gap - gap.mean(axis=0)) ** 2).sum(axis=1).mean())
    return float(lags[int(np.argmin(errors))])


def measure(engines: Sequence[str], *, peers: bool) -> dict[str, tuple[float, ...]]:
    """By name: jitter in pixels, and the lag at each of `SPEEDS` in frames."""
    clips = [still(), *map(moving, SPEEDS)]
    found = {}
    for name in engines:
        engine = open_engine(name)
        for text, smoothing in (("off", None), ("on", Smoothing())):
            points = [followed(clip.frames, engine, smoothing) for clip in clips]
            found[f"{name}, smoothing {text}"] = _figures(points, clips)
        engine.close()
    if peers:
        found["MediaPipe Face Mesh (Python)"] = _figures([*by_mediapipe(clips)], clips)
    return found


def _figures(points: Sequence[NDArray[np.float64]], clips: Sequence[Clip]) -> tuple[float, ...]:
    pairs = zip(points[1:], clips[1:], strict=True)
    return jitter_px(points[0]), *(lag_frames(one, clip.truth) for one, clip in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", nargs="+", default=["facemesh", "facemesh2"])
    parser.add_argument("--peers", action="store_true", help="MediaPipe too")
    args = parser.parse_args()
    print(
        f"640x480, noise of {NOISE:g} levels, a face 165 px wide: RMS jitter of 468 points at "
        "rest, lag in frames of 1/30 s"
    )
    heads = ["jitter px", *(f"lag {speed:g} px/s" for speed in SPEEDS)]
    print(f"{'':30}" + "".join(f"{head:>14}" for head in heads))
    for name, (jitter, *lags) in measure(args.engine, peers=args.peers).items():
        print(f"{name:30}{jitter:14.3f}" + "".join(f"{lag:14.2f}" for lag in lags))


if __name__ == "__main__":
    main()
