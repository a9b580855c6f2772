"""The engine that was trained here, on a real face."""

import math

import numpy as np
import pytest

from streamprn.engines.engine import open_engine
from streamprn.kernels import warp
from streamprn.records import Roi

ROI = Roi(223, 124, 170, 0.05)


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def prn(request):
    engine = open_engine("prn", backend=request.param)
    yield engine
    engine.close()


def score(engine, picture, roi):
    matrix = engine.crop.frame_from_crop(roi)[None]
    return float(engine.infer(warp.warp_rgb(picture, matrix, engine.crop.size)).scores[0])


def test_its_landmarks_of_a_near_frontal_face_are_those_of_facemesh2(prn, astronaut):
    landmarks = []
    for engine in (prn, open_engine("facemesh2", backend="onnxruntime")):
        matrix = engine.crop.frame_from_crop(ROI)
        crop = warp.warp_rgb(astronaut, matrix[None], engine.crop.size)
        (surface,) = engine.infer(crop).surfaces
        vertices, _ = surface.restore(matrix)
        landmarks.append(vertices[engine.topology.landmarks])
    gaps = np.hypot(*(landmarks[0] - landmarks[1])[:, :2].T)
    assert 0.01 < gaps.mean() < 2


def test_a_face_scores_high(prn, astronaut):
    for roi in (ROI, Roi(226, 121, 185, -0.1), Roi(223, 130, 150, 0.3)):
        assert score(prn, astronaut, roi) > 0.8


@pytest.mark.parametrize(
    "roi",
    [
        Roi(223, 124, 170, math.pi),
        Roi(223 + 120, 124, 170, 0.0),
        Roi(400, 420, 120, 0.0),
        Roi(223, 124, 480, 0.0),
    ],
    ids=["upside down", "beside the face", "no face", "far too wide"],
)
def test_what_is_no_face_in_its_place_scores_low(prn, astronaut, roi):
    assert score(prn, astronaut, roi) < 0.5


def test_its_topology_is_that_of_facemesh(prn):
    facemesh = open_engine("facemesh", backend="onnxruntime")
    np.testing.assert_array_equal(prn.topology.texel, facemesh.topology.texel)
    assert prn.bundle.licence == "Apache-2.0"
    assert "hmdghoul" in prn.bundle.provenance_file.read_text()
