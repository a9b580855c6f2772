from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    seed=st.integers(0, 99),
    most=st.sampled_from([0, 3, 64 * 255]),
)
def test_change_is_that_of_numpy(shape, seed, most):
    before, now = np.random.default_rng(seed).integers(0, most + 1, (2, *shape), np.int32)
    largest, contrast = blocks.change(before, now)
    assert largest == np.abs(now - before).max()
    assert contrast == pytest.approx(before.std(), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("shapes", [((1, 2), (2, 1)), ((0, 3), (0, 3))])
def test_change_of_different_blocks_or_none_is_refused(shapes):
    with pytest.raises(ValueError, match="blocks of shapes"):
        blocks.change(*(np.zeros(shape, np.int32) for shape in shapes))
