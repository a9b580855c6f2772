import numpy as np
import pytest

from streamprn.kernels import raster, sampling, visibility
from streamprn.kernels.cuda import surface, warp
from streamprn.kernels.cuda.faces import RESULT_COLUMNS
from tests.cuda.simulator.scene import launch
from tests.reference.meshes import face_mesh

H, W = 20, 24


def bounds_row(vertices):
    row = np.zeros(RESULT_COLUMNS)
    row[20:23], row[23:26] = vertices.min(axis=0), vertices.max(axis=0)
    return row


@pytest.fixture(scope="module")
def mesh():
    return face_mesh(10)


@pytest.fixture(scope="module")
def vertices(mesh):
    inside = mesh.in_frame(11.3, 9.7, 15.0)
    outside = mesh.in_frame(2.0, 15.0, 14.0)
    return np.stack([inside, outside])


def draw(vertices, triangles, target, images=1, *, boxed=False, size=(H, W)):
    keys = np.zeros((images, *size), np.int64)
    launch(surface.clear_keys, (2,), keys.reshape(-1))
    results = np.stack([bounds_row(np.nan_to_num(v)) for v in vertices])
    launch(
        surface.draw_triangles,
        (2, len(vertices)),
        vertices,
        triangles,
        results,
        np.asarray(target, np.int32),
        boxed,
        keys,
    )
    return keys


def depth_of(keys):
    depth = np.zeros(keys.size, np.float32)
    launch(surface.resolve_depth, (2,), keys.reshape(-1), depth)
    return depth.reshape(keys.shape)


def test_the_depth_image_of_two_faces_is_that_of_the_cpu(mesh, vertices):
    depth = depth_of(draw(vertices, mesh.triangles, [0, 0]))[0]
    expected = raster.depth(vertices[0], mesh.triangles, H, W)
    raster.depth(vertices[1], mesh.triangles, H, W, expected, merge=True)
    np.testing.assert_array_equal(np.isnan(depth), np.isnan(expected))
    np.testing.assert_allclose(depth, expected, atol=2e-5)


def test_a_face_without_an_image_is_not_drawn(mesh, vertices):
    both = draw(vertices, mesh.triangles, [-1, 0])
    alone = depth_of(draw(vertices[1:], mesh.triangles, [0]))
    np.testing.assert_array_equal(depth_of(both), alone)


def test_triangles_that_are_not_finite_or_have_no_area_leave_no_trace(mesh, vertices):
    broken = vertices[:1].copy()
    broken[0, ::5] = np.nan
    broken[0, 1::7] = np.inf
    depth = depth_of(draw(broken, mesh.triangles, [0]))[0]
    expected = raster.depth(broken[0], mesh.triangles, H, W)
    np.testing.assert_array_equal(np.isnan(depth), np.isnan(expected))
    flat = vertices[:1].copy()
    flat[0, :, 0] = 3.0
    assert np.isnan(depth_of(draw(flat, mesh.triangles, [0]))).all()


def test_negative_depths_are_ordered_too():
    triangles = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    corners = np.array([[0, 0], [8, 0], [0, 8]], np.float32)
    both = np.zeros((1, 6, 3), np.float32)
    both[0, :3, :2] = both[0, 3:, :2] = corners
    both[0, :3, 2], both[0, 3:, 2] = -5.0, -2.0
    depth = depth_of(draw(both, triangles, [0]))[0]
    assert depth[1, 1] == -2.0


@pytest.mark.parametrize("sine", [0.92, -0.6, 0.3])
def test_visible_landmarks_are_those_of_the_cpu(mesh, vertices, monkeypatch, sine):
    side, cosine = 24, np.sqrt(1 - sine * sine)
    monkeypatch.setattr(surface, "SIDE", side)
    monkeypatch.setattr(visibility, "SIDE", side)
    turned = vertices[:1].copy()
    x, z = turned[0, :, 0] - 11.0, turned[0, :, 2].copy()
    turned[0, :, 0], turned[0, :, 2] = 11.0 + cosine * x + sine * z, cosine * z - sine * x
    turned[0, :, 2] -= turned[0, :, 2].min()
    faces = np.concatenate([turned, vertices[1:]])
    keys = draw(faces, mesh.triangles, [0, 1], 2, boxed=True, size=(side, side))
    results = np.stack([bounds_row(v) for v in faces])
    landmarks = np.arange(faces.shape[1], dtype=np.int32)
    start, others = surface.adjacency(mesh.triangles, faces.shape[1])
    some = np.full((2, len(landmarks)), 7, np.uint8)
    launch(
        surface.visible_landmarks,
        (1, 2),
        faces,
        landmarks,
        start,
        others,
        results,
        keys,
        some,
    )
    for face in range(2):
        expected = visibility.visible_vertices(faces[face], mesh.triangles)
        np.testing.assert_array_equal(some[face].astype(bool), expected)
    assert 0 < some[0].sum() < some[0].size


def test_a_vertex_behind_the_outline_is_taken_as_seen(monkeypatch):
    """A pixel of background beside it tells nothing of how far the surface falls there."""
    monkeypatch.setattr(surface, "SIDE", 8)
    keys = np.full((1, 8, 8), surface.EMPTY, np.int64)
    near = np.array([[[1, 1, 60.0], [5, 1, 60.0], [1, 5, 60.0]]], np.float32)
    box = bounds_row(np.array([[0, 0, 0], [5, 5, 60.0]], np.float32))[None]
    triangle = np.array([[0, 1, 2]], np.int32)
    launch(surface.draw_triangles, (1, 1), near, triangle, box, np.zeros(1, np.int32), True, keys)
    points = np.array([[[1.5, 1.5, 0], [3.2, 3.2, 0], [1.5, 1.5, np.nan]]], np.float32)
    landmarks = np.arange(3, dtype=np.int32)
    # Vertices without a triangle of their own face the camera.
    start, others = np.zeros(4, np.int32), np.zeros((1, 2), np.int32)
    visible = np.full((1, 3), 7, np.uint8)
    launch(surface.visible_landmarks, (1, 1), points, landmarks, start, others, box, keys, visible)
    assert visible.tolist() == [[0, 1, 0]]


def frame_of(rgb):
    frames = np.array([[warp.RGB, W, H, 0, 3 * W, 0, 0, 0, 0]], np.int32)
    return rgb.reshape(-1), frames, np.zeros((1, 7), np.float32)


def test_textures_are_those_of_the_cpu(mesh, vertices):
    rgb = np.random.default_rng(2).integers(0, 256, (H, W, 3)).astype(np.uint8)
    owner = np.zeros(2, np.int32)
    chart = sampling.Chart.draw(mesh.triangles, mesh.uv, 8)
    textures = np.full((2, 8, 8, 3), 9, np.uint8)
    launch(
        surface.face_textures,
        (1, 2),
        *frame_of(rgb),
        owner,
        vertices,
        mesh.triangles,
        chart.triangle,
        chart.barycentric,
        textures,
    )
    for face in range(2):
        expected = sampling.texture(rgb, vertices[face], chart)
        np.testing.assert_array_equal(textures[face], expected)


def test_video_planes_give_the_colours_of_their_picture(mesh, vertices):
    luma, u, v = (
        np.full(shape, value, np.uint8)
        for shape, value in (((H, W), 120), ((H // 2, W // 2), 90), ((H // 2, W // 2), 200))
    )
    pool = np.concatenate([luma.reshape(-1), u.reshape(-1), v.reshape(-1)])
    frames = np.array([[warp.YUV420, W, H, 0, W, H * W, H * W + H * W // 4, W // 2, 1]], np.int32)
    colours = np.array([[16.0, 1.164, 1.596, -0.392, -0.813, 2.017, 0.0]], np.float32)
    chart = sampling.Chart.draw(mesh.triangles, mesh.uv, 8)
    found = np.zeros((1, 8, 8, 3), np.uint8)
    launch(
        surface.face_textures,
        (1, 1),
        pool,
        frames,
        colours,
        np.zeros(1, np.int32),
        vertices[:1],
        mesh.triangles,
        chart.triangle,
        chart.barycentric,
        found,
    )
    y, cu, cv = 1.164 * (120 - 16), 90 - 128, 200 - 128
    expected = np.rint([y + 1.596 * cv, y - 0.392 * cu - 0.813 * cv, y + 2.017 * cu])
    inside = found[0][chart.mask].astype(int)
    assert len(inside) > 10
    assert np.abs(inside - np.clip(expected, 0, 255)).max() <= 1
