"""How often a face of a given score is right: the reliability of scores, and the rules behind them.

    python -m benchmarks.score [--engine NAME...] [--faces DIR...] [--others DIR...]
    python -m benchmarks.score --write      also writes the tables and the curves of docs/score.md
    python -m benchmarks.score --fit ...    fits the rule of an engine's manifest anew

*Regions*: the network sees regions of the pictures of `score_set`, most of them wrong ones: faces
turned by any angle, beside the region's middle, too large and too small for it, blurred, dark and
noisy, half covered, or behind a hand; dolls, drawn faces, hands, backs of heads, and pictures
without a face. *Whole pictures*, turned by any angle, are given to `Reconstructor`.
A face counts as right where the inner 51 landmarks lie within 8 % of the face (the root of the area
of the landmarks' box) from where they are, which is the usual bound of a failure; of a drawn face
the middles of eyes and mouth count.

`--faces` adds folders of portraits: with a `.pts` file of 68 points beside a picture (300-W) these
are the truth; else what the engine finds in the upright picture, if it scores 0.1 or more.
`--others` adds folders of pictures in which the detectors find no face, and of these only regions
that nobody chose. Pictures are split in two by their names: a rule is fitted on one half, and
reported on the other.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks.score_report import Figures, Reported, Sample, write
from benchmarks.score_set import (
    RIGHT,
    Made,
    Truth,
    backs_of_heads,
    behind_hand,
    dolls,
    drawn_faces,
    hands_alone,
    pictures_without_faces,
    real_face,
    shrunk,
    turned,
    turned_heads,
)
from streamprn.apps import images
from streamprn.apps.reconstruction import Reconstructor
from streamprn.engines.detectors import BlazeFaceDetector, open_detector
from streamprn.engines.engine import open_engine
from streamprn.engines.predict import RefineRule, View
from streamprn.engines.predict_host import HostPredictor
from streamprn.engines.protocol import ScoreRule, resized_doubt
from streamprn.errors import StreamPRNError
from streamprn.records import FrameImage, Roi

ENGINES = ("facemesh", "facemesh2", "prn")
# How many made pictures of a kind, and how often each is turned.
COUNT = 30
TURNS = 4


class Study:
    """Takes samples of pictures with one engine."""

    def __init__(self, name: str) -> None:
        self.engine = open_engine(name)
        self.predictor = HostPredictor(self.engine, RefineRule(min_score=0.0))
        # Second looks need a rule; which one makes no difference to what they see.
        self.predictor.score_rule = self.engine.score_rule or ScoreRule(0.0, 1.0, -1.0)
        self.reconstructor = Reconstructor(self.engine, open_detector(), min_score=0.1)
        self.detectors: list[BlazeFaceDetector] = [open_detector("short"), open_detector("full")]
        self.random = np.random.default_rng(0)

    def look(self, image: np.ndarray, roi: Roi, name: str, kind: str, truth: Truth | None):
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
            error = truth.error(found.look.in_frame(crop))
        yield Sample(name, kind, found.look.own, found.check, error, found.score)

    def face(
        self, image: np.ndarray, points: np.ndarray, name: str, count: int
    ) -> Iterator[Sample]:
        """Regions around a face whose 68 points `(68, 2)` are known."""
        truth = Truth.of_landmarks(points)
        upright = self.upright(points)
        yield from self.look(image, upright, name, "as tracked", truth)
        for number in range(count):
            yield from self.look(image, self._turned(upright), name, "turned", truth)
            if number % 2:
                yield from self.look(image, self._moved(upright), name, "beside", truth)
            spoilt = self._spoilt(image, upright.side)
            yield from self.look(spoilt, self._moved(upright, 0.3), name, "spoilt", truth)
            covered = self._covered(image, points)
            yield from self.look(covered, self._moved(upright, 0.1), name, "covered", truth)
            held = behind_hand(Made(name, "", image, truth), self.random)
            yield from self.look(
                held.image, self._moved(upright, 0.1), name, "behind a hand", truth
            )

    def upright(self, points: np.ndarray) -> Roi:
        """The region of a face with these 68 points `(68, 2)`."""
        low, high = points.min(axis=0), points.max(axis=0)
        low[1] -= 0.3 * (high[1] - low[1])
        eyes = points[45] - points[36]
        return self.engine.crop.roi_from_vertices_box(
            np.concatenate([low, high]).astype(np.float32), math.atan2(eyes[1], eyes[0])
        )

    def doll(self, made: Made) -> Iterator[Sample]:
        """The face of a doll, as tracked and nearly so."""
        assert made.truth is not None
        upright = self.upright(made.truth.points)
        for by in (0.0, 0.15, 0.3):
            yield from self.look(
                made.image, self._moved(upright, by), made.name, made.kind, made.truth
            )

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

    def nothing(self, made: Made, count: int) -> Iterator[Sample]:
        """Regions that nobody chose, and those that a detector takes for a face."""
        image, name, kind, truth = made.image, made.name, made.kind, made.truth
        height, width = image.shape[:2]
        for _ in range(count):
            x, y, roll = self.random.uniform(-1, 1, 3)
            side = self.random.uniform(0.2, 1.0) * min(width, height)
            roi = Roi(0.5 * width * (1 + x), 0.5 * height * (1 + y), side, math.pi * roll)
            yield from self.look(image, roi, name, kind, truth)
        if kind != "other pictures":
            for found in self.detections(image, 0.3):
                roi = self.engine.crop.roi_from_detection(found)
                yield from self.look(image, roi, name, kind, truth)

    def detections(self, image: np.ndarray, least: float):
        """What any detector takes for a face, turned by any quarter."""
        frame = FrameImage.from_rgb(image)
        return [
            found
            for detector in self.detectors
            for turns in range(4)
            for found in detector.detect(frame, min_score=least, quarter_turns=turns)
        ]

    def reported(self, made: Made) -> Iterator[Reported]:
        """What `reconstruct` says of a whole picture with its defaults."""
        faces = self.reconstructor.reconstruct(np.ascontiguousarray(made.image))
        found = [(one.score, made.truth, one.landmarks[:, :2]) for one in faces if one.score >= 0.5]
        right = [
            score
            for score, truth, points in found
            if truth is not None and truth.error(points) < RIGHT
        ]
        wrong = [
            score for score, truth, points in found if truth is None or truth.error(points) >= RIGHT
        ]
        yield Reported(made.kind, made.truth is not None, bool(right), max(wrong, default=0.0))


def made(study: Study) -> Iterator[Sample]:
    """Regions of the set that needs no folder."""
    (astronaut, *heads), others = pictures(study)
    for face, count in ((astronaut, 40), *((head, 4) for head in heads)):
        assert face.truth is not None
        yield from study.face(face.image, face.truth.points, face.name, count)
    for one in others:
        if one.kind == "dolls":
            yield from study.doll(one)
        elif one.kind != "behind a hand":
            yield from study.nothing(one, 12 if one.kind == "no face" else 2)


def pictures(study: Study) -> tuple[list[Made], list[Made]]:
    """Faces whose 68 points are known, the real one first, and all other pictures."""
    random = np.random.default_rng(7)
    image = real_face()
    found = max(study.reconstructor.reconstruct(image), key=lambda one: one.score)
    astronaut = Made("astronaut", "faces", image, Truth.of_landmarks(found.landmarks[:, :2]))
    topology = study.engine.topology
    faces = [astronaut, *turned_heads(topology, found.texture(512))]
    seen = [astronaut, *(faces[number] for number in range(2, 11))]
    return faces, [
        *(behind_hand(seen[number % len(seen)], random) for number in range(COUNT)),
        *dolls(topology, random, COUNT),
        *drawn_faces(random, COUNT),
        *backs_of_heads(random, COUNT),
        *hands_alone(random, COUNT),
        *pictures_without_faces(),
    ]


def whole(study: Study) -> Iterator[Reported]:
    """The same pictures, turned, as `reconstruct` reads them."""
    random = np.random.default_rng(11)
    faces, others = pictures(study)
    for one in (*faces, *others):
        for _ in range(TURNS):
            yield from study.reported(turned(one, random.uniform(-180, 180)))


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
        image = shrunk(picture)
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
            image = shrunk(images.read_image(path))
        except StreamPRNError:
            continue
        if not study.detections(image, 0.5):
            yield from study.nothing(Made(str(path), "other pictures", image), 4)


def fit(samples: list[Sample]) -> ScoreRule:
    """Logistic regression; the network's own score counts for nothing where it misleads."""
    right = np.array([one.right for one in samples], float)
    own = np.array([_logit(one.own) for one in samples])
    logs = np.array([math.log(max(one.check.difference, 1e-3)) for one in samples])
    doubt = np.array([resized_doubt(one.check.resized) for one in samples])
    weights = regress(np.column_stack([np.ones(len(samples)), own, logs]), right, -doubt)
    if weights[1] < 0:
        bias, slope = regress(np.column_stack([np.ones(len(samples)), logs]), right, -doubt)
        weights = np.array([bias, 0.0, slope])
    return ScoreRule(*(round(float(one), 2) for one in weights))


def regress(table: np.ndarray, right: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression by Newton's method; `known` is a part of the logit."""
    weights = np.zeros(table.shape[1])
    for _ in range(60):
        said = 1 / (1 + np.exp(-np.clip(table @ weights + known, -60, 60)))
        slope = table.T @ (right - said) - 1e-3 * weights
        bend = (table.T * (said * (1 - said))) @ table + 1e-3 * np.eye(len(weights))
        weights += np.linalg.solve(bend, slope)
    return weights


def _logit(own: float) -> float:
    own = min(max(own, 1e-4), 1 - 1e-4)
    return math.log(own / (1 - own))


def measure(name: str, args: argparse.Namespace) -> Figures:
    """Take all samples with one engine; fit its rule where asked."""
    study = Study(name)
    samples = list(made(study))
    for folder in args.faces:
        samples += portraits(study, folder, args.limit)
    for folder in args.others:
        samples += others(study, folder, args.limit)
    test = [one for one in samples if one.held_out]
    score = np.array([one.score for one in test])
    if args.fit:
        rule = fit([one for one in samples if not one.held_out])
        print(f"bias: {rule.bias}\nnetwork: {rule.network}\ndisagreement: {rule.disagreement}")
        score = np.array([one.check.score(rule, one.own) for one in test])
    return Figures(name, len(samples), test, score, [] if args.fit else list(whole(study)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", nargs="+", default=ENGINES)
    parser.add_argument("--faces", type=Path, nargs="*", default=[])
    parser.add_argument("--others", type=Path, nargs="*", default=[])
    parser.add_argument("--limit", type=int, default=60, help="pictures of a folder")
    parser.add_argument("--fit", action="store_true", help="fit the engine's rule anew")
    parser.add_argument("--write", action="store_true", help="write docs/score.md")
    args = parser.parse_args()
    figures = [measure(name, args) for name in args.engine]
    for one in figures:
        print(one.text())
    if args.write:
        write(figures, Path(__file__).resolve().parents[1] / "docs")


if __name__ == "__main__":
    main()
