import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamprn.kernels import pose, uv
from streamprn.kernels.cuda import faces
from tests.cuda.simulator.scene import empty_results, finish, launch, make_scene, restore
from tests.reference.quantise import quantise


@pytest.fixture(scope="module")
def scene():
    return make_scene()


@pytest.fixture(scope="module")
def restored(scene):
    return restore(scene, blocks=2)


def cpu_vertices(scene, face):
    return uv.restore_with_bounds(scene.maps[face], scene.texel, scene.matrices[face])


@pytest.mark.parametrize("face", [0, 1])
def test_restored_vertices_are_those_of_the_cpu(scene, restored, face):
    vertices, box = cpu_vertices(scene, face)
    np.testing.assert_allclose(restored.vertices[face], vertices, atol=2e-5)
    assert restored.vertices[face, :, 2].min() == 0.0
    np.testing.assert_allclose(restored.results[face][[20, 21, 23, 24]], box, atol=1e-5)


@pytest.mark.parametrize("face", [0, 1])
def test_the_pose_solved_on_the_device_is_that_of_the_cpu(scene, restored, face):
    expected = pose.estimate(restored.vertices[face], scene.reference)
    row = restored.results[face]
    np.testing.assert_allclose(row[:9].reshape(3, 3), expected.rotation, atol=2e-5)
    np.testing.assert_allclose(row[9], expected.scale, rtol=2e-5)
    np.testing.assert_allclose(row[10:13], expected.translation, atol=2e-3)
    angles = (expected.yaw, expected.pitch, expected.roll)
    np.testing.assert_allclose(row[13:16], angles, atol=2e-3)
    np.testing.assert_allclose(row[16:20], expected.quaternion, atol=2e-5)
    assert row[26] == 1.0
    assert np.linalg.det(row[:9].reshape(3, 3)) == pytest.approx(1.0)


def test_bounds_in_the_crop_are_those_of_the_map(scene, restored):
    for face in range(scene.faces):
        places = scene.maps[face][scene.texel, :2]
        expected = [*places.min(axis=0), *places.max(axis=0)]
        np.testing.assert_allclose(restored.results[face][27:31], expected, atol=1e-5)


def test_landmarks_are_vertices_with_settled_depth(scene, restored):
    for face in range(scene.faces):
        expected = restored.vertices[face][scene.landmarks]
        np.testing.assert_array_equal(restored.points[face], expected)


def test_quantised_vertices_are_those_of_numpy_bit_by_bit(scene, restored):
    for face in range(scene.faces):
        steps, scale, offset = quantise(restored.vertices[face])
        np.testing.assert_array_equal(restored.steps[face], steps)
        np.testing.assert_array_equal(restored.scale_offset[face], np.stack([scale, offset]))


@given(hnp.arrays(np.float32, (4, 3), elements=st.floats(-1e9, 1e9, width=32)))
@settings(max_examples=40)
def test_whatever_the_vertices_are_their_steps_are_those_of_numpy(vertices):
    settled = vertices.copy()
    settled[:, 2] -= vertices[:, 2].min()
    results = np.zeros((1, faces.RESULT_COLUMNS))
    results[0, 20:23], results[0, 23:26] = vertices.min(axis=0), vertices.max(axis=0)
    found, steps = vertices[None].copy(), np.empty((1, 4, 3), np.int16)
    scale_offset = np.empty((1, 2, 3), np.float32)
    launch(faces.settle_vertices, (1, 1), found, results, True, steps, scale_offset)
    np.testing.assert_array_equal(found[0], settled)
    for ours, theirs in zip((steps[0], *scale_offset[0]), quantise(settled), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_number_of_blocks_changes_nothing_but_rounding(scene, restored):
    once = restore(scene, blocks=1)
    np.testing.assert_array_equal(once.vertices, restored.vertices)
    np.testing.assert_allclose(once.results, restored.results, atol=1e-4)


def test_the_unit_of_the_map_scales_the_crop():
    halved = make_scene(8, 1)
    expected = cpu_vertices(halved, 0)[0]
    halved.maps *= np.float32(0.5)
    np.testing.assert_allclose(restore(halved, unit=2.0).vertices[0], expected, atol=2e-5)


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_positions_that_are_not_finite_count_as_zero(bad):
    scene = make_scene(8, 1)
    scene.maps[0, scene.texel[::3], 1] = bad
    found = restore(scene)
    np.testing.assert_allclose(found.vertices[0], cpu_vertices(scene, 0)[0], atol=2e-5)
    assert np.isfinite(found.results).all()


def test_a_face_without_extent_gets_the_identity(scene):
    flat = make_scene(8, 1)
    flat.maps[:] = 20.0
    found = restore(flat)
    np.testing.assert_array_equal(found.results[0, :9].reshape(3, 3), np.eye(3))
    assert found.results[0, 9] == 1.0
    assert found.results[0, 26] == 0.0
    assert np.isfinite(found.results).all()


def test_a_crop_that_is_not_finite_gives_zeros_and_no_nan():
    scene = make_scene(8, 1)
    scene.matrices[0, 0, 0] = np.nan
    found = restore(scene)
    assert (found.vertices == 0).all()
    assert np.isfinite(found.results).all()


def test_a_map_without_one_finite_number_is_a_face_without_extent():
    scene = make_scene(8, 1)
    scene.maps[:] = np.nan
    found = restore(scene)
    assert np.isfinite(found.results).all()
    assert found.results[0, 26] == 0.0
    np.testing.assert_array_equal(found.results[0, 27:31], 0.0)
    np.testing.assert_array_equal(found.steps[0], 0)


def test_the_subdivision_operator_gives_the_map_of_the_cpu(scene):
    rng = np.random.default_rng(3)
    points, control, n = 9, 14, scene.vertices
    counts = rng.integers(1, 5, control)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    operator = uv.Operator(
        indptr1=indptr,
        indices1=rng.integers(0, points, indptr[-1]).astype(np.int32),
        weights1=rng.uniform(0, 1, indptr[-1]).astype(np.float32),
        indices2=rng.integers(0, control, (n, 3)).astype(np.int32),
        weights2=rng.dirichlet([1, 1, 1], n).astype(np.float32),
        texel=scene.texel,
    )
    network = rng.uniform(0, 60, (2, points, 3)).astype(np.float32)
    network[:, points - 1] = 1.0
    unit = np.array([[1, 1, -1], [-0.5, -0.5, 0]], np.float32)
    places = np.zeros((2, control, 3), np.float32)
    launch(
        faces.subdivide_control,
        (1, 2),
        network,
        unit,
        operator.indptr1,
        operator.indices1,
        operator.weights1,
        places,
    )
    out = empty_results(scene, 2)
    launch(
        faces.restore_control,
        (2, 2),
        places,
        operator.indices2,
        operator.weights2,
        scene.matrices,
        scene.reference.table,
        out.vertices,
        out.partial,
    )
    finish(scene, out)
    padded = np.zeros((2, max(points, operator.point_count), 3), np.float32)
    padded[:, :points] = network * unit[0] + unit[1]
    for face, corners in enumerate(uv.control_points(padded, operator)):
        position_map = uv.position_map_of(corners, operator)
        expected, _ = uv.restore_with_bounds(position_map, scene.texel, scene.matrices[face])
        np.testing.assert_allclose(out.vertices[face], expected, atol=1e-4)
