"""Points on a face and the likeness of two, against the same written in NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from streamprn.kernels import looks

SIZE_WH = (64, 48)
GRAZING = 0.25


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def face(rng, count=50):
    colours = rng.uniform(0, 255, (3, count)).astype(np.float32)
    return colours, rng.uniform(0, 1, count).astype(np.float32)


def test_points_lie_where_the_landmarks_carry_them(rng):
    carriers = rng.uniform(-1, 1, (40, 9))
    carriers = (carriers / carriers.sum(axis=1, keepdims=True)).astype(np.float32)
    normals = rng.normal(size=(40, 3))
    normals = (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)
    landmarks = rng.uniform(10, 20, (9, 3)).astype(np.float32)
    matrix = np.array([[1.5, -0.4, 9], [0.4, 1.5, 3]], np.float32)
    facing = (0.36, 0.48, 0.8)
    points, weights, total = looks.place(
        carriers, normals, landmarks, facing, matrix, SIZE_WH, GRAZING
    )
    expected = carriers.astype(float) @ landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    assert points == pytest.approx(expected, abs=0.01)
    cosines = normals @ np.array(facing)
    inside = ((points >= 0) & (points < SIZE_WH)).all(axis=1)
    seen = inside & (cosines >= GRAZING)
    assert 0 < seen.sum() < 40
    assert (~inside).any()
    assert weights == pytest.approx(np.where(seen, cosines, 0), abs=1e-5)
    assert total == pytest.approx(weights.sum(), rel=1e-5)


def test_a_point_that_is_not_finite_counts_nothing():
    one = np.ones((1, 1), np.float32)
    normal, landmark = np.array([[0, 0, 1]], np.float32), np.full((1, 3), np.nan, np.float32)
    crop = np.eye(2, 3, dtype=np.float32)
    _, weights, total = looks.place(one, normal, landmark, (0, 0, 1), crop, SIZE_WH, GRAZING)
    assert weights.tolist() == [0]
    assert total == 0


def test_luma_is_normalised_by_what_counts(rng):
    (luma, *_), weights = face(rng)
    expected = luma - np.average(luma, weights=weights)
    expected /= np.sqrt(np.average(expected**2, weights=weights))
    looks.normalise(luma, weights)
    assert luma == pytest.approx(expected, abs=1e-4)


def test_a_wall_is_not_blown_up(rng):
    luma = np.float32(100) + rng.uniform(-0.1, 0.1, 50).astype(np.float32)
    looks.normalise(luma, np.ones(50, np.float32))
    assert np.abs(luma).max() < 0.2


def test_likeness_is_a_weighted_correlation_and_a_distance(rng):
    (one, of_one), (two, of_two) = face(rng), face(rng)
    two[0] += one[0]
    weights = of_one.astype(float) * of_two
    total, correlation, apart = looks.likeness(one, of_one, two, of_two)
    assert total == pytest.approx(weights.sum(), rel=1e-5)
    covariance = np.cov(one[0], two[0], aweights=weights)
    expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert 0.4 < expected < 0.95
    assert correlation == pytest.approx(expected, abs=1e-4)
    expected = np.average(np.linalg.norm(one[1:] - two[1:], axis=0), weights=weights)
    assert apart == pytest.approx(expected, rel=1e-4)


def test_a_face_is_most_like_itself(rng):
    colours, weights = face(rng)
    looks.normalise(colours[0], weights)
    _, correlation, apart = looks.likeness(colours, weights, colours, weights)
    assert correlation == pytest.approx(1, abs=1e-5)
    assert apart == 0


def test_faces_that_share_no_point_have_no_likeness(rng):
    colours, weights = face(rng)
    total, correlation, apart = looks.likeness(colours, weights, colours, np.zeros_like(weights))
    assert total == 0
    assert np.isnan([correlation, apart]).all()
