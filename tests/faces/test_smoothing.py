"""The One Euro filter adds the lag that its setting states."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from streamprn.config.document import settings
from streamprn.engines.geometry import FaceGeometry
from streamprn.faces.smooth import Smoother, Smoothing
from streamprn.records import FrameImage, MeshPoints
from tests.support.wire import make_face, make_topology

FPS = 30
IMAGE = FrameImage.from_rgb(np.zeros((1, 1, 3), np.uint8))
STATED = next(item.rule.doc for item in settings() if item.path == "track.smoothing.enabled")


def _lag_ms(speed: float, seconds: float = 10.0) -> float:
    """How late the filtered vertices of a face are that moves at `speed` px/s."""
    smoother = Smoother(Smoothing(), FaceGeometry(make_topology()))
    for frame in range(round(seconds * FPS)):
        x = speed * frame / FPS
        vertices = np.full((4, 3), [x, 50, 9], np.float32)
        face = replace(make_face(1), vertices=vertices)
        (smooth,) = smoother.smooth([face], IMAGE, round(1e9 * (1 + frame / FPS)))
    return 1e3 * (x - float(smooth.vertices[0, 0])) / speed


@pytest.mark.parametrize("speed", [100, 300])
def test_a_moving_face_lags_as_stated(speed):
    stated = re.search(rf"(\d+) ms at {speed} px/s", STATED)
    assert _lag_ms(speed) == pytest.approx(float(stated[1]), abs=1.0)


def test_a_face_at_rest_lags_as_stated():
    stated = re.search(r"(\d+) ms at rest", STATED)
    assert _lag_ms(0.01) == pytest.approx(float(stated[1]), abs=1.0)


def test_smoothing_leaves_the_faces_that_it_is_given_as_they_are():
    smoother = Smoother(Smoothing(), FaceGeometry(make_topology()))
    first, second = make_face(1, seed=0), make_face(1, seed=1)
    before = second.vertices.copy()
    smoother.smooth([first], IMAGE, 1_000_000_000)
    (smooth,) = smoother.smooth([second], IMAGE, 1_033_000_000)
    np.testing.assert_array_equal(second.vertices, before)
    assert np.abs(smooth.vertices - before).max() > 1
    low, high = smooth.vertices.min(axis=0), smooth.vertices.max(axis=0)
    np.testing.assert_allclose(smooth.box_xyxy, [*low[:2], *high[:2]])
    assert (smooth.id, smooth.score, smooth.roi) == (second.id, second.score, second.roi)


def test_the_points_that_blendshapes_come_from_are_smoothed_as_the_vertices_are():
    asked = []

    def expressions(points):
        asked.append(points)
        return np.zeros(52, np.float32)

    geometry = FaceGeometry(make_topology(), expressions=expressions)
    smoother = Smoother(Smoothing(), geometry)
    rng = np.random.default_rng(0)
    for frame in range(30):
        cloud = (50 + rng.normal(0, 1, (200, 3))).astype(np.float32)
        given = MeshPoints(cloud.copy(), 0.5)
        face = replace(make_face(1), vertices=cloud, mesh_points=given)
        (smooth,) = smoother.smooth([face], IMAGE, round(1e9 * (1 + frame / FPS)))
    np.testing.assert_array_equal(given.xyz_px, cloud)
    assert asked == []
    _ = smooth.blendshapes
    ((points, tongue),) = asked
    assert tongue == 0.5
    np.testing.assert_array_equal(points, smooth.vertices)
    assert np.abs(points - cloud).max() > 0.5


def test_a_face_without_points_is_smoothed_and_has_no_blendshapes():
    geometry = FaceGeometry(make_topology(), expressions=lambda points: 1 / 0)
    (smooth,) = Smoother(Smoothing(), geometry).smooth([make_face(1)], IMAGE, 1_000_000_000)
    assert smooth.mesh_points is None
    assert smooth.blendshapes is None
