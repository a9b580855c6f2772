"""The roll of a head comes from its pose, at any yaw; and a head that is none does not fit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamprn.engines import registry
from streamprn.engines.head import HeadShape
from streamprn.kernels import pose
from tests.support.faces import known_pose

TOPOLOGY = registry.find("facemesh").topology()
SHAPE = HeadShape(TOPOLOGY)
POINTS = TOPOLOGY.canonical[TOPOLOGY.landmarks]


def landmarks(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    where = known_pose(yaw, pitch, roll, scale=7.0, centre_xy=(90.0, 110.0))
    return pose.project(where, POINTS - POINTS.mean(axis=0)).astype(np.float32)


def turned(points: np.ndarray, by: float) -> np.ndarray:
    """Points turned clockwise on the screen, radians."""
    cos, sin = math.cos(by), math.sin(by)
    flat = points[:, :2] @ np.array([[cos, sin], [-sin, cos]])
    return np.column_stack([flat, points[:, 2]]).astype(np.float32)


@pytest.mark.parametrize("yaw", range(-90, 91, 15))
def test_a_head_that_looks_level_is_upright_at_any_yaw(yaw):
    assert math.degrees(SHAPE.fit(landmarks(yaw)).turn) == pytest.approx(0, abs=1.0)


@given(st.floats(-90, 90), st.floats(-30, 30), st.floats(-math.pi, math.pi))
def test_a_head_turned_in_the_picture_has_that_roll_in_addition(yaw, pitch, by):
    plain = landmarks(yaw, pitch)
    first, second = SHAPE.fit(plain), SHAPE.fit(turned(plain, by))
    assert abs(math.remainder(second.turn - first.turn - by, math.tau)) < 1e-3
    assert second.residual == pytest.approx(first.residual, abs=3e-3)


def test_in_front_of_the_camera_the_roll_is_the_line_of_the_eyes():
    points = turned(landmarks(0), 0.3)
    points[45, 1] += 4.0
    line = math.atan2(points[45, 1] - points[36, 1], points[45, 0] - points[36, 0])
    assert SHAPE.fit(points).turn == pytest.approx(line, abs=2e-3)


@pytest.mark.parametrize("yaw", [85, 90, -85])
def test_in_profile_a_corner_of_an_eye_that_is_off_does_not_turn_the_head(yaw):
    points = turned(landmarks(yaw), 0.4)
    points[45, :2] += (-3.0, 5.0)
    line = math.atan2(points[45, 1] - points[36, 1], points[45, 0] - points[36, 0])
    assert abs(line - 0.4) > 0.5
    assert SHAPE.fit(points).turn == pytest.approx(0.4, abs=0.1)


def test_the_head_itself_fits_without_a_rest_and_scattered_points_do_not():
    fitted = SHAPE.fit(landmarks(40, 10, 20))
    assert fitted.residual < 2e-3
    assert fitted.yaw == pytest.approx(40, abs=2)
    spread = math.sqrt((((POINTS - POINTS.mean(axis=0)) * 7.0) ** 2).sum(axis=1).mean())
    assert fitted.size == pytest.approx(spread, rel=1e-3)
    scattered = np.random.default_rng(0).normal(size=(68, 3)).astype(np.float32)
    assert SHAPE.fit(scattered).residual > 1
    assert math.isfinite(SHAPE.fit(np.zeros((68, 3), np.float32)).turn)
