from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamprn.kernels import raster
from streamprn.kernels._bands import in_bands
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
@settings(max_examples=120)
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
@settings(max_examples=40)
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
@settings(max_examples=150)
def test_any_vertices_give_finite_depth_or_background(vertices, height, width):
    triangles = np.int32([[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 4, 8], [2, 2, 7]])
    drawn = raster.rasterise(vertices, triangles, height, width)
    assert not np.isinf(drawn.depth).any()
    assert np.array_equal(np.isnan(drawn.depth), drawn.triangle < 0)
    assert np.isfinite(drawn.barycentric).all()


def test_no_triangles_give_an_empty_image():
    none = np.empty((0, 3), np.int32)
    assert np.isnan(raster.depth(np.empty((0, 3), np.float32), none, 1, 1)).all()


@given(
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([1.0, 4.0, 30.0]),
    height=st.integers(1, 40),
    threads=st.integers(2, 5),
)
@settings(max_examples=80)
def test_the_image_is_the_same_bit_for_bit_for_any_number_of_threads(seed, spread, height, threads):
    rng = np.random.default_rng(seed)
    centre = rng.uniform(-4, 44, (60, 1, 3))
    vertices = (centre + rng.normal(0, spread, (60, 3, 3))).reshape(-1, 3).astype(np.float32)
    vertices[::7, 2] = 5.0  # equal depths: the earlier triangle wins
    vertices[3] = np.nan
    triangles = np.arange(180, dtype=np.int32).reshape(-1, 3)
    one = raster.rasterise(vertices, triangles, height, 33)
    many = raster.rasterise(vertices, triangles, height, 33, threads=threads)
    for a, b in zip(one, many, strict=True):
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    image = raster.depth(vertices, triangles, height, 33, threads=threads)
    assert np.array_equal(image, one.depth, equal_nan=True)


def test_threads_merge_a_second_face_as_one_does(face):
    left, right = face.in_frame(20, 24, 30), face.in_frame(34, 24, 30)
    images = []
    for threads in (1, 3):
        image = raster.depth(left, face.triangles, 48, 56, threads=threads)
        raster.depth(right, face.triangles, 48, 56, image, merge=True, threads=threads)
        images.append(image)
    assert np.array_equal(*images, equal_nan=True)


@given(
    rows=hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32)),
    height=st.integers(1, 50),
    count=st.integers(1, 16),
)
def test_bands_cover_every_row_once(rows, height, count):
    vertices = np.zeros((len(rows), 3), np.float32)
    vertices[:, 1] = rows
    edges = raster.band_edges(vertices, height, count)
    assert edges[0] == 0
    assert edges[-1] == height
    assert (np.diff(edges) > 0).all()
    assert len(edges) <= count + 1


def test_bands_share_the_triangles_of_a_face_evenly(face):
    vertices = face.in_frame(300, 200, 150)
    edges = raster.band_edges(vertices, 1000, 2)
    above = (vertices[:, 1] < edges[1]).mean()
    assert 0.4 < above < 0.6


@pytest.mark.parametrize("threads", [0, -1, 17])
def test_a_number_of_threads_out_of_range_is_refused(face, threads):
    with pytest.raises(ValueError, match=r"1\.\.16"):
        raster.depth(face.in_frame(20, 20, 30), face.triangles, 40, 40, threads=threads)


def test_a_failing_band_raises_in_the_caller():
    def draw(first: int, end: int) -> None:
        raise MemoryError(f"rows {first} to {end}")

    with pytest.raises(MemoryError):
        in_bands(draw, [0, 5, 9])


def test_a_forked_process_draws_with_threads_of_its_own():
    code = (
        "import multiprocessing, numpy as np, sys\n"
        "from streamprn.kernels import raster\n"
        "v = np.float32([[0, 0, 1], [40, 0, 1], [0, 40, 1]])\n"
        "t = np.int32([[0, 2, 1]])\n"
        "one = raster.depth(v, t, 40, 40, threads=2)\n"
        "def child(q): q.put(raster.depth(v, t, 40, 40, threads=2).tobytes())\n"
        "context = multiprocessing.get_context('fork')\n"
        "q = context.Queue()\n"
        "p = context.Process(target=child, args=(q,)); p.start()\n"
        "sys.exit(q.get(timeout=30) != one.tobytes())\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_a_helper_is_kept_off_the_processor_of_its_caller():
    allowed = os.sched_getaffinity(0)
    masks = {}

    def draw(first: int, end: int) -> None:
        masks[threading.get_ident()] = os.sched_getaffinity(0)

    in_bands(draw, [0, 5, 9])
    own = masks.pop(threading.get_ident())
    (helper,) = masks.values()
    assert own == allowed
    assert helper < allowed and len(helper) == len(allowed) - 1


def test_bands_are_drawn_where_the_system_pins_no_threads(face, monkeypatch):
    vertices = face.in_frame(60, 50, 80)
    alone = raster.depth(vertices, face.triangles, 100, 130)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(os, "sched_setaffinity")
    assert 1 <= raster.processors() <= 16
    together = raster.depth(vertices, face.triangles, 100, 130, threads=3)
    assert np.array_equal(alone, together, equal_nan=True)
