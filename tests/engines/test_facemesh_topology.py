import numpy as np
import pytest

from streamprn.engines import registry
from streamprn.engines.bundle import Subdivision
from streamprn.engines.topology import PARTS, UV_SIZE
from streamprn.kernels import uv


@pytest.fixture(scope="module")
def bundle():
    return registry.find("facemesh")


@pytest.fixture(scope="module")
def topology(bundle):
    return bundle.topology()


@pytest.fixture(scope="module")
def subdivision(bundle, topology) -> Subdivision:
    return bundle.subdivision(topology)


def normals(topology):
    a, b, c = (topology.canonical[topology.triangles[:, i]].astype(float) for i in range(3))
    return np.cross(b - a, c - a)


def test_it_has_more_than_forty_thousand_vertices(topology):
    assert topology.vertex_count > 40_000
    assert topology.mask.sum() == topology.vertex_count


def test_the_mirror_is_an_involution_across_the_middle_of_the_map(topology):
    mirror = topology.mirror
    np.testing.assert_array_equal(mirror[mirror], np.arange(topology.vertex_count))
    row, column = np.divmod(topology.texel, UV_SIZE)
    np.testing.assert_array_equal(row[mirror], row)
    np.testing.assert_array_equal(column[mirror], UV_SIZE - 1 - column)


def test_the_rest_shape_weights_and_parts_are_symmetric(topology):
    mirrored = topology.canonical[topology.mirror] * [-1, 1, 1]
    np.testing.assert_allclose(mirrored, topology.canonical, atol=1e-6)
    weights = topology.pose_weights
    np.testing.assert_allclose(weights[topology.mirror], weights, rtol=1e-6)
    assert set(PARTS) <= set(topology.parts)
    for mask in topology.parts.values():
        assert mask.any()
        np.testing.assert_array_equal(mask[topology.mirror], mask)


def test_triangles_face_outwards_and_none_is_degenerate(topology):
    normal = normals(topology)
    length = np.linalg.norm(normal, axis=1)
    assert length.min() > 1e-3 * np.median(length)
    # Seen from the front; only the nostrils and the brink of the lips may turn away.
    assert (normal[:, 2] > 0).mean() > 0.99
    centre = topology.canonical[topology.triangles].mean(1) - [0, 0, -8]
    assert (np.einsum("ij,ij->i", normal, centre) > 0).mean() > 0.98


def test_the_mesh_is_one_oriented_disk_that_uses_every_vertex(topology):
    triangles = topology.triangles.astype(np.int64)
    n = topology.vertex_count
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    directed = edges[:, 0] * n + edges[:, 1]
    assert len(np.unique(directed)) == len(directed), "two triangles run the same way on an edge"
    undirected = np.unique(np.sort(edges, axis=1), axis=0)
    assert len(np.unique(triangles)) == n
    # Euler: a disk has V - E + F = 1.
    assert n - len(undirected) + len(triangles) == 1


def test_triangles_join_neighbouring_texels(topology):
    row, column = np.divmod(topology.texel[topology.triangles], UV_SIZE)
    assert np.ptp(row, axis=1).max() == 1
    assert np.ptp(column, axis=1).max() == 1


def test_landmarks_stand_in_the_order_of_the_68_point_mark_up(topology):
    points = topology.canonical[topology.landmarks]
    x, y, z = points.T
    assert (np.diff(x[:17]) > -0.3).all()  # jaw, from the subject's right ear to the left one
    assert (np.diff(x[17:27]) > 0).all()
    assert x[36:42].max() < 0 < x[42:48].min()
    assert y[36:48].min() > y[30] > y[48:60].max() > y[8]
    assert z[30] > np.delete(z, [29, 30]).max()
    pairs = [(0, 16), (17, 26), (36, 45), (39, 42), (31, 35), (48, 54), (60, 64), (5, 11)]
    for right, left in pairs:
        assert topology.mirror[topology.landmarks[right]] == topology.landmarks[left]


def test_landmarks_lie_in_their_parts(topology):
    parts, landmarks = topology.parts, topology.landmarks
    assert parts["eyes"][landmarks[36:48]].all()
    assert parts["lips"][landmarks[60:68]].all()
    assert parts["nose"][landmarks[28:31]].all()
    assert not parts["lips"][landmarks[:48]].any()
    assert parts["face"].all()


def test_the_operator_reproduces_constants_and_affine_maps(topology, subdivision):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(1, 468, 3)).astype(np.float32)
    texels = topology.texel

    def vertices(values):
        points = subdivision.correct(values.astype(np.float32))
        (control,) = uv.control_points(points, subdivision.operator)
        return uv.position_map_of(control, subdivision.operator).reshape(-1, 3)[texels]

    np.testing.assert_allclose(vertices(np.ones_like(points)), 1, atol=1e-5)
    matrix, shift = rng.normal(size=(3, 3)), rng.normal(size=3)
    moved = vertices(points @ matrix.T + shift)
    np.testing.assert_allclose(moved, vertices(points) @ matrix.T + shift, atol=2e-4)


def test_texels_outside_the_mask_stay_zero(facemesh):
    crops = np.random.default_rng(4).random((2, 192, 192, 3)).astype(np.float32)
    maps = facemesh.infer(crops).maps
    assert (maps[:, ~facemesh.topology.mask] == 0).all()
    assert np.isfinite(maps).all()
