from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from streamprn.kernels import pose
from tests.reference import geometry
from tests.reference.meshes import face_mesh

FACE = face_mesh(40)
WEIGHTS = np.random.default_rng(0).random(len(FACE.canonical)).astype(np.float32)
REFERENCE = pose.Reference(FACE.canonical, WEIGHTS)
FLIP = np.array([1, -1, 1])

angle = st.floats(-180, 180)


def frame_vertices(rotation, scale=120.0, translation=(300, 200, 50)):
    """Canonical vertices seen by the camera: frame pixels, y down."""
    seen = scale * (FACE.canonical.astype(float) @ rotation.T) * FLIP + translation
    return seen.astype(np.float32)


def quaternions():
    numbers = st.floats(-1, 1)
    return st.tuples(numbers, numbers, numbers, numbers).filter(
        lambda q: sum(v * v for v in q) > 1e-3
    )


@given(quaternions())
@settings(max_examples=100)
def test_pose_of_a_rotated_canonical_shape_is_that_rotation(quaternion):
    rotation = Rotation.from_quat(quaternion).as_matrix()
    found = pose.estimate(frame_vertices(rotation), REFERENCE)
    np.testing.assert_allclose(found.rotation, rotation, atol=2e-5)
    np.testing.assert_allclose(found.translation, [300, 200, 50], atol=2e-3)
    assert found.scale == pytest.approx(120, rel=1e-5)
    expected = Rotation.from_matrix(rotation).as_quat(canonical=True, scalar_first=True)
    assert abs(abs(found.quaternion @ expected) - 1) < 1e-8
    assert found.quaternion[0] >= 0


@pytest.mark.parametrize("yaw", [*range(-175, 180, 10), -90, 90, 180])
def test_yaw_is_found_all_the_way_round(yaw):
    rotation = pose.rotation_from_euler(yaw, 12, -7)
    found = pose.estimate(frame_vertices(rotation), REFERENCE)
    np.testing.assert_allclose(found.rotation, rotation, atol=2e-5)
    if abs(yaw) != 90:
        assert found.yaw == pytest.approx(yaw, abs=0.02) or abs(yaw) == 180
        assert found.pitch == pytest.approx(12, abs=0.02)
        assert found.roll == pytest.approx(-7, abs=0.02)


def test_euler_angles_follow_the_aflw_convention():
    rotation = pose.rotation_from_euler(30, 20, 10)
    assert np.degrees(np.arctan2(rotation[1, 2], rotation[2, 2])) == pytest.approx(20)
    assert np.degrees(np.arcsin(-rotation[0, 2])) == pytest.approx(30)
    assert np.degrees(np.arctan2(rotation[0, 1], rotation[0, 0])) == pytest.approx(10)


def test_euler_signs_are_those_of_the_picture():
    nose = np.array([[0.0, 0.0, 1.0]])
    brow = np.array([[0.0, 1.0, 0.0]])

    def seen(points, **angles):
        rotation = pose.rotation_from_euler(**({"yaw": 0, "pitch": 0, "roll": 0} | angles))
        return (points @ rotation.T * FLIP)[0]

    assert seen(nose, yaw=30)[0] < 0  # to the left of the picture
    assert seen(nose, pitch=20)[1] < 0  # upwards
    assert seen(brow, roll=10)[0] > 0  # the crown leans to the right of the picture


@given(yaw=angle, pitch=st.floats(-89, 89), roll=st.floats(-179, 179))
@settings(max_examples=150)
def test_euler_angles_survive_the_rotation_matrix(yaw, pitch, roll):
    rotation = pose.rotation_from_euler(yaw, pitch, roll)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    angles = pose.euler_from_rotation(rotation)
    np.testing.assert_allclose(pose.rotation_from_euler(*angles), rotation, atol=2e-5)
    if abs(abs(yaw) - 90) > 0.01:
        turn = (np.array(angles) - [yaw, pitch, roll] + 180) % 360 - 180
        assert np.abs(turn).max() < 1e-5


@given(pitch=angle, roll=angle, sign=st.sampled_from([-90, 90]))
@settings(max_examples=40)
def test_gimbal_lock_still_gives_the_rotation(pitch, roll, sign):
    rotation = pose.rotation_from_euler(sign, pitch, roll)
    back = pose.rotation_from_euler(*pose.euler_from_rotation(rotation))
    np.testing.assert_allclose(back, rotation, atol=1e-7)


@pytest.mark.parametrize("yaw", [-90, 90])
@pytest.mark.parametrize("size", [30.0, 400.0])
def test_a_level_profile_has_neither_pitch_nor_roll(yaw, size):
    """Vertices are float32: their rounding must not become an angle."""
    shape = np.random.default_rng(4).normal(size=(500, 3)).astype(np.float32)
    where = pose.rotation_from_euler(yaw, 0.0, 0.0)
    vertices = (size * shape @ where.T * [1, -1, 1] + [321.7, 123.4, 55.5]).astype(np.float32)
    found = pose.estimate(vertices, pose.Reference(shape))
    assert found.yaw == pytest.approx(yaw, abs=0.01)
    assert (found.pitch, found.roll) == pytest.approx((0, 0), abs=0.5)


@given(quaternions())
@settings(max_examples=60)
def test_quaternion_of_a_rotation(quaternion):
    rotation = Rotation.from_quat(quaternion)
    expected = rotation.as_quat(canonical=True, scalar_first=True)
    found = pose.quaternion_from_rotation(rotation.as_matrix())
    assert abs(abs(found @ expected) - 1) < 1e-12
    assert found[0] >= 0


def test_pose_is_its_numpy_twin_on_a_noisy_shape():
    rng = np.random.default_rng(4)
    rotation = pose.rotation_from_euler(40, -25, 15)
    vertices = frame_vertices(rotation) + rng.normal(0, 9, FACE.canonical.shape)
    vertices = vertices.astype(np.float32)
    found = pose.estimate(vertices, REFERENCE)
    expected = geometry.pose(vertices, FACE.canonical, WEIGHTS.astype(float))
    np.testing.assert_allclose(found.rotation, expected[0], atol=1e-5)
    assert found.scale == pytest.approx(expected[1], rel=1e-5)
    np.testing.assert_allclose(found.translation, expected[2] * FLIP, atol=5e-3)


@given(quaternions(), st.integers(0, 2))
@settings(max_examples=60)
def test_mirrored_input_gives_no_reflection(quaternion, axis):
    mirror = np.ones(3)
    mirror[axis] = -1
    rotation = Rotation.from_quat(quaternion).as_matrix() * mirror
    found = pose.estimate(frame_vertices(rotation), REFERENCE)
    assert np.linalg.det(found.rotation) == pytest.approx(1, abs=1e-9)
    assert found.scale > 0


def test_project_puts_the_canonical_shape_on_the_vertices():
    vertices = frame_vertices(pose.rotation_from_euler(100, 30, -50))
    found = pose.estimate(vertices, REFERENCE)
    np.testing.assert_allclose(pose.project(found, FACE.canonical), vertices, atol=5e-3)


def test_vertices_that_are_not_finite_are_left_out():
    rotation = pose.rotation_from_euler(-35, 10, 5)
    vertices = frame_vertices(rotation)
    vertices[::7, 0] = np.nan
    vertices[3::11, 2] = np.inf
    found = pose.estimate(vertices, REFERENCE)
    np.testing.assert_allclose(found.rotation, rotation, atol=2e-5)
    np.testing.assert_allclose(found.translation, [300, 200, 50], atol=2e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 17.0])
def test_vertices_without_extent_give_the_identity(value):
    found = pose.estimate(np.full(FACE.canonical.shape, value, np.float32), REFERENCE)
    assert np.array_equal(found.rotation, np.eye(3))
    assert found.scale == 1
    assert found.translation.tolist() == ([value] * 3 if np.isfinite(value) else [0, 0, 0])
    assert (found.yaw, found.pitch, found.roll) == (0, 0, 0)


def test_far_away_coordinates_keep_their_precision():
    rotation = pose.rotation_from_euler(20, 0, 0)
    found = pose.estimate(frame_vertices(rotation, translation=(7000, 4000, 0)), REFERENCE)
    np.testing.assert_allclose(found.rotation, rotation, atol=2e-5)


@given(hnp.arrays(np.float32, (6, 3), elements=st.floats(width=32)))
@settings(max_examples=100)
def test_pose_of_anything_is_finite(vertices):
    canonical = np.array(
        [[0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0.5, 0.5, 0.5]], np.float32
    )
    found = pose.estimate(vertices, pose.Reference(canonical))
    assert np.isfinite([found.scale, found.yaw, found.pitch, found.roll]).all()
    assert np.isfinite(found.translation).all()
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(3), atol=1e-9)


def test_a_reference_of_another_size_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        pose.estimate(np.zeros((5, 3), np.float32), REFERENCE)


@pytest.mark.parametrize("weights", [-np.ones(4), np.zeros(4), np.full(4, np.nan), np.ones(3)])
def test_bad_weights_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        pose.Reference(np.eye(4, 3, dtype=np.float32), weights)
