"""What an evaluation leaves behind: a table of every picture, a curve, and the worst pictures."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamprn.apps import images
from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamprn.apps.evaluation import Score
    from streamprn.records import Float64, UInt8


def cumulative_errors(
    scores: Sequence[Score], limit: float = 10.0, steps: int = 201
) -> tuple[Float64, Float64]:
    """Errors, and the part of the pictures with at most that error, `(steps,)` each.

    Errors are those of `Score.error`: NME in percent, or degrees of yaw.

    Pictures without a face found count as beyond every limit.
    """
    errors = np.array([one.error if one.found else np.inf for one in scores])
    at = np.linspace(0.0, limit, steps)
    return at, np.array([float((errors <= value).mean()) for value in at])


def write_csv(path: Path, scores: Sequence[Score]) -> None:
    """One line for every picture."""
    nmes = ("nme_2d", "nme_inner", "nme_eyes", "nme_3d", "nme_dense")
    columns = (*nmes, "pitch", "yaw", "roll", "found_yaw", "milliseconds")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        truths = ("true_pitch", "true_yaw", "true_roll")
        errors = [f"error_{name}" if name in ("pitch", "yaw", "roll") else name for name in columns]
        writer.writerow(["name", "found", *truths, *errors])
        for one in scores:
            angles = [_text(angle, 3) for angle in one.truth.pitch_yaw_roll]
            texts = [_text(getattr(one, name), 4) for name in columns]
            writer.writerow([one.truth.name, int(one.found), *angles, *texts])


def _text(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def write_plot(path: Path, scores: Sequence[Score], title: str) -> None:
    """The cumulative error curve.

    Raises:
        InputError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("the plot needs Matplotlib", hint="pip install matplotlib") from error
    by_landmarks = _know_landmarks(scores)
    at, part = cumulative_errors(scores, 10.0 if by_landmarks else 45.0)
    what = "NME of 68 points, 2D, % of the face's size" if by_landmarks else "error of yaw, degrees"
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(at, 100.0 * part, color="#1769aa", linewidth=2)
    axes.set(xlabel=what, ylabel="pictures, %")
    axes.set(xlim=(0, float(at[-1])), ylim=(0, 100), title=title)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


@dataclass(frozen=True, slots=True)
class SheetRule:
    """How the contact sheet looks: columns, rows, pixels of a tile."""

    columns: int = 6
    rows: int = 4
    tile_px: int = 220
    true_colour: tuple[int, int, int] = field(default=(60, 220, 90))
    found_colour: tuple[int, int, int] = field(default=(235, 70, 60))


def worst(scores: Sequence[Score], count: int) -> list[Score]:
    """Pictures without a face found first, then by falling error."""
    order = sorted(scores, key=lambda one: -one.error if one.found else -math.inf)
    return order[:count]


def _know_landmarks(scores: Sequence[Score]) -> bool:
    return any(one.truth.landmarks is not None for one in scores)


def contact_sheet(
    scores: Sequence[Score],
    rule: SheetRule = SheetRule(),
    load: Callable[[Path], UInt8] = images.read_image,
) -> UInt8:
    """The worst pictures with true (green) and found (red) landmarks, `(H, W, 3)` uint8."""
    chosen = worst(scores, rule.columns * rule.rows)
    rows = max(math.ceil(len(chosen) / rule.columns), 1)
    sheet = np.zeros((rows * rule.tile_px, rule.columns * rule.tile_px, 3), np.uint8)
    for index, one in enumerate(chosen):
        row, column = divmod(index, rule.columns)
        y, x = row * rule.tile_px, column * rule.tile_px
        sheet[y : y + rule.tile_px, x : x + rule.tile_px] = _tile(one, load(one.truth.path), rule)
    return sheet


def _tile(one: Score, image: UInt8, rule: SheetRule) -> UInt8:
    import cv2

    from streamprn.apps.overlays import label

    height, width = image.shape[:2]
    whole = np.array([0, 0, width, height])
    box = whole if one.truth.box_xyxy is None else one.truth.box_xyxy
    x0, y0, x1, y1 = (float(value) for value in box)
    side = 1.6 * max(x1 - x0, y1 - y0)
    zoom = rule.tile_px / side
    shift = 0.5 * rule.tile_px - zoom * np.array([0.5 * (x0 + x1), 0.5 * (y0 + y1)])
    matrix = np.array([[zoom, 0.0, shift[0]], [0.0, zoom, shift[1]]])
    tile = cv2.warpAffine(image, matrix, (rule.tile_px, rule.tile_px), flags=cv2.INTER_AREA)
    layers = [(one.truth.landmarks, rule.true_colour), (one.landmarks, rule.found_colour)]
    for points, colour in layers:
        for point in () if points is None else points[:, :2] * zoom + shift:
            centre = tuple(int(value) for value in np.round(np.clip(point, -1e4, 1e4) * 16))
            cv2.circle(tile, centre, 24, colour, cv2.FILLED, cv2.LINE_AA, 4)
    unit = "degrees" if one.truth.landmarks is None else "%"
    error = f"{one.error:.1f} {unit}" if one.found else "no face"
    label(tile, f"{one.truth.name}  {error}", (4, rule.tile_px - 6), 11.0)
    return np.asarray(tile, np.uint8)
