"""Labels stay inside of the picture, and are as large in it whatever its size."""

from __future__ import annotations

import numpy as np
import pytest

from streamprn.apps.overlays import label

TEXT = "yaw +12  pitch -3  roll +100"


def written(width: int, height: int, at: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    canvas = np.full((height, width, 3), 128, np.uint8)
    label(canvas, TEXT, at)
    rows, columns, _ = np.nonzero(canvas > 200)
    return rows, columns


@pytest.mark.parametrize(
    "at", [(-500.0, -500.0), (5000.0, 5000.0), (500.0, 0.0), (0.0, 380.0), (np.nan, np.inf)]
)
def test_a_label_is_written_whole_wherever_it_is_asked_for(at: tuple[float, float]) -> None:
    rows, columns = written(512, 384, (100.0, 200.0))
    again_rows, again_columns = written(512, 384, at)
    assert np.ptp(again_rows) == np.ptp(rows)
    assert abs(int(np.ptp(again_columns)) - int(np.ptp(columns))) <= 1
    assert again_rows.min() >= 1 and again_columns.min() >= 1
    assert again_rows.max() < 383 and again_columns.max() < 511


def test_labels_are_as_large_in_every_picture() -> None:
    parts = []
    for side in (512, 1024, 4096):
        _, columns = written(side, side, (0.1 * side, 0.5 * side))
        parts.append(np.ptp(columns) / side)
    np.testing.assert_allclose(parts, parts[0], rtol=0.15)


@pytest.mark.parametrize("size", [(40, 30), (8, 8), (1, 1), (600, 10)])
def test_small_pictures_take_what_fits(size: tuple[int, int]) -> None:
    canvas = np.full((size[1], size[0], 3), 128, np.uint8)
    label(canvas, TEXT, (5.0, 5.0))
    assert canvas.shape == (size[1], size[0], 3)
