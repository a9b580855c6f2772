"""How large the error is at which score, on samples as in training of faces that it has not seen.

    python benchmarks/score_reliability.py LABELS --engine facemesh prn [--count 2000]

LABELS is what `streamprn train label` has made. For each tenth of the score: how many samples, how
many of them show no face, and of the faces the mean error of the points in percent of the face,
beside the error that the score of `prn` stands for.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from streamprn.engines.engine import open_engine
from streamprn.train.dataset import Dataset
from streamprn.train.samples import Sampler

HALF_TRUST = 8.0
BATCH = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("--engine", nargs="+", default=["facemesh"])
    parser.add_argument("--count", type=int, default=2000, help="samples (%(default)s)")
    arguments = parser.parse_args()
    data = Dataset.open(arguments.labels)
    for name in arguments.engine:
        engine = open_engine(name, threads=1, max_batch=BATCH)
        half = engine.crop.size / 2
        sampler = Sampler(data, engine.crop.size, seed=11, held_out=True)
        errors, scores, faces = [], [], []
        for step in range(arguments.count // BATCH):
            batch = sampler.batch(step, BATCH)
            inference = engine.infer(batch.images.astype(np.float32) / 255)
            for surface, points in zip(inference.surfaces, batch.points, strict=True):
                found = (surface.points[:468, :2] + 0.5) / half - 1
                size = np.sqrt(np.prod(np.ptp(points[:, :2], axis=0)) + 1e-9)
                errors.append(100 * np.linalg.norm(found - points[:, :2], axis=1).mean() / size)
            scores += inference.scores.tolist()
            faces += batch.is_face.tolist()
        engine.close()
        print_table(name, np.array(scores), np.array(errors), np.array(faces))


def print_table(name: str, scores: np.ndarray, errors: np.ndarray, faces: np.ndarray) -> None:
    print(f"{name}: {len(scores)} samples, {np.mean(~faces):.0%} of them no faces")
    print("score | samples | no faces | error of faces, % | stands for, %")
    for low in np.arange(0, 1, 0.1):
        chosen = (scores >= low) & (scores < low + 0.1 + 1e-6 * (low > 0.85))
        if not chosen.any():
            continue
        stands_for = HALF_TRUST * np.sqrt(1 / max(scores[chosen].mean(), 1e-6) - 1)
        own = chosen & faces
        error = f"{errors[own].mean():.1f}" if own.any() else "-"
        print(
            f"{low:.1f}-{low + 0.1:.1f} | {chosen.sum()} | {(~faces[chosen]).mean():.0%} | "
            f"{error} | {stands_for:.1f}"
        )
    for bound in (0.5, 0.7):
        kept = scores >= bound
        error = errors[kept & faces].mean()
        print(
            f"at {bound}: faces kept {kept[faces].mean():.1%}, no faces kept "
            f"{kept[~faces].mean():.1%}, mean error of kept faces {error:.2f} %"
        )


if __name__ == "__main__":
    main()
