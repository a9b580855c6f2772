"""Pose in the frame of a camera, of vertices that a known camera saw."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamprn.camera import Camera
from streamprn.kernels import perspective, pose
from tests.reference.meshes import face_mesh

FACE = face_mesh(60)
WEIGHTS = np.random.default_rng(0).random(len(FACE.canonical)).astype(np.float32)
EYES = np.array([0, 1], np.int32), np.array([50, 51], np.int32)
WEAK = pose.Reference(FACE.canonical, WEIGHTS)
METRIC = perspective.MetricReference(FACE.canonical, WEIGHTS, EYES)
CAMERA = Camera.of_view(70, 640, 480)
UNIT = CAMERA.pupil_distance_mm / METRIC.pupil_distance
#: About the size of the face, so that distances in the tests are those of rooms.
SIZE = float(np.ptp(FACE.canonical, axis=0).max()) * UNIT


def seen_by(camera: Camera, rotation: np.ndarray, eyes_mm: np.ndarray, unit: float = UNIT):
    """The canonical shape as OpenCV's camera model shows it, `(N, 3)` float32."""
    turned = unit * ((FACE.canonical.astype(float) - METRIC.eyes) @ rotation.T) * (1, -1, -1)
    points = turned + eyes_mm
    matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])
    lens = np.array(camera.distortion)
    flat, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, lens)
    depth = (points[:, 2].max() - points[:, 2]) * camera.fx / eyes_mm[2]
    return np.column_stack([flat.reshape(-1, 2), depth]).astype(np.float32)


def find(vertices: np.ndarray, camera: Camera = CAMERA):
    return perspective.refine(vertices, METRIC, camera, pose.estimate(vertices, WEAK))


def degrees_between(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(one @ other.T) - 1) / 2, -1, 1))))


@given(
    st.floats(-75, 75), st.floats(-35, 35), st.floats(-180, 180),
    st.floats(2, 20), st.floats(-0.5, 0.5), st.floats(-0.4, 0.4),
)  # fmt: skip
@settings(max_examples=100)
def test_a_face_is_found_where_it_was(yaw, pitch, roll, away, x, y):
    rotation = pose.rotation_from_euler(yaw, pitch, roll)
    eyes = away * SIZE * np.array([x, y, 1.0])
    found = find(seen_by(CAMERA, rotation, eyes))
    assert degrees_between(found.rotation, rotation) < 0.01
    np.testing.assert_allclose(found.eyes_mm, eyes, atol=2e-4 * eyes[2])
    assert found.error_px < 0.05
    assert found.mm_per_unit == pytest.approx(UNIT)


def test_the_weak_perspective_pose_errs_by_the_viewing_angle_and_this_one_does_not():
    eyes = np.array([0.5, 0, 1.0]) * 8 * SIZE
    vertices = seen_by(CAMERA, np.eye(3), eyes)
    assert abs(pose.estimate(vertices, WEAK).yaw) > 5
    assert abs(find(vertices).yaw) < 0.01


def test_angles_and_places_are_those_of_the_same_pose():
    rotation = pose.rotation_from_euler(30, -10, 5)
    found = find(seen_by(CAMERA, rotation, np.array([0.2, 0.1, 1.0]) * 5 * SIZE))
    assert (found.yaw, found.pitch, found.roll) == pytest.approx((30, -10, 5), abs=0.01)
    moved = found.mm_per_unit * (found.rotation @ METRIC.eyes) * (1, -1, -1)
    np.testing.assert_allclose(found.translation_mm + moved, found.eyes_mm, atol=1e-6)
    np.testing.assert_allclose(
        pose.quaternion_from_rotation(found.rotation), found.quaternion, atol=1e-9
    )


def test_a_bent_lens_is_straightened():
    bent = Camera(450, 460, 310, 245, distortion=(-0.28, 0.09, 0.002, -0.001, -0.01))
    rotation = pose.rotation_from_euler(-25, 8, 4)
    eyes = np.array([0.45, -0.3, 1.0]) * 6 * SIZE
    vertices = seen_by(bent, rotation, eyes)
    found = find(vertices, bent)
    assert degrees_between(found.rotation, rotation) < 0.05
    np.testing.assert_allclose(found.eyes_mm, eyes, rtol=2e-3)
    straight = find(vertices, Camera(450, 460, 310, 245))
    assert degrees_between(straight.rotation, rotation) > 1


def test_distance_follows_the_pupils():
    eyes = np.array([0.1, 0.1, 1.0]) * 8 * SIZE
    vertices = seen_by(CAMERA, np.eye(3), eyes)
    child = Camera.of_view(70, 640, 480, pupil_distance_mm=51)
    np.testing.assert_allclose(find(vertices, child).eyes_mm, eyes * 51 / 63, rtol=1e-3)


def test_a_crop_moves_the_principal_point_and_nothing_else():
    vertices = seen_by(CAMERA, np.eye(3), np.array([0.3, 0.2, 1.0]) * 8 * SIZE)
    whole, part = find(vertices), find(vertices - (200, 100, 0), CAMERA.cropped(200, 100))
    np.testing.assert_allclose(part.eyes_mm, whole.eyes_mm, rtol=1e-4)
    assert degrees_between(part.rotation, whole.rotation) < 0.01


def test_vertices_that_are_not_finite_are_left_out():
    rotation = pose.rotation_from_euler(20, 5, 0)
    eyes = np.array([0.2, 0.1, 1.0]) * 8 * SIZE
    vertices = seen_by(CAMERA, rotation, eyes)
    vertices[::7] = np.nan
    vertices[3::11, 0] = np.inf
    found = find(vertices)
    assert degrees_between(found.rotation, rotation) < 0.01


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, 1e30])
def test_vertices_without_a_pose_give_none(value):
    found = find(np.full((len(FACE.canonical), 3), value, np.float32))
    assert np.isnan(found.rotation).all() or np.isfinite(found.rotation).all()
    if not np.isfinite(value):
        assert np.isnan([found.yaw, *found.eyes_mm, found.error_px]).all()


def test_a_camera_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="focal lengths > 0"):
        Camera(0, 500, 320, 240)
    with pytest.raises(ValueError, match="between 0 and 180"):
        Camera.of_view(180, 640, 480)
