from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from streamprn.kernels import uv
from tests.reference import geometry

MATRIX = np.array([[1.2, -0.4, 30], [0.4, 1.2, -7]], np.float32)


def make_operator(points: int = 40, control: int = 90, seed: int = 0) -> uv.Operator:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 9, control)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    texel = np.sort(rng.choice(256 * 256, 500, replace=False)).astype(np.int32)
    return uv.Operator(
        indptr,
        rng.integers(0, points, indptr[-1]).astype(np.int32),
        rng.random(indptr[-1]).astype(np.float32),
        rng.integers(0, control, (500, 3)).astype(np.int32),
        rng.dirichlet([1, 1, 1], 500).astype(np.float32),
        texel,
    )


def test_a_position_map_is_two_sparse_products_of_the_points():
    operator = make_operator()
    points = np.random.default_rng(1).normal(size=(3, 40, 3)).astype(np.float32)
    stage1 = sparse.csr_matrix(
        (operator.weights1, operator.indices1, operator.indptr1), shape=(90, 40)
    )
    rows = np.arange(0, 1501, 3)
    stage2 = sparse.csr_matrix(
        (operator.weights2.ravel(), operator.indices2.ravel(), rows), shape=(500, 90)
    )
    for control, face in zip(uv.control_points(points, operator), points, strict=True):
        one = uv.position_map_of(control, operator)
        expected = stage2 @ (stage1 @ face)
        flat = one.reshape(-1, 3)
        np.testing.assert_allclose(flat[operator.texel], expected, rtol=1e-4, atol=1e-4)
        outside = np.ones(256 * 256, bool)
        outside[operator.texel] = False
        assert not flat[outside].any()


def test_a_position_map_clears_what_out_held():
    operator = make_operator()
    control = uv.control_points(np.ones((1, 40, 3), np.float32), operator)[0]
    out = np.full((256, 256, 3), np.nan, np.float32)
    assert uv.position_map_of(control, operator, out) is out
    assert np.array_equal(out, uv.position_map_of(control, operator))


def test_too_few_points_for_the_operator_are_refused():
    operator = make_operator()
    with pytest.raises(ValueError, match="points must be"):
        uv.control_points(np.zeros((1, operator.point_count - 1, 3), np.float32), operator)


def test_operator_check_finds_an_index_outside():
    operator = make_operator()
    operator.check()
    operator.indices2[7, 1] = 90
    with pytest.raises(ValueError, match="contradict"):
        operator.check()


def test_operator_check_finds_weights_that_are_no_mean():
    operator = make_operator()
    operator.weights2[7, 1] += 0.1
    with pytest.raises(ValueError, match="contradict"):
        operator.check()


def test_combine_is_a_sparse_product_with_a_lane_of_zeros():
    operator = make_operator()
    points = np.random.default_rng(1).normal(size=(2, 40, 3)).astype(np.float32)
    rows = (operator.indptr1, operator.indices1, operator.weights1)
    matrix = sparse.csr_matrix(rows[::-1], shape=(90, 40))
    sums = uv.combine(points, *rows)
    np.testing.assert_allclose(sums[..., :3], [matrix @ face for face in points], atol=1e-5)
    assert not sums[..., 3].any()
    square = sparse.csr_matrix((rows[2], rows[1] % 40, rows[0]), shape=(90, 40))[:40]
    again = uv.combine(sums[:, :40], square.indptr, square.indices, square.data)
    np.testing.assert_allclose(again[..., :3], [square @ s[:40, :3] for s in sums], atol=1e-5)


def control_of_a_face(operator: uv.Operator) -> np.ndarray:
    points = np.random.default_rng(1).normal(60, 30, (1, 40, 3)).astype(np.float32)
    return uv.control_points(points, operator)[0]


def test_restoring_from_control_points_is_restoring_their_position_map():
    operator = make_operator()
    control = control_of_a_face(operator)
    vertices, box = uv.restore_control(control, operator, MATRIX)
    position_map = uv.position_map_of(control, operator)
    expected = geometry.restore(position_map, operator.texel, MATRIX.astype(float))
    np.testing.assert_allclose(vertices, expected, atol=1e-3)
    assert vertices[:, 2].min() == 0
    assert np.array_equal(box, uv.bounds(vertices))


def test_the_outline_holds_every_vertex_and_gives_the_chosen_ones():
    operator = make_operator()
    control = control_of_a_face(operator)
    chosen = np.array([3, 499, 77])
    box, some = uv.outline(control, operator.indices2[chosen], operator.weights2[chosen])
    vertices = uv.position_map_of(control, operator).reshape(-1, 3)[operator.texel]
    np.testing.assert_allclose(some, vertices[chosen], atol=1e-4)
    assert np.array_equal(box, uv.bounds(control[:, :3]))
    tight = uv.bounds(vertices)
    assert (box[:2] <= tight[:2] + 1e-4).all()
    assert (box[2:] >= tight[2:] - 1e-4).all()


def test_a_map_whose_mask_ends_with_the_last_texel_stays_within_its_array():
    operator = make_operator()
    operator.texel[-2:] = 256 * 256 - 2, 256 * 256 - 1
    guarded = np.full(256 * 256 * 3 + 4, 7, np.float32)
    out = guarded[:-4].reshape(256, 256, 3)
    uv.position_map_of(control_of_a_face(operator), operator, out)
    assert (guarded[-4:] == 7).all()


def test_restoring_stays_within_its_array():
    operator = make_operator()
    guarded = np.full(504 * 3, 7, np.float32)
    out = guarded[:1500].reshape(500, 3)
    vertices, _ = uv.restore_control(control_of_a_face(operator), operator, MATRIX, out)
    assert vertices is out
    assert (guarded[1500:] == 7).all()


def test_control_points_of_another_operator_are_refused():
    with pytest.raises(ValueError, match="control must be"):
        uv.restore_control(np.zeros((89, 4), np.float32), make_operator(), MATRIX)


@given(
    values=hnp.arrays(np.float32, (90, 4), elements=st.floats(width=32)),
    matrix=hnp.arrays(np.float32, (2, 3), elements=st.floats(width=32)),
)
@settings(max_examples=60)
def test_restoring_from_any_control_points_is_finite(values, matrix):
    vertices, box = uv.restore_control(values, make_operator(), matrix)
    assert np.isfinite(vertices).all()
    assert np.isfinite(box).all()


def test_restore_is_its_numpy_twin(face):
    maps = np.random.default_rng(2).normal(60, 30, (256, 256, 3)).astype(np.float32)
    vertices, _ = uv.restore_with_bounds(maps, face.texel, MATRIX)
    expected = geometry.restore(maps, face.texel, MATRIX.astype(float))
    np.testing.assert_allclose(vertices, expected, atol=2e-4)
    assert vertices[:, 2].min() == 0


def test_scatter_then_restore_by_the_identity_returns_the_vertices(face):
    vertices = face.in_frame(50, 40, 30)
    position_map = uv.scatter(vertices, face.texel)
    back, _ = uv.restore_with_bounds(position_map, face.texel, np.eye(3)[:2])
    np.testing.assert_allclose(back, vertices, atol=1e-5)


def test_restore_with_bounds_gives_the_box_of_its_vertices(face):
    maps = np.random.default_rng(3).normal(60, 30, (256, 256, 3)).astype(np.float32)
    vertices, box = uv.restore_with_bounds(maps, face.texel, MATRIX)
    assert np.array_equal(box, uv.bounds(vertices))
    assert np.array_equal(box, np.concatenate([vertices.min(0)[:2], vertices.max(0)[:2]]))


@given(
    values=hnp.arrays(np.float32, (9, 3), elements=st.floats(width=32)),
    matrix=hnp.arrays(np.float32, (2, 3), elements=st.floats(width=32)),
)
@settings(max_examples=80)
def test_restore_and_bounds_of_anything_are_finite(values, matrix):
    maps = np.zeros((256, 256, 3), np.float32)
    texel = np.arange(9, dtype=np.int32)
    maps.reshape(-1, 3)[texel] = values
    vertices, box = uv.restore_with_bounds(maps, texel, matrix)
    assert np.isfinite(vertices).all()
    assert np.isfinite(box).all()
    assert np.isfinite(uv.bounds(values)).all()


def test_entries_that_are_not_finite_count_as_zero():
    maps = np.full((256, 256, 3), np.nan, np.float32)
    texel = np.array([0, 5], np.int32)
    maps[0, 5] = 10, 20, 30
    vertices, _ = uv.restore_with_bounds(maps, texel, np.eye(3)[:2])
    assert vertices.tolist() == [[0, 0, 0], [10, 20, 30]]


def test_bounds_without_a_finite_vertex_are_zero():
    assert not uv.bounds(np.full((4, 3), np.nan, np.float32)).any()
    assert not uv.bounds(np.empty((0, 3), np.float32)).any()


def test_an_empty_mask_gives_no_vertices_and_no_error():
    position_map = np.ones((256, 256, 3), np.float32)
    none = np.zeros(0, np.int32)
    vertices, box = uv.restore_with_bounds(position_map, none, MATRIX)
    assert vertices.shape == (0, 3)
    assert box.tolist() == [0, 0, 0, 0]
