from __future__ import annotations

import numpy as np
import pytest

from streamprn.kernels import blocks


def in_numpy(plane: np.ndarray, x: int, y: int, shape: tuple[int, int]) -> np.ndarray:
    down, across = shape
    part = plane[y : y + 8 * down, x : x + 8 * across].astype(np.int32)
    return part.reshape(down, 8, across, 8).sum((1, 3))


@pytest.mark.parametrize(("x", "y", "shape"), [(0, 0, (1, 1)), (3, 5, (4, 7)), (13, 0, (6, 6))])
def test_sums_are_those_of_numpy(x, y, shape):
    padded = np.random.default_rng(x).integers(0, 256, (53, 80), np.uint8)
    plane = padded[:, :61]
    assert np.array_equal(blocks.sums(plane, x, y, shape), in_numpy(plane, x, y, shape))


def test_sums_of_white_do_not_overflow():
    white = np.full((16, 24), 255, np.uint8)
    assert np.array_equal(blocks.sums(white, 0, 0, (2, 3)), np.full((2, 3), 64 * 255))


def test_sums_go_into_the_array_that_is_given():
    out = np.zeros((1, 2), np.int32)
    assert blocks.sums(np.ones((8, 16), np.uint8), 0, 0, (1, 2), out) is out
    assert out.tolist() == [[64, 64]]


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (0, -1), (1, 0), (0, 1)])
def test_blocks_outside_are_refused(x, y):
    with pytest.raises(ValueError, match="leave the 16x8 plane"):
        blocks.sums(np.zeros((8, 16), np.uint8), x, y, (1, 2))
