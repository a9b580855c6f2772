"""The engine with irises, on a real face."""

import numpy as np
import pytest

from streamprn.engines.engine import open_engine
from streamprn.kernels import warp
from streamprn.records import Roi
from tests.engines import litert
from tests.engines.test_faces import LEFT_EYE, MOUTH, NOSE_TIP, RIGHT_EYE

# Around the astronaut's face.
ROI = Roi(223, 124, 170, 0.05)
TURNED = Roi(226, 121, 185, -0.1)
# First index of the points of each iris: its centre, then right, top, left, and bottom of it.
RIGHT_IRIS, LEFT_IRIS = 468, 473


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def facemesh2(request):
    engine = open_engine("facemesh2", backend=request.param)
    yield engine
    engine.close()


def crop(engine, picture, roi):
    return warp.warp_rgb(picture, engine.crop.frame_from_crop(roi)[None], engine.crop.size)[0]


def in_frame(engine, surface, roi):
    matrix = engine.crop.frame_from_crop(roi)
    return surface.points[:, :2] @ matrix[:, :2].T + matrix[:, 2]


def test_it_says_what_litert_says_to_a_fiftieth_of_a_pixel(facemesh2):
    points = litert.recorded("facemesh2")["points"]
    inference = facemesh2.infer(litert.inputs("facemesh2"))
    for surface, expected in zip(inference.surfaces, points, strict=True):
        found = surface.points * [1, 1, -1] + [0.5, 0.5, 0]
        assert np.abs(found - expected).max() < 0.02
    assert inference.scores[3] > 0.999
    assert (inference.scores[:1] < 1e-3).all()


@pytest.mark.parametrize("roi", [ROI, TURNED])
def test_the_irises_are_in_the_eyes(facemesh2, astronaut, roi):
    (surface,) = facemesh2.infer(crop(facemesh2, astronaut, roi)[None].copy()).surfaces
    points = in_frame(facemesh2, surface, roi)
    assert points.shape == (478, 2)
    for first, place in ((RIGHT_IRIS, RIGHT_EYE), (LEFT_IRIS, LEFT_EYE)):
        centre, right, top, left, bottom = points[first : first + 5]
        assert np.hypot(*(centre - place)) < 3
        assert right[0] - left[0] > 6
        assert bottom[1] - top[1] > 6
        assert np.hypot(*((right + top + left + bottom) / 4 - centre)) < 0.5


def test_its_map_is_that_of_facemesh_on_another_network(facemesh2, facemesh, astronaut):
    landmarks = []
    for engine in (facemesh2, facemesh):
        (surface,) = engine.infer(crop(engine, astronaut, ROI)[None].copy()).surfaces
        vertices, _ = surface.restore(engine.crop.frame_from_crop(ROI))
        assert vertices.shape == (engine.topology.vertex_count, 3)
        landmarks.append(vertices[engine.topology.landmarks])
    gaps = np.hypot(*(landmarks[0] - landmarks[1])[:, :2].T)
    assert 0.01 < gaps.mean() < 2
    for index, place in ((30, NOSE_TIP), (66, MOUTH)):
        assert np.hypot(*(landmarks[0][index, :2] - place)) < 6


def test_points_of_a_batch_are_each_faces_own(facemesh2, astronaut):
    crops = np.stack([crop(facemesh2, astronaut, roi) for roi in (ROI, TURNED, ROI)])
    surfaces = facemesh2.infer(crops).surfaces
    kept = [surface.points.copy() for surface in surfaces]
    facemesh2.infer(np.zeros_like(crops))
    for surface, before, one in zip(surfaces, kept, crops, strict=True):
        np.testing.assert_array_equal(surface.points, before)
        (alone,) = facemesh2.infer(one[None]).surfaces
        np.testing.assert_allclose(surface.points, alone.points, atol=2e-3)
        assert not np.shares_memory(surface.points, surfaces[1].points) or surface is surfaces[1]


def test_it_takes_a_region_of_twice_the_face_for_none_unlike_facemesh(
    facemesh2, facemesh, astronaut
):
    wide = Roi(222, 122, 260, 0.0)
    scores = [
        float(engine.infer(crop(engine, astronaut, wide)[None].copy()).scores[0])
        for engine in (facemesh2, facemesh)
    ]
    assert scores[0] < 0.01
    assert scores[1] > 0.99
