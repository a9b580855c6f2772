"""The surface kernels on a real GPU against the CPU loops, at full size."""

import numpy as np
import pytest

from streamprn.engines.cuda.launch import launch
from streamprn.kernels import raster, visibility
from tests.reference.meshes import face_mesh

pytestmark = [
    pytest.mark.gpu,
    # Host arrays are copied, and the last blocks of a small grid are few: both on purpose here.
    pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaPerformanceWarning"),
]

H, W = 480, 640


@pytest.fixture(scope="module", autouse=True)
def _needs_a_gpu():
    cuda = pytest.importorskip("numba.cuda", reason="numba-cuda is not installed")
    if not cuda.is_available():
        pytest.skip("no GPU, or no driver for it")


@pytest.fixture(scope="module")
def mesh():
    return face_mesh(256)


@pytest.fixture(scope="module")
def vertices(mesh):
    return mesh.in_frame(300.0, 230.0, 280.0)


def results_of(vertices):
    row = np.zeros((1, 32))
    row[0, 20:23], row[0, 23:26] = vertices.min(axis=0), vertices.max(axis=0)
    return row


def drawn(mesh, vertices, shape, boxed):
    from numba import cuda

    from streamprn.kernels.cuda import surface

    keys = cuda.to_device(np.zeros((1, *shape), np.int64))
    flat = keys.reshape(int(np.prod(shape)))
    launch(surface.clear_keys, (surface.clear_keys.blocks(flat.size),), 0, flat)
    grid = (surface.draw_triangles.blocks(len(mesh.triangles)), 1)
    launch(
        surface.draw_triangles, grid, 0, vertices[None], mesh.triangles,
        results_of(vertices), np.zeros(1, np.int32), boxed, keys,
    )  # fmt: skip
    return keys


def test_the_depth_image_is_that_of_the_cpu(mesh, vertices):
    from streamprn.kernels.cuda import surface

    keys = drawn(mesh, vertices, (H, W), False)
    depth = np.zeros(H * W, np.float32)
    launch(surface.resolve_depth, (1024,), 0, keys.reshape(H * W), depth)
    expected = raster.depth(vertices, mesh.triangles, H, W)
    np.testing.assert_array_equal(np.isnan(depth.reshape(H, W)), np.isnan(expected))
    np.testing.assert_allclose(depth.reshape(H, W), expected, atol=1e-3)


def test_visibility_is_that_of_the_cpu(mesh, vertices):
    from streamprn.kernels.cuda import surface

    start, others = surface.adjacency(mesh.triangles, len(vertices))
    everyone = np.arange(len(vertices), dtype=np.int32)
    keys = drawn(mesh, vertices, (surface.SIDE, surface.SIDE), True)
    seen = np.zeros((1, len(vertices)), np.uint8)
    grid = (surface.visible_landmarks.blocks(len(vertices)), 1)
    launch(
        surface.visible_landmarks, grid, 0, vertices[None], everyone, start, others,
        results_of(vertices), keys, seen,
    )  # fmt: skip
    cpu = visibility.visible_vertices(vertices, mesh.triangles)
    assert (seen[0].astype(bool) != cpu).mean() < 1e-3
