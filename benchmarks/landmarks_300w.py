"""Engines side by side on pictures with 300-W's landmarks (`.pts` beside each picture).

    python benchmarks/landmarks_300w.py helen/testset --engine facemesh facemesh2 prn

Error: mean distance of the 51 inner points over the square root of the area of their true box (of
all 68), in percent, for three groups of equal size by how unlike the two halves of the face are
(the further turned, the later). Each engine sees the same crop first, of the true box, and looks a
second time as in use. Annotators place points otherwise than Face Mesh does: a network that
agrees with them perfectly is none of these, and differences are what counts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from streamprn.apps.images import IMAGE_SUFFIXES, read_image
from streamprn.apps.reconstruction import Reconstructor
from streamprn.engines.engine import open_engine

INNER = slice(17, 68)
GROUPS = 3


def read_points(path: Path) -> np.ndarray:
    """`(68, 2)` pixels, the first pixel's centre at 0."""
    text = path.read_text()
    inside = text.split("{")[1].split("}")[0] if "{" in text else text
    return np.array(inside.split(), np.float64).reshape(-1, 2) - 1


def pictures(folder: Path) -> list[tuple[Path, np.ndarray]]:
    """Pictures with their points."""
    found = []
    for path in sorted(folder.rglob("*.pts")):
        files = [path.with_suffix(end) for end in IMAGE_SUFFIXES]
        points = read_points(path)
        image = next((one for one in files if one.is_file()), None)
        if image is not None and len(points) == 68:
            found.append((image, points))
    return found


def asymmetry(points: np.ndarray) -> float:
    """How far the nose is from the middle between the outer eye corners, in their distance."""
    right, left, nose = points[36], points[45], points[30]
    along = (left - right) / np.linalg.norm(left - right)
    return abs(float((nose - (left + right) / 2) @ along)) / float(np.linalg.norm(left - right))


def errors(name: str, data: list[tuple[Path, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Percent, and the score, of each picture."""
    engine = open_engine(name, threads=1, max_batch=1)
    reconstructor = Reconstructor(engine)
    found, scores = [], []
    for path, points in data:
        box = np.concatenate([points.min(0), points.max(0)]).astype(np.float32)
        (face,) = reconstructor.reconstruct(read_image(path), [box])
        away = np.linalg.norm(face.landmarks[INNER, :2] - points[INNER], axis=1)
        found.append(100 * away.mean() / np.sqrt(np.prod(box[2:] - box[:2])))
        scores.append(face.score)
    engine.close()
    return np.array(found), np.array(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", nargs="+", default=["facemesh", "facemesh2"])
    parser.add_argument("--limit", type=int, metavar="N", help="evaluate about N pictures only")
    arguments = parser.parse_args()
    data = pictures(arguments.folder)
    if arguments.limit:
        data = data[:: max(1, len(data) // arguments.limit)]
    order = np.argsort([asymmetry(points) for _, points in data])
    print(f"{len(data)} pictures of {arguments.folder}")
    for name in arguments.engine:
        error, score = errors(name, data)
        parts = [f"{error[part].mean():.2f}" for part in np.array_split(order, GROUPS)]
        print(
            f"{name}: {' / '.join(parts)}, all {error.mean():.2f}, median {np.median(error):.2f}, "
            f"above 8 %: {np.mean(error > 8):.1%}, score below 0.5: {np.mean(score < 0.5):.1%}, "
            f"score against error, rank correlation {rank_correlation(score, -error):.2f}"
        )


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
