"""Whether ids stay with their faces where one passes before another, or goes and returns.

`python benchmarks/crossings.py [--faces FOLDER] [--scenes N] [--engine NAME] [--film FOLDER]`
draws scenes of 640x480 at 30 frames/s with two heads each, cut out of portraits (default:
scikit-image's astronaut, and the same with another skin), and follows them with and without the
memory of looks (`track.remember_s`). A switch is a frame in which a face that can be seen has
another id than when it was last seen. `--film` writes the scenes with boxes and ids. What it takes
a face is measured too; nothing else depends on how fast the machine is.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamprn.bench.machine import in_words
from streamprn.engines.detectors import open_detector
from streamprn.engines.predict import Predictor, View
from streamprn.faces.detect import DetectionIntervals, Detector, IntervalDetection
from streamprn.faces.follow import Follower
from streamprn.faces.identity import Verdict
from streamprn.faces.track import TrackRules
from streamprn.faces.tracker import open_engine
from streamprn.records import Face, FrameImage

WIDTH, HEIGHT, FPS = 640, 480, 30
KINDS = ("cross", "hide", "turn back", "leave", "leave alone")
#: Height of the heads' faces, pixels.
FACE_PX = 120.0
#: A face counts as seen where others cover less of it than this.
COVERED = 0.3

UInt8 = NDArray[np.uint8]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """A head `(H, W, 3)` RGB with its alpha `(H, W)`, and its face's centre and height, pixels."""

    rgb: UInt8
    alpha: NDArray[np.float32]
    centre_xy: Float64
    face_px: float


@dataclass
class Placed:
    """A head in one frame: where, how large, and how much of it can be seen."""

    head: Head
    xy: tuple[float, float]
    scale: float
    roll: float
    seen: float = 1.0


@dataclass
class Counts:
    """What was counted of scenes of a kind."""

    scenes: int = 0
    switches: int = 0
    spoilt: int = 0
    found: int = 0
    seen: int = 0
    names: list[str] = field(default_factory=list)


def heads(folder: Path | None, predictor: Predictor, detector: Detector, most: int) -> list[Head]:
    """Heads cut out of the portraits of a folder, or two of the packaged photograph."""
    if folder is not None:
        paths = sorted(path for path in folder.rglob("*") if path.suffix in {".jpg", ".png"})
        pictures = [
            cv2.imread(str(path))[:, :, ::-1] for path in paths[:: max(len(paths) // most, 1)]
        ]
    else:
        pictures = two_people()
    found = [cut_out(np.ascontiguousarray(one), predictor, detector) for one in pictures]
    return [one for one in found if one is not None][:most]


def two_people() -> list[UInt8]:
    """The astronaut, and one like her mirrored, with darker skin and without colour in the lips."""
    from skimage import data

    one = np.ascontiguousarray(data.astronaut()[:300, 60:400])
    other = cv2.cvtColor(one[:, ::-1], cv2.COLOR_RGB2LAB).astype(np.float32)
    other[..., 0] = 255 * (other[..., 0] / 255) ** 1.7
    other[..., 1] = 128 + 0.6 * (other[..., 1] - 128)
    other[..., 2] = 128 + 1.3 * (other[..., 2] - 128)
    return [one, cv2.cvtColor(other.clip(0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)]


def cut_out(rgb: UInt8, predictor: Predictor, detector: Detector) -> Head | None:
    """The largest head of a picture."""
    image = FrameImage.from_rgb(rgb)
    detections = detector.detect(image)
    if not detections:
        return None
    best = max(detections, key=lambda one: float(np.ptp(one.box_xyxy[1::2])))
    (prediction,), _ = predictor.predict([View(image, predictor.crop.roi_from_detection(best))])
    if not prediction.score >= 0.5:
        return None
    x0, y0, x1, y1 = prediction.face(id=1, score=1.0).box_xyxy.tolist()
    width, height = x1 - x0, y1 - y0
    row, column = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    across = (column - 0.5 * (x0 + x1)) / (0.78 * width)
    down = (row - (y0 + 0.38 * height)) / (0.80 * height)
    alpha = np.clip((1 - np.hypot(across, down)) / 0.08, 0, 1).astype(np.float32)
    return Head(rgb, alpha, np.array([0.5 * (x0 + x1), 0.5 * (y0 + y1)]), height)


def scene(kind: str, pair: Sequence[Head], rng: np.random.Generator) -> Iterator[list[Placed]]:
    """The heads of each frame, the one behind first."""
    size = FACE_PX * rng.uniform(0.85, 1.25, 2)
    size[1] *= rng.uniform(0.95, 1.15)  # nearer
    y = 240 + rng.uniform(-18, 18, 2)
    way = rng.choice([-1, 1])
    speed = rng.uniform(110, 260)
    phase = rng.uniform(0, 6, 2)
    far = 215.0
    pause = round(rng.uniform(0.3, 0.9) * FPS)
    away = round(rng.uniform(1.0, 4.0) * FPS)
    crossing = round(2 * far / speed * FPS)
    still = 20

    def walk(steps: int, start: float, end: float) -> list[float]:
        return [start + (end - start) * (k + 1) / steps for k in range(steps)]

    left = [-far] * still
    if kind == "cross":
        back = left + walk(crossing, -far, far) + [far] * still
        front = [-x for x in back]
    elif kind == "hide":
        back = left + walk(crossing // 2, -far, 0) + [0.0] * pause + walk(crossing // 2, 0, far)
        back += [far] * still
        front = [0.0] * len(back)
    elif kind == "turn back":
        back = left + walk(crossing // 2, -far, 0) + [0.0] * pause + walk(crossing // 2, 0, -far)
        back += left
        front = [20.0] * len(back)
    else:
        out = -520.0
        gone = round((520 - far) / speed * FPS)
        returns = out if rng.random() < 0.5 else -out
        middle = 0.0 if kind == "leave alone" else -far
        back = left + walk(gone, -far, out) + [returns] * away
        back += walk(round(abs(returns - middle) / speed * FPS), returns, middle) + [middle] * still
        front = [far * 0.6] * len(back)
    for k, (behind, before) in enumerate(zip(back, front, strict=True)):
        sway = 4 * np.sin(k / 7 + phase)
        roll = 4 * np.sin(k / 11 + phase)
        placed = [
            Placed(
                head, (320 + way * x, float(y[i] + sway[i])), size[i] / head.face_px, float(roll[i])
            )
            for i, (head, x) in enumerate(zip(pair, (behind, before), strict=True))
        ]
        yield placed[:1] if kind == "leave alone" else placed


def render(placed: Sequence[Placed], ground: UInt8, rng: np.random.Generator) -> UInt8:
    """A frame `(480, 640, 3)`; notes in `placed` how much of each face can be seen."""
    frame = ground.astype(np.float32)
    covers: list[NDArray[np.float32]] = []
    for one in placed:
        c, s = (one.scale * f(math.radians(one.roll)) for f in (math.cos, math.sin))
        x, y = one.head.centre_xy
        matrix = np.array([[c, -s, one.xy[0] - c * x + s * y], [s, c, one.xy[1] - s * x - c * y]])
        size = WIDTH, HEIGHT
        colours = cv2.warpAffine(one.head.rgb, matrix, size, flags=cv2.INTER_AREA)
        alpha = cv2.warpAffine(one.head.alpha, matrix, size)
        frame += alpha[..., None] * (colours - frame)
        covers = [np.maximum(cover, alpha) for cover in covers] + [np.zeros_like(alpha)]
    for one, cover in zip(placed, covers, strict=True):
        half = 0.45 * one.scale * one.head.face_px
        x0, y0, x1, y1 = (round(v) for v in (
            one.xy[0] - 0.8 * half, one.xy[1] - half, one.xy[0] + 0.8 * half, one.xy[1] + half
        ))  # fmt: skip
        inside = cover[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
        area = max((x1 - x0) * (y1 - y0), 1)
        one.seen = float((1 - inside).sum()) / area
    frame += rng.normal(0, 3.0, frame.shape).astype(np.float32)
    return np.clip(frame, 0, 255).astype(np.uint8)


def ground() -> UInt8:
    """What the heads pass before: a cup of coffee, out of focus."""
    from skimage import data

    cup = cv2.resize(np.ascontiguousarray(data.coffee()), (WIDTH, HEIGHT))
    return np.asarray(cv2.GaussianBlur(cup, (0, 0), 9), np.uint8)


def owner(face: Face, placed: Sequence[Placed]) -> int | None:
    """Index of the head whose face this is: the one in front where both are in reach."""
    x0, y0, x1, y1 = face.box_xyxy.tolist()
    middle = np.array([0.5 * (x0 + x1), 0.5 * (y0 + y1)])
    near = [
        (float(np.linalg.norm(middle - one.xy)) / (one.scale * one.head.face_px), index)
        for index, one in enumerate(placed)
    ]
    away, index = min(near, default=(9.0, -1))
    return index if away < 0.4 else None


def follow(
    frames: Sequence[tuple[list[Placed], UInt8]], follower: Follower, counts: Counts
) -> list[list[Face]]:
    """Follow a scene and count; gives the faces of each frame."""
    last: dict[int, int] = {}
    switches, shown = 0, []
    for k, (placed, rgb) in enumerate(frames):
        faces = follower.follow(FrameImage.from_rgb(rgb), k * 1_000_000_000 // FPS)
        shown.append(faces)
        ids = {owner(face, placed): face.id for face in faces}
        for index, one in enumerate(placed):
            if one.seen < 1 - COVERED:
                continue
            counts.seen += 1
            if index in ids:
                counts.found += 1
                switches += last.get(index, ids[index]) != ids[index]
                last[index] = ids[index]
    counts.scenes += 1
    counts.switches += switches
    counts.spoilt += switches > 0
    return shown


def follower_of(predictor: Predictor, detector: Detector, remember_s: float) -> Follower:
    """As the pipeline makes it, with the defaults."""
    detection = IntervalDetection(detector, DetectionIntervals())
    return Follower(predictor, detection, TrackRules(remember_s=remember_s))


class Stopwatch:
    """What a follower's memory of looks takes its thread, all its frames together.

    Time of the processor: what other programs take of it does not count.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def attach(self, follower: Follower) -> None:
        """Measure a follower that has such a memory."""
        identities = follower._identities
        if identities is None:
            return
        judge = identities.judge

        def measured(*args: Any) -> dict[int, Verdict]:
            began = time.thread_time()
            verdicts = judge(*args)
            self.seconds += time.thread_time() - began
            return verdicts

        identities.judge = measured  # type: ignore[method-assign]


def write_film(path: Path, frames: Sequence[UInt8], shown: Sequence[Sequence[Face]]) -> None:
    """The frames with boxes and ids."""
    out = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    for rgb, faces in zip(frames, shown, strict=True):
        picture = np.ascontiguousarray(rgb[:, :, ::-1])
        for face in faces:
            x0, y0, x1, y1 = (round(v) for v in face.box_xyxy.tolist())
            colour = [(80, 200, 255), (120, 255, 120), (255, 160, 80), (200, 120, 255)][face.id % 4]
            cv2.rectangle(picture, (x0, y0), (x1, y1), colour, 2)
            cv2.putText(picture, str(face.id), (x0, y0 - 6), 0, 0.9, colour, 2)
        out.write(picture)
    out.release()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--engine", default="facemesh")
    parser.add_argument("--film", type=Path)
    args = parser.parse_args()
    predictor, detector = open_engine(args.engine), open_detector()
    people = heads(args.faces, predictor, detector, 60)
    behind = ground()
    memories = {"by place": 0.0, "by look": 10.0}
    counts = {name: {kind: Counts() for kind in KINDS} for name in memories}
    spent = Stopwatch()
    for number in range(args.scenes):
        kind, rng = KINDS[number % len(KINDS)], np.random.default_rng((4, number))
        pair = [people[k] for k in rng.choice(len(people), 2, replace=False)]
        placed = list(scene(kind, pair, rng))
        frames = [(one, render(one, behind, rng)) for one in placed]
        for name, remember_s in memories.items():
            follower = follower_of(predictor, detector, remember_s)
            spent.attach(follower)
            before = counts[name][kind].switches
            shown = follow(frames, follower, counts[name][kind])
            switched = counts[name][kind].switches - before
            if switched:
                counts[name][kind].names.append(f"{number}:{switched}")
            if args.film is not None:
                args.film.mkdir(parents=True, exist_ok=True)
                file = args.film / f"{number:03d} {kind} {name} {switched}.mp4"
                write_film(file, [rgb for _, rgb in frames], shown)
    print(f"{in_words()}; {len(people)} people, engine {args.engine}")
    print("| scenes | | switches by place | scenes with one | by look | scenes with one | found |")
    print("|---|---|---|---|---|---|---|")
    for kind in KINDS:
        old, new = (counts[name][kind] for name in memories)
        print(
            f"| {kind} | {new.scenes} | {old.switches} | {old.spoilt} | {new.switches} |"
            f" {new.spoilt} | {new.found / max(new.seen, 1):.1%}"
            f" ({old.found / max(old.seen, 1):.1%}) | {' '.join(new.names)}"
        )
    faces = sum(one.found for one in counts["by look"].values())
    switches = sum(one.switches for one in counts["by look"].values())
    cost_ms = 1000 * spent.seconds / faces
    print(f"{switches} switches in {args.scenes} scenes; looks take {cost_ms:.3f} ms a face")


if __name__ == "__main__":
    main()
