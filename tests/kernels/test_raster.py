from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamprn.kernels import raster
from tests.reference import geometry
from tests.reference.meshes import grid_triangles, sphere_mesh


def flat_grid(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of a regular grid over 0..1 and its triangles."""
    y, x = np.mgrid[:rows, :columns]
    vertices = np.stack([x / (columns - 1), y / (rows - 1), 0 * x], -1).reshape(-1, 3)
    return vertices.astype(np.float32), grid_triangles(np.ones((rows, columns), bool))[1]


@given(
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([1.0, 3.0, 12.0, 60.0]),
    height=st.integers(1, 22),
    width=st.integers(1, 26),
)
@settings(max_examples=120, deadline=None)
def test_depth_and_rasterise_are_their_numpy_twin(seed, spread, height, width):
    rng = np.random.default_rng(seed)
    centre = rng.uniform(-4, 28, (24, 1, 3))
    vertices = (centre + rng.normal(0, spread, (24, 3, 3))).reshape(-1, 3).astype(np.float32)
    triangles = np.arange(72, dtype=np.int32).reshape(-1, 3)
    depth, owner, weights = geometry.rasterise(vertices, triangles, height, width)
    drawn = raster.rasterise(vertices, triangles, height, width)
    same = drawn.triangle == owner  # a pixel on an edge may round to either side
    assert same.mean() > 0.97 or (~same).sum() <= 2
    covered = same & (owner >= 0)
    np.testing.assert_allclose(drawn.depth[covered], depth[covered], atol=2e-2)
    steep = 1e-2 + 1e-4 * spread
    assert (
        np.quantile(np.abs(drawn.barycentric - weights)[covered].ravel(), 0.9) < steep
        if (covered.any())
        else True
    )
    image = raster.depth(vertices, triangles, height, width)
    assert np.array_equal(image, drawn.depth, equal_nan=True)


@pytest.mark.parametrize("cells", [(7, 9), (60, 80), (260, 300)])
@pytest.mark.parametrize("shift", [0.0, 0.37])
def test_a_grid_is_watertight_and_its_plane_exact(cells, shift):
    height, width = 100, 120
    vertices, triangles = flat_grid(*cells)
    vertices = vertices * np.float32([width - 1 + 2 * shift, height - 1 + 2 * shift, 0])
    vertices -= np.float32(shift)
    vertices[:, 2] = 0.25 * vertices[:, 0] - 0.5 * vertices[:, 1] + 80
    depth = raster.depth(vertices, triangles, height, width)
    rows, columns = np.mgrid[:height, :width]
    np.testing.assert_allclose(depth, 0.25 * columns - 0.5 * rows + 80, atol=2e-3)


@given(seed=st.integers(0, 2**31), cells=st.sampled_from([5, 30, 90]))
@settings(max_examples=40, deadline=None)
def test_a_crumpled_grid_has_no_holes(seed, cells):
    rng = np.random.default_rng(seed)
    vertices, triangles = flat_grid(cells, cells)
    inner = ((vertices[:, :2] > 0.001) & (vertices[:, :2] < 0.999)).all(axis=1)
    vertices[inner, :2] += rng.uniform(-0.9, 0.9, (inner.sum(), 2)).astype(np.float32) / cells
    vertices[:, :2] = vertices[:, :2] * 45 - 1
    assert np.isfinite(raster.depth(vertices, triangles, 44, 44)).all()


def test_vertices_on_pixel_centres_leave_no_gap():
    vertices, triangles = flat_grid(33, 33)
    vertices *= np.float32(32)
    drawn = raster.rasterise(vertices, triangles, 33, 33)
    assert (drawn.triangle >= 0).all()


def test_depth_of_a_sphere_is_its_front():
    vertices, triangles = sphere_mesh(96, 192)
    vertices = vertices * np.float32([60, -60, 60]) + np.float32([80.3, 70.6, 60])
    depth = raster.depth(vertices, triangles, 140, 160)
    rows, columns = np.mgrid[:140, :160]
    square = 60**2 - (columns - 80.3) ** 2 - (rows - 70.6) ** 2
    inner = square > 20**2
    np.testing.assert_allclose(depth[inner], 60 + np.sqrt(square[inner]), atol=0.1)
    assert np.isnan(depth[square < -1]).all()


def test_the_nearer_surface_wins_in_either_order():
    square = np.float32([[0, 0, 1], [9, 0, 1], [0, 9, 1], [9, 9, 1]])
    vertices = np.vstack([square, square + np.float32([0, 0, 4])])
    near, far = np.int32([[4, 6, 5], [5, 6, 7]]), np.int32([[0, 2, 1], [1, 2, 3]])
    for triangles in (np.vstack([near, far]), np.vstack([far, near])):
        assert (raster.depth(vertices, triangles, 10, 10) == 5).all()


def test_of_equal_depths_the_earlier_triangle_stays():
    square = np.float32([[0, 0, 1], [40, 0, 1], [0, 40, 1]])
    triangles = np.zeros((3, 3), np.int32) + np.int32([0, 2, 1])
    drawn = raster.rasterise(square, triangles, 12, 12)
    assert (drawn.triangle == 0).all()


def test_merge_keeps_the_nearer_of_two_faces(face):
    left, right = face.in_frame(20, 24, 30), face.in_frame(34, 24, 30)
    right[:, 2] += 3
    alone = [raster.rasterise(v, face.triangles, 48, 56) for v in (left, right)]
    expected = np.fmax(alone[0].depth, alone[1].depth)
    depth = raster.depth(left, face.triangles, 48, 56)
    raster.depth(right, face.triangles, 48, 56, depth, merge=True)
    assert np.array_equal(depth, expected, equal_nan=True)
    both = raster.rasterise(left, face.triangles, 48, 56)
    raster.rasterise(right, face.triangles, 48, 56, both, merge=True)
    assert np.array_equal(both.depth, expected, equal_nan=True)
    from_right = ~(alone[0].depth >= alone[1].depth) & (alone[1].triangle >= 0)
    assert np.array_equal(both.triangle[from_right], alone[1].triangle[from_right])
    assert np.array_equal(both.barycentric[~from_right], alone[0].barycentric[~from_right])


def test_out_is_cleared_without_merge(face):
    vertices = face.in_frame(20, 20, 30)
    out = np.full((40, 40), 1e9, np.float32)
    assert raster.depth(vertices, face.triangles, 40, 40, out) is out
    expected = raster.depth(vertices, face.triangles, 40, 40)
    assert np.array_equal(out, expected, equal_nan=True)


def test_barycentric_coordinates_return_the_pixel(face):
    vertices = face.in_frame(30, 25, 90)
    drawn = raster.rasterise(vertices, face.triangles, 50, 60)
    rows, columns = np.nonzero(drawn.triangle >= 0)
    weights = drawn.barycentric[rows, columns]
    weights = np.column_stack([weights, 1 - weights.sum(axis=1)])
    corners = vertices[face.triangles[drawn.triangle[rows, columns]]]
    points = (weights[..., None] * corners).sum(axis=1)
    np.testing.assert_allclose(points[:, :2], np.column_stack([columns, rows]), atol=1e-2)
    np.testing.assert_allclose(points[:, 2], drawn.depth[rows, columns], atol=5e-2)


def test_zero_area_triangles_draw_nothing():
    vertices = np.float32([[1, 1, 5], [8, 8, 5], [4, 4, 5], [3, 1, 2]])
    triangles = np.int32([[0, 1, 2], [0, 0, 3], [3, 3, 3]])
    assert np.isnan(raster.depth(vertices, triangles, 10, 10)).all()


@pytest.mark.parametrize("shift", [(-500, 0), (0, 900), (700, 0), (0, -300)])
def test_a_face_wholly_outside_draws_nothing(face, shift):
    vertices = face.in_frame(20 + shift[0], 20 + shift[1], 40)
    assert np.isnan(raster.depth(vertices, face.triangles, 48, 64)).all()


def test_a_triangle_far_beyond_the_frame_covers_it():
    vertices = np.float32([[-1e9, -1e9, 2], [1e9, -1e9, 2], [0, 2e9, 2]])
    assert (raster.depth(vertices, np.int32([[0, 1, 2]]), 30, 40) == 2).all()


@given(
    vertices=hnp.arrays(np.float32, (9, 3), elements=st.floats(width=32)),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
@settings(max_examples=150, deadline=None)
def test_any_vertices_give_finite_depth_or_background(vertices, height, width):
    triangles = np.int32([[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 4, 8], [2, 2, 7]])
    drawn = raster.rasterise(vertices, triangles, height, width)
    assert not np.isinf(drawn.depth).any()
    assert np.array_equal(np.isnan(drawn.depth), drawn.triangle < 0)
    assert np.isfinite(drawn.barycentric).all()


def test_no_triangles_give_an_empty_image():
    none = np.empty((0, 3), np.int32)
    assert np.isnan(raster.depth(np.empty((0, 3), np.float32), none, 1, 1)).all()
