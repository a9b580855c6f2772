"""Normals, visibility, colours and textures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamprn.kernels import normals, pose, sampling, visibility
from tests.reference import geometry
from tests.reference.meshes import sphere_mesh


@pytest.fixture(scope="module")
def sphere() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit directions (frame axes), frame vertices and triangles of a sphere."""
    canonical, triangles = sphere_mesh(60, 120)
    directions = canonical * np.float32([1, -1, 1])
    return directions, directions * np.float32(90) + np.float32([200, 150, 90]), triangles


def gradient_image(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, (rows + columns) // 2], -1).astype(np.uint8)


def test_normals_of_a_sphere_point_away_from_its_centre(sphere):
    directions, vertices, triangles = sphere
    found = normals.vertex_normals(vertices, triangles)
    assert ((found * directions).sum(axis=1) > 0.998).all()


def test_normals_are_their_numpy_twin(face):
    vertices = face.in_frame(100, 90, 150)
    found = normals.vertex_normals(vertices, face.triangles)
    used = np.zeros(len(vertices), bool)
    used[face.triangles] = True
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = geometry.vertex_normals(vertices, face.triangles)
    np.testing.assert_allclose(found[used], expected[used], atol=1e-4)
    np.testing.assert_allclose(found[~used], np.broadcast_to([0, 0, 1], found[~used].shape))


def test_a_face_towards_the_camera_has_normals_towards_it(face):
    assert (normals.vertex_normals(face.in_frame(0, 0, 100), face.triangles)[:, 2] > 0).all()


@given(hnp.arrays(np.float32, (8, 3), elements=st.floats(width=32)))
@settings(max_examples=80)
def test_normals_and_visibility_of_anything_are_sound(vertices):
    triangles = np.int32([[0, 1, 2], [2, 3, 4], [5, 6, 7], [0, 5, 5]])
    found = normals.vertex_normals(vertices, triangles)
    np.testing.assert_allclose(np.linalg.norm(found.astype(float), axis=1), 1, atol=1e-5)
    visible = visibility.visible_vertices(vertices, triangles)
    assert not visible[~np.isfinite(vertices).all(axis=1)].any()


@pytest.mark.parametrize("shift", [(0, 0), (-200, 0), (-350, -100), (5000, 40)])
@pytest.mark.parametrize("scale", [0.2, 1.0, 7.0])
def test_the_front_half_of_a_sphere_is_visible_wherever_it_is(sphere, shift, scale):
    directions, vertices, triangles = sphere
    placed = vertices * np.float32(scale) + np.float32([*shift, 0])
    visible = visibility.visible_vertices(placed, triangles)
    assert visible[directions[:, 2] > 0.1].all()
    assert not visible[directions[:, 2] < 0].any()


def test_a_plate_hides_what_lies_behind_it(sphere):
    _, vertices, triangles = sphere
    plate = np.float32([[100, 70, 400], [200, 70, 400], [100, 230, 400], [200, 230, 400]])
    n = len(vertices)
    both = np.vstack([vertices, plate])
    faces = np.vstack([triangles, np.int32([[n, n + 2, n + 1], [n + 1, n + 2, n + 3]])])
    visible = visibility.visible_vertices(both, faces)[:n]
    front = visibility.visible_vertices(vertices, triangles)
    behind = (np.abs(vertices[:, 0] - 150) < 47) & (np.abs(vertices[:, 1] - 150) < 77)
    assert not visible[behind].any()
    aside = vertices[:, 0] > 203
    assert np.array_equal(visible[aside], front[aside])


def test_a_turned_face_hides_its_far_side(face):
    def seen(yaw: float) -> np.ndarray:
        turned = face.canonical @ pose.rotation_from_euler(yaw, 0, 0).T.astype(np.float32)
        vertices = (turned * np.float32([80, -80, 80])).astype(np.float32)
        return visibility.visible_vertices(vertices, face.triangles)

    left, right = face.canonical[:, 0] < -0.55, face.canonical[:, 0] > 0.55
    assert seen(0).mean() > 0.8
    assert seen(0)[right].mean() > 0.5
    assert not seen(75)[left].any()
    assert not seen(-75)[right].any()
    assert not seen(180).any()


def test_visible_landmarks_are_those_of_their_vertices(face):
    landmarks = np.arange(0, 68 * 7, 7, dtype=np.int32)
    vertices = face.in_frame(0, 0, 100)
    everything = visibility.visible_vertices(vertices, face.triangles)
    found = visibility.visible_landmarks(vertices, face.triangles, landmarks)
    assert np.array_equal(found, everything[landmarks])


def test_vertex_colours_are_the_image_under_them(face):
    image = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)
    vertices = face.in_frame(44, 38, 120)
    expected = geometry.sample(
        image,
        vertices[:, 0].astype(float).clip(0, 89),
        vertices[:, 1].astype(float).clip(0, 79),
        "replicate",
    )
    found = sampling.vertex_colours(image, vertices)
    assert np.abs(found - expected).max() <= 0.51


def test_texture_of_an_identity_mapping_is_the_image(face):
    size = face.size
    image = gradient_image(size, size)
    row, column = np.divmod(face.texel, size)
    vertices = np.stack([column, row, 0 * row], axis=1).astype(np.float32)
    chart = sampling.Chart.draw(face.triangles, face.uv, size)
    found = sampling.texture(image, vertices, chart)
    covered = chart.mask
    assert covered.sum() > 0.9 * len(face.texel)
    assert np.array_equal(found[covered], image[covered])
    assert not found[~covered].any()


@pytest.mark.parametrize("size", [16, 100, 256])
def test_texture_at_any_size_samples_the_surface(face, size):
    image = gradient_image(120, 120)
    vertices = face.in_frame(60, 60, 100)
    chart = sampling.Chart.draw(face.triangles, face.uv, size)
    found = sampling.texture(image, vertices, chart)
    rows, columns = np.nonzero(chart.mask)
    weights = chart.barycentric[rows, columns]
    weights = np.column_stack([weights, 1 - weights.sum(axis=1)])
    corners = vertices[face.triangles[chart.triangle[rows, columns]]]
    x, y = (weights[..., None] * corners).sum(axis=1)[:, :2].astype(float).T
    expected = geometry.sample(image, x, y, "replicate")
    assert np.abs(found[rows, columns] - expected).max() <= 0.51


def test_rendering_a_texture_over_its_face_returns_the_image(face):
    image = gradient_image(120, 120)
    vertices = face.in_frame(60, 60, 90)
    chart = sampling.Chart.draw(face.triangles, face.uv, 256)
    texture = sampling.texture(image, vertices, chart)
    rgb, coverage = sampling.render(vertices, face.triangles, 120, 120, uv=face.uv, texture=texture)
    inner = coverage.copy()
    inner[1:-1, 1:-1] &= coverage[:-2, 1:-1] & coverage[2:, 1:-1] & coverage[1:-1, 2:]
    difference = np.abs(rgb.astype(int) - image)[inner]
    assert np.quantile(difference, 0.95) <= 2
    assert not rgb[~coverage].any()


def test_rendering_vertex_colours_interpolates_them(face):
    image = gradient_image(120, 120)
    vertices = face.in_frame(60, 60, 90)
    colours = sampling.vertex_colours(image, vertices)
    rgb, coverage = sampling.render(vertices, face.triangles, 120, 120, colours=colours)
    assert coverage.sum() > 4000
    assert np.abs(rgb.astype(int) - image)[coverage].max() <= 2


def test_render_without_colours_is_refused(face):
    with pytest.raises(ValueError, match="colours, or uv and texture"):
        sampling.render(face.in_frame(0, 0, 9), face.triangles, 8, 8)


@given(hnp.arrays(np.float32, (6, 3), elements=st.floats(width=32)))
@settings(max_examples=60)
def test_colours_of_any_vertices_on_a_single_pixel_are_that_pixel(vertices):
    image = np.array([[[9, 80, 200]]], np.uint8)
    assert (sampling.vertex_colours(image, vertices) == [9, 80, 200]).all()
    triangles = np.int32([[0, 1, 2], [3, 4, 5]])
    chart = sampling.Chart.draw(
        triangles, np.float32([[0, 0], [1, 0], [0, 1], [1, 1], [1, 0], [0, 1]]), 5
    )
    assert (sampling.texture(image, vertices, chart)[chart.mask] == [9, 80, 200]).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (5, 1), (2, 2), (3, 4)])
def test_colours_at_and_beyond_every_edge_are_the_nearest_inside(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    y, x = np.mgrid[-2 : height + 2 : 0.25, -2 : width + 2 : 0.25]
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1).astype(np.float32)
    found = sampling.vertex_colours(image, vertices)
    inside_x, inside_y = x.clip(0, width - 1), y.clip(0, height - 1)
    expected = geometry.sample(image, inside_x, inside_y, "replicate").reshape(-1, 3)
    assert np.abs(found - expected).max() <= 0.51
