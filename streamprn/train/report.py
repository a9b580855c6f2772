"""What a run shows of itself: samples with their labels, faces as it sees them, its curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from streamprn.errors import StreamPRNError

if TYPE_CHECKING:
    from pathlib import Path

    from streamprn.records import Float32, UInt8
    from streamprn.train.samples import Batch

SAMPLES, FACES, CURVES, WORST = "samples.png", "faces.png", "curves.png", "worst.png"
_TILE, _COLUMNS = 192, 8
_TRUE, _FOUND = (0, 220, 0), (255, 60, 0)
_MISSES = 16
# Of the vertices of a map about so many are drawn.
_DRAWN = 468


@dataclass(frozen=True, slots=True)
class Miss:
    """A face that the network gets wrong.

    Attributes:
        error: of its landmarks, in parts of their box.
        image: `(S, S, 3)` uint8 RGB.
        true: `(468, 3)` its label, as in `Batch.points`.
        found: `(468, 3)` what the network says.
    """

    error: float
    image: UInt8
    true: Float32
    found: Float32


def worst_of(worst: list[Miss], batch: Batch, found: Float32, errors: list[float]) -> list[Miss]:
    """The largest errors of these and a batch's, the largest first."""
    rows = zip(errors, batch.images, batch.points, found, strict=True)
    misses = worst + [Miss(*row) for row in rows]
    return sorted(misses, key=lambda miss: -miss.error)[:_MISSES]


def write_worst(path: Path, worst: list[Miss]) -> None:
    """Each face twice: with its label, and beside it with what the network says."""
    write_sheet(
        path,
        [
            tile(miss.image, (points, colour))
            for miss in worst
            for points, colour in ((miss.true, _TRUE), (miss.found, _FOUND))
        ],
    )


def tile(image: UInt8, *drawn: tuple[Float32, tuple[int, int, int]]) -> UInt8:
    """A picture with points drawn on it.

    Args:
        image: `(S, S, 3)` uint8 RGB.
        drawn: points `(468, 3)` as in `Batch.points`, each with its colour.
    """
    large = cv2.resize(image, (_TILE, _TILE))
    for points, colour in drawn:
        some = np.asarray(points)[:: max(1, len(points) // _DRAWN), :2]
        for x, y in (some + 1) * (_TILE / 2) - 0.5:
            cv2.circle(large, (round(float(x)), round(float(y))), 1, colour, -1)
    return np.asarray(large, np.uint8)


def write_sheet(path: Path, tiles: list[UInt8]) -> None:
    """Tiles row by row, as one picture."""
    from streamprn.apps.images import write_image

    rows = -(-len(tiles) // _COLUMNS)
    blank = np.zeros((_TILE, _TILE, 3), np.uint8)
    tiles = tiles + [blank] * (rows * _COLUMNS - len(tiles))
    lines = [np.concatenate(tiles[k : k + _COLUMNS], 1) for k in range(0, len(tiles), _COLUMNS)]
    write_image(path, np.concatenate(lines))


def write_samples(path: Path, batch: Batch) -> None:
    """Training samples; those without points are no faces."""
    kinds = zip(batch.images, batch.points, batch.is_face, strict=True)
    write_sheet(
        path,
        [tile(image, *([(points, _TRUE)] if is_face else [])) for image, points, is_face in kinds],
    )


def write_faces(path: Path, batches: list[Batch], found: list[Float32]) -> None:
    """The first held-out faces at each angle: what the network finds over the labels.

    Args:
        path: of the picture.
        batches: one for each angle.
        found: `(B, 468, 3)` of each.
    """
    write_sheet(
        path,
        [
            tile(image, (true, _TRUE), (ours, _FOUND))
            for batch, points in zip(batches, found, strict=True)
            for image, true, ours in zip(
                batch.images[:_COLUMNS], batch.points, points, strict=False
            )
        ],
    )


def write_curves(path: Path, history: list[dict[str, Any]]) -> None:
    """Error on held-out faces by samples seen, one line an angle.

    Raises:
        StreamPRNError: there is no Matplotlib.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise StreamPRNError(
            "Matplotlib is missing: no curves", hint="pip install 'streamprn[train]'"
        ) from error
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    seen = [entry["samples"] / 1000 for entry in history]
    for yaw in history[-1]["error_percent"]:
        label = "as in the picture" if yaw == "own" else f"yaw {yaw}"
        axes.plot(seen, [entry["error_percent"][yaw] for entry in history], ".-", label=label)
    axes.set(xlabel="thousand samples", ylabel="error of 68 landmarks, % of their box")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
