"""Engines side by side on faces that the renderer of the training turns.

    python benchmarks/turned_faces.py LABELS --engine facemesh facemesh2 prn [--count 100]

LABELS is what `streamprn train label` has made; only its held-out faces are shown. The truth is the
label of the near-frontal picture, turned; the picture is drawn, so what an engine says here is a
hint of what it does with photographs, and one that was trained on such pictures has it easier. For
each yaw: error of the 68 landmarks in percent of their box, and the yaw that the pose reads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from streamprn.apps.reconstruction import Reconstructor
from streamprn.engines.engine import open_engine
from streamprn.train.dataset import Dataset
from streamprn.train.layout import load_layout
from streamprn.train.samples import Sampler

YAWS = (None, 20.0, 40.0, 60.0, 75.0, 90.0)
SIDE = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("--engine", nargs="+", default=["facemesh", "facemesh2"])
    parser.add_argument("--count", type=int, default=100, help="faces (%(default)s)")
    arguments = parser.parse_args()
    sampler = Sampler(Dataset.open(arguments.labels), SIDE, seed=5)
    batches = {yaw: sampler.held_out(yaw, arguments.count) for yaw in YAWS}
    landmarks = load_layout().landmarks
    for name in arguments.engine:
        engine = open_engine(name, threads=1, max_batch=1)
        reconstructor = Reconstructor(engine)
        for yaw, batch in batches.items():
            found, turned, scores = [], [], []
            for image, points in zip(batch.images, batch.points, strict=True):
                true = (points[:, :2] + 1) * (SIDE / 2) - 0.5
                box = np.concatenate([true.min(0), true.max(0)]).astype(np.float32)
                (face,) = reconstructor.reconstruct(image, [box])
                places = landmarks @ true
                size = np.sqrt(np.prod(np.ptp(places, axis=0)))
                away = np.linalg.norm(face.landmarks[:, :2] - places, axis=1)
                found.append(100 * away.mean() / size)
                turned.append(abs(face.pose.yaw))
                scores.append(face.score)
            angle = "own" if yaw is None else f"{yaw:g}"
            print(
                f"{name}, yaw {angle}: error {np.mean(found):.2f} %, "
                f"reads {np.median(turned):.0f} degrees, score {np.mean(scores):.2f}"
            )
        engine.close()


if __name__ == "__main__":
    main()
