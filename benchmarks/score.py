"""How often a face of a given score is right: the reliability of scores, and the rules behind them.

    python benchmarks/score.py [--engine facemesh] [--faces DIR...] [--others DIR...] [--plot FILE]
    python benchmarks/score.py --fit ...     also fits the rule of the engine's manifest anew

The network sees regions of pictures, most of them wrong ones: faces turned by any angle, beside
the region's middle, too large and too small for it, blurred, dark and noisy, or half covered; faces
turned away from the camera, drawn by the engine's own mesh; pictures without a face, drawn faces
and backs of heads.
A face counts as right where the inner 51 landmarks lie within 8 % of the face (the root of the area
of the landmarks' box) from where they are, which is the usual bound of a failure.

Without folders the set is made of what scikit-image ships. `--faces` takes folders of portraits:
with a `.pts` file of 68 points beside a picture (300-W) these are the truth; else what the engine
finds in the upright picture, if it scores 0.1 or more. `--others` takes folders of pictures in
which the detectors find no face, and of these only regions that nobody chose.

Pictures are split in two by their names: a rule is fitted on one half and reported on the other.
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from streamprn.apps import images
from streamprn.apps.reconstruction import Reconstructor
from streamprn.engines.detectors import BlazeFaceDetector, open_detector
from streamprn.engines.engine import open_engine
from streamprn.engines.head import HeadShape
from streamprn.engines.predict import HostPredictor, RefineRule, View
from streamprn.engines.protocol import ScoreRule
from streamprn.errors import StreamPRNError
from streamprn.records import FrameImage, Roi
from tests.support.faces import draw, known_pose

WITHOUT_FACES = (
    "brick", "cat", "clock", "coffee", "coins", "grass", "gravel", "horse", "hubble_deep_field",
    "immunohistochemistry", "moon", "page", "retina", "rocket", "text",
)  # fmt: skip
RIGHT = 0.08
BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 1.0)
PIXELS = 640
INNER = slice(17, 68)


@dataclass(frozen=True)
class Sample:
    """One region of one picture: what the looks said, and how far the landmarks are off."""

    picture: str
    kind: str
    own: float
    difference: float
    error: float
    score: float

    @property
    def right(self) -> bool:
        """Whether the landmarks lie on the face."""
        return self.error < RIGHT

    @property
    def held_out(self) -> bool:
        """Whether nothing is fitted on this picture."""
        return zlib.crc32(Path(self.picture).name.encode()) % 2 == 1


class Study:
    """Takes samples of pictures with one engine."""

    def __init__(self, name: str) -> None:
        self.engine = open_engine(name)
        self.predictor = HostPredictor(self.engine, RefineRule(min_score=0.0))
        # Second looks need a rule; which one makes no difference to what they see.
        self.predictor.score_rule = self.engine.score_rule or ScoreRule(0.0, 1.0, -1.0)
        self.reconstructor = Reconstructor(self.engine, open_detector(), min_score=0.1)
        self.detectors: list[BlazeFaceDetector] = [open_detector("short"), open_detector("full")]
        self.head = HeadShape(self.engine.topology)
        self.random = np.random.default_rng(0)

    def look(self, image: np.ndarray, roi: Roi, name: str, kind: str, truth: np.ndarray | None):
        """The sample of a region, after the refinement that every face gets, or none."""
        predictor, crop = self.predictor, self.engine.crop
        frame = FrameImage.from_rgb(image)
        (first,) = predictor.look([View(frame, roi)])
        if not first.next_roi.is_finite:
            return
        moved = 0.04 < roi.change_to(first.next_roi) < 3.0
        view = View(frame, first.next_roi if moved else roi)
        (found,) = predictor.checked([view], predictor.look([view]))
        if found.check is None:
            return
        error = math.inf
        if truth is not None:
            gap = found.look.in_frame(crop)[INNER] - truth[INNER]
            size = math.sqrt(np.ptp(truth[:, 0]) * np.ptp(truth[:, 1]))
            error = float(np.linalg.norm(gap, axis=1).mean()) / size
        yield Sample(name, kind, found.look.own, found.check.difference, error, found.score)

    def face(self, image: np.ndarray, truth: np.ndarray, name: str, count: int) -> Iterator[Sample]:
        """Regions around a face whose 68 points `(68, 2)` are known."""
        low, high = truth.min(axis=0), truth.max(axis=0)
        low[1] -= 0.3 * (high[1] - low[1])
        eyes = truth[45] - truth[36]
        upright = self.engine.crop.roi_from_vertices_box(
            np.concatenate([low, high]).astype(np.float32), math.atan2(eyes[1], eyes[0])
        )
        yield from self.look(image, upright, name, "as tracked", truth)
        for number in range(count):
            yield from self.look(image, self._turned(upright), name, "turned", truth)
            if number % 2:
                yield from self.look(image, self._moved(upright), name, "beside", truth)
            spoilt = self._spoilt(image, upright.side)
            yield from self.look(spoilt, self._moved(upright, 0.3), name, "spoilt", truth)
            covered = self._covered(image, truth)
            yield from self.look(covered, self._moved(upright, 0.1), name, "covered", truth)

    def _turned(self, roi: Roi) -> Roi:
        return roi.turned(self.random.uniform(-math.pi, math.pi))

    def _moved(self, roi: Roi, by: float = 1.0) -> Roi:
        x, y, grow, turn = self.random.normal(size=4) * by
        return Roi(
            roi.cx + 0.3 * x * roi.side,
            roi.cy + 0.3 * y * roi.side,
            roi.side * math.exp(0.4 * grow),
            roi.roll + turn,
        )

    def _spoilt(self, image: np.ndarray, side: float) -> np.ndarray:
        """Blurred as if the face were 15 to 100 pixels wide, darker, and noisy."""
        pixels = math.exp(self.random.uniform(math.log(15), math.log(100)))
        sigma = max(0.4 * side / 1.5 / pixels, 0.1)
        soft = cv2.GaussianBlur(image, (0, 0), sigma).astype(np.float32)
        soft *= np.float32(self.random.uniform(0.3, 1.0))
        noise = self.random.standard_normal(soft.shape[:2], np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), max(0.3 * sigma, 0.1))
        soft += noise[:, :, None] * np.float32(self.random.uniform(0, 12) / noise.std())
        return np.clip(soft, 0, 255).astype(np.uint8)

    def _covered(self, image: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """With a rectangle before a third to a half of the face, from any side of it."""
        low, high = truth.min(axis=0), truth.max(axis=0)
        low, size = low - 0.1 * (high - low), 1.2 * (high - low)
        part, axis = self.random.uniform(0.3, 0.5), self.random.integers(2)
        first = np.zeros(2)
        first[axis] = self.random.choice([0.0, 1.0 - part])
        last = np.ones(2)
        last[axis] = first[axis] + part
        corners = np.round(low + np.stack([first, last]) * size).astype(int).tolist()
        colour = self.random.integers(0, 256, 3).tolist()
        return cv2.rectangle(image.copy(), *(tuple(one) for one in corners), colour, -1)

    def nothing(self, image: np.ndarray, name: str, kind: str, count: int) -> Iterator[Sample]:
        """Regions of a picture without a face: any, and those that a detector takes for one."""
        height, width = image.shape[:2]
        for _ in range(count):
            x, y, roll = self.random.uniform(-1, 1, 3)
            side = self.random.uniform(0.2, 1.0) * min(width, height)
            roi = Roi(0.5 * width * (1 + x), 0.5 * height * (1 + y), side, math.pi * roll)
            yield from self.look(image, roi, name, kind, None)
        if kind != "other pictures":
            for found in self.detections(image, 0.3):
                roi = self.engine.crop.roi_from_detection(found)
                yield from self.look(image, roi, name, kind, None)

    def detections(self, image: np.ndarray, least: float):
        """What any detector takes for a face, turned by any quarter."""
        frame = FrameImage.from_rgb(image)
        return [
            found
            for detector in self.detectors
            for turns in range(4)
            for found in detector.detect(frame, min_score=least, quarter_turns=turns)
        ]


def made(study: Study) -> Iterator[Sample]:
    """The set that needs no folder."""
    astronaut = skimage.data.astronaut()
    face = max(study.reconstructor.reconstruct(astronaut), key=lambda one: one.score)
    yield from study.face(astronaut, face.landmarks[:, :2], "astronaut", 40)
    texture = face.texture(512)
    topology = study.engine.topology
    extent = float(np.ptp(topology.canonical[:, 1]))
    for yaw in range(-50, 51, 10):
        where = known_pose(yaw, 0.0, 0.0, scale=170 / extent, centre_xy=(160.0, 160.0))
        one = draw(topology, texture, where)
        yield from study.face(one.image, one.vertices[topology.landmarks, :2], f"yaw {yaw}", 4)
    for name in WITHOUT_FACES:
        picture = np.asarray(getattr(skimage.data, name)())
        picture = picture if picture.dtype == np.uint8 else (255 * (picture > 0)).astype(np.uint8)
        picture = picture if picture.ndim == 3 else np.dstack([picture] * 3)
        yield from study.nothing(_shrunk(picture), name, "no face", 12)
    for number in range(30):
        yield from study.nothing(drawn_face(study.random)[0], f"drawn {number}", "drawn faces", 2)
        yield from study.nothing(back_of_head(study.random), f"back {number}", "backs of heads", 2)


def _shrunk(picture: np.ndarray) -> np.ndarray:
    scale = min(PIXELS / max(picture.shape[:2]), 1.0)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[:, :, :3])


def drawn_face(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A face as a child draws it: an oval, two eyes, a nose and a mouth.

    Returns:
        The picture `(320, 320, 3)`, and where the left and right eye and the mouth are, `(3, 2)`.
    """
    picture = np.full((320, 320, 3), random.integers(120, 255, 3), np.uint8)
    ink = tuple(int(v) for v in random.integers(0, 90, 3))
    skin = tuple(int(v) for v in random.integers(150, 255, 3))
    wide, high = int(random.uniform(60, 90)), int(random.uniform(75, 110))
    cv2.ellipse(picture, (160, 160), (wide, high), 0, 0, 360, skin, -1, cv2.LINE_AA)
    cv2.ellipse(picture, (160, 160), (wide, high), 0, 0, 360, ink, 3, cv2.LINE_AA)
    apart, level = int(wide * random.uniform(0.35, 0.5)), int(160 - high * random.uniform(0.1, 0.3))
    radius = int(random.uniform(4, 14))
    for x in (160 - apart, 160 + apart):
        cv2.circle(picture, (x, level), radius + 4, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(picture, (x, level), radius, ink, -1, cv2.LINE_AA)
        cv2.line(picture, (x - 14, level - 22), (x + 14, level - 24), ink, 4, cv2.LINE_AA)
    cv2.line(picture, (160, level + 10), (154, level + 40), ink, 3, cv2.LINE_AA)
    mouth = (160, int(160 + 0.4 * high))
    cv2.ellipse(picture, mouth, (apart, int(random.uniform(4, 22))), 0, 0, 180, ink, 4, cv2.LINE_AA)
    return picture, np.array([[160 - apart, level], [160 + apart, level], mouth], float)


def back_of_head(random: np.random.Generator) -> np.ndarray:
    """Hair in strands on an oval, a neck and shoulders."""
    picture = np.full((320, 320, 3), random.integers(60, 255, 3), np.uint8)
    skin = tuple(int(v) for v in random.integers(110, 230) * np.array([1.0, 0.8, 0.7]))
    cloth = tuple(int(v) for v in random.integers(20, 220, 3))
    cv2.ellipse(picture, (160, 330), (150, 90), 0, 0, 360, cloth, -1, cv2.LINE_AA)
    cv2.rectangle(picture, (130, 210), (190, 270), skin, -1)
    for x in (85, 235):
        cv2.ellipse(picture, (x, 160), (12, 22), 0, 0, 360, skin, -1, cv2.LINE_AA)
    hair = random.integers(10, 120) * np.array([1.0, 0.75, 0.55])
    strands = cv2.GaussianBlur(random.normal(size=(320, 320)), (0, 0), 1.5, sigmaY=18) * 220
    mask = np.zeros((320, 320), np.uint8)
    cv2.ellipse(mask, (160, 150), (75, 95), 0, 0, 360, 255, -1)
    coloured = np.clip(hair + strands[:, :, None], 0, 255).astype(np.uint8)
    return np.where(mask[:, :, None] > 0, coloured, picture)


def pictures_of(folder: Path, limit: int) -> list[Path]:
    """Pictures below a folder, evenly chosen."""
    suffixes = {".jpg", ".jpeg", ".png"}
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return found[:: max(len(found) // limit, 1)][:limit]


def read_points(path: Path) -> np.ndarray:
    """The points `(K, 2)` of a 300-W file, first pixel at 0; none where it holds no numbers."""
    numbers = []
    for line in path.read_text(errors="replace").splitlines():
        words = line.split()
        if len(words) == 2 and words[0].replace(".", "", 1).isdigit():
            numbers.append([float(word) - 1 for word in words])
    return np.array(numbers, float).reshape(-1, 2)


def portraits(study: Study, folder: Path, limit: int) -> Iterator[Sample]:
    """Samples of a folder of faces."""
    for path in pictures_of(folder, limit):
        try:
            picture = images.read_image(path)
        except StreamPRNError:
            continue
        image = _shrunk(picture)
        points = path.with_suffix(".pts")
        if points.is_file():
            truth = read_points(points) * image.shape[0] / picture.shape[0]
        else:
            faces = study.reconstructor.reconstruct(image)
            if not faces:
                continue
            truth = max(faces, key=lambda one: one.score).landmarks[:, :2].astype(float)
        if len(truth) == 68:
            yield from study.face(image, truth, str(path), 4)


def others(study: Study, folder: Path, limit: int) -> Iterator[Sample]:
    """Samples of a folder of pictures of other things."""
    for path in pictures_of(folder, limit):
        try:
            image = _shrunk(images.read_image(path))
        except StreamPRNError:
            continue
        if not study.detections(image, 0.5):
            yield from study.nothing(image, str(path), "other pictures", 4)


def fit(samples: list[Sample]) -> ScoreRule:
    """Logistic regression; the network's own score counts for nothing where it misleads."""
    right = np.array([one.right for one in samples], float)
    own = np.array([_logit(one.own) for one in samples])
    logs = np.array([math.log(max(one.difference, 1e-3)) for one in samples])
    weights = regress(np.column_stack([np.ones(len(samples)), own, logs]), right)
    if weights[1] < 0:
        bias, slope = regress(np.column_stack([np.ones(len(samples)), logs]), right)
        weights = np.array([bias, 0.0, slope])
    return ScoreRule(*(round(float(one), 2) for one in weights))


def regress(table: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression, by Newton's method."""
    weights = np.zeros(table.shape[1])
    for _ in range(60):
        said = 1 / (1 + np.exp(-np.clip(table @ weights, -60, 60)))
        slope = table.T @ (right - said) - 1e-3 * weights
        bend = (table.T * (said * (1 - said))) @ table + 1e-3 * np.eye(len(weights))
        weights += np.linalg.solve(bend, slope)
    return weights


def _logit(own: float) -> float:
    own = min(max(own, 1e-4), 1 - 1e-4)
    return math.log(own / (1 - own))


def table(
    samples: list[Sample], scores: np.ndarray
) -> list[tuple[float, float, int, float, float]]:
    """For each of `BINS`: its bounds, how many samples, their mean score, how many are right."""
    right = np.array([one.right for one in samples])
    rows = []
    for low, high in pairwise(BINS):
        inside = (scores >= low) & ((scores < high) | (high == 1.0))
        if inside.any():
            rows.append(
                (
                    low,
                    high,
                    int(inside.sum()),
                    float(scores[inside].mean()),
                    float(right[inside].mean()),
                )
            )
    return rows


def report(title: str, samples: list[Sample], scores: np.ndarray) -> None:
    """Print the reliability of scores, and what a bound of 0.5 lets through."""
    print(f"\n{title}\n\n| score | regions | mean score | right |\n|---|---|---|---|")
    for low, high, count, mean, right in table(samples, scores):
        print(f"| {low:g} to {high:g} | {count} | {mean:.3f} | {right:.3f} |")
    print("\n| regions of | right, of these kept | wrong, of these kept |\n|---|---|---|")
    for kind in dict.fromkeys(one.kind for one in samples):
        chosen = np.array([one.kind == kind for one in samples])
        right = np.array([one.right for one in samples]) & chosen
        wrong = chosen & ~right
        kept = scores >= 0.5
        print(
            f"| {kind} | {right.sum()}, {(right & kept).sum()} "
            f"| {wrong.sum()}, {(wrong & kept).sum()} |"
        )


def plot(path: Path, curves: dict[str, list[tuple[float, float, int, float, float]]]) -> None:
    """Draw reliability curves."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 5))
    axes.plot([0, 1], [0, 1], color="0.7", label="means what it says")
    for name, rows in curves.items():
        axes.plot([row[3] for row in rows], [row[4] for row in rows], "o-", label=name)
    axes.set(xlabel="score", ylabel="part of the faces that are right")
    axes.legend()
    figure.savefig(path, dpi=90, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", default="facemesh")
    parser.add_argument("--faces", type=Path, nargs="*", default=[])
    parser.add_argument("--others", type=Path, nargs="*", default=[])
    parser.add_argument("--limit", type=int, default=200, help="pictures of a folder")
    parser.add_argument("--fit", action="store_true", help="fit the engine's rule anew")
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    study = Study(args.engine)
    samples = list(made(study))
    for folder in args.faces:
        samples += portraits(study, folder, args.limit)
    for folder in args.others:
        samples += others(study, folder, args.limit)
    test = [one for one in samples if one.held_out]
    print(f"{args.engine}: {len(samples)} regions, {len(test)} of them of held-out pictures")
    own = np.array([one.own for one in test])
    score = np.array([one.score for one in test])
    if args.fit:
        rule = fit([one for one in samples if not one.held_out])
        print(f"bias: {rule.bias}\nnetwork: {rule.network}\ndisagreement: {rule.disagreement}")
        score = np.array([min(one.own, rule.probability(one.own, one.difference)) for one in test])
    report("The network's own score", test, own)
    report("The score", test, score)
    if args.plot:
        plot(
            args.plot,
            {"the network's own score": table(test, own), "the score": table(test, score)},
        )


if __name__ == "__main__":
    main()
