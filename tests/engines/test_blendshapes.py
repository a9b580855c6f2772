"""Blendshapes of a real face, and of what LiteRT's own network was shown."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from streamprn.engines.blendshapes import (
    NAMES,
    SharedBlendshapes,
    open_blendshapes,
    with_eye_centres,
)
from streamprn.engines.engine import open_engine
from streamprn.engines.predict import RefineRule, View
from streamprn.engines.predict_host import HostPredictor
from streamprn.errors import BackendError
from streamprn.kernels import warp
from streamprn.records import BLENDSHAPES, FrameImage, MeshPoints, Roi
from tests.engines import litert

ROI = Roi(223, 124, 170, 0.05)


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def network(request):
    network = open_blendshapes(backend=request.param)
    yield network
    network.close()


def points_of(name, picture, roi):
    """`(P, 2)` frame pixels."""
    engine = open_engine(name, backend="openvino")
    matrix = engine.crop.frame_from_crop(roi)
    (surface,) = engine.infer(warp.warp_rgb(picture, matrix[None], engine.crop.size)).surfaces
    engine.close()
    return surface.points[:, :2] @ matrix[:, :2].T + matrix[:, 2]


@pytest.fixture(scope="module")
def points(astronaut):
    return points_of("facemesh2", astronaut, ROI)


def named(coefficients):
    return dict(zip(NAMES, coefficients.tolist(), strict=True))


def test_the_coefficients_are_those_of_litert(network):
    recorded = litert.recorded("blendshapes")
    assert recorded["points"].shape == (4, 478, 2)
    for points, expected in zip(recorded["points"], recorded["coefficients"], strict=True):
        found = network.coefficients(points)
        assert (found.shape, found.dtype) == ((52,), np.float32)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_astronaut_smiles_with_her_mouth_and_eyes_open(network, points):
    found = named(network.coefficients(points))
    assert min(found["mouthSmileLeft"], found["mouthSmileRight"]) > 0.8
    for name in ("mouthFrownLeft", "mouthPucker", "jawOpen", "cheekPuff", "eyeBlinkLeft"):
        assert found[name] < 0.2, name


def test_a_face_that_closes_its_eyes_blinks(network, points):
    closed = points.copy()
    upper = [246, 161, 160, 159, 158, 157, 173]
    lower = [7, 163, 144, 145, 153, 154, 155]
    closed[upper] = points[lower]
    open_eyes, found = named(network.coefficients(points)), named(network.coefficients(closed))
    assert found["eyeBlinkRight"] > open_eyes["eyeBlinkRight"] + 0.3
    assert found["eyeBlinkRight"] > found["eyeBlinkLeft"]


def test_irises_that_move_change_the_gaze(network, points):
    looking = points.copy()
    looking[468:] += [6, 0]
    straight, found = named(network.coefficients(points)), named(network.coefficients(looking))
    # To the right of the picture: the subject's left.
    assert found["eyeLookOutLeft"] > straight["eyeLookOutLeft"] + 0.3
    assert found["eyeLookInRight"] > straight["eyeLookInRight"] + 0.3


def test_where_a_face_is_and_how_large_changes_nothing(network, points):
    expected = network.coefficients(points)
    for moved in (points * 2.5, points + np.array([700, -90])):
        np.testing.assert_allclose(network.coefficients(moved), expected, atol=1e-3)


def test_the_names_are_those_of_arkit_without_the_tongue():
    assert len(NAMES) == len(set(NAMES)) == len(set(BLENDSHAPES)) == 52
    assert (*NAMES[1:], "tongueOut") == BLENDSHAPES
    assert NAMES[0] == "_neutral"
    assert "tongueOut" not in NAMES
    left = {name.removesuffix("Left") for name in NAMES if name.endswith("Left")}
    assert left == {name.removesuffix("Right") for name in NAMES if name.endswith("Right")}


@pytest.mark.parametrize("roi", [ROI, Roi(226, 121, 185, -0.1)])
def test_eye_centres_in_place_of_irises_leave_the_coefficients_nearly_as_they_are(
    network, astronaut, roi
):
    points = points_of("facemesh2", astronaut, roi)
    without = with_eye_centres(points[:468])
    np.testing.assert_array_equal(without[:468], points[:468])
    assert np.hypot(*(without - points).T)[468:].max() < 2
    gaps = np.abs(network.coefficients(without) - network.coefficients(points))
    assert 0.001 < gaps.max() < 0.12


def test_the_engine_without_irises_sees_the_smile_too(network, astronaut):
    found = named(network.coefficients(with_eye_centres(points_of("facemesh", astronaut, ROI))))
    assert min(found["mouthSmileLeft"], found["mouthSmileRight"]) > 0.8
    assert max(found[name] for name in NAMES if name.startswith("eyeLook")) < 0.35


def test_eye_centres_turn_with_the_face(points):
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    turned = with_eye_centres((points[:468] @ turn).astype(np.float32))
    np.testing.assert_allclose(turned, with_eye_centres(points[:468]) @ turn, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_points_that_are_no_face_give_nan(network, value):
    assert np.isnan(network.coefficients(np.full((478, 2), value, np.float32))).all()


def test_points_of_a_wrong_shape_are_refused(network, points):
    with pytest.raises(ValueError, match=r"points must be \(478, 2\), not \(468, 2\)"):
        network.coefficients(points[:468])
    with pytest.raises(ValueError, match=r"points must be \(468, 2\), not \(478, 2\)"):
        with_eye_centres(points)


def test_the_best_runtime_of_the_cpu_is_chosen_and_an_unknown_one_is_an_error():
    assert "OpenVINO" in open_blendshapes().backend
    with pytest.raises(BackendError, match="choose one of"):
        open_blendshapes(backend="tpu")


def test_a_coefficient_array_is_the_callers_own(network, points):
    first = network.coefficients(points)
    kept = first.copy()
    network.coefficients(points[:, ::-1])
    np.testing.assert_array_equal(first, kept)


def face_of(name, image, roi, expressions):
    """The face in one region, as the pipeline has it."""
    engine = open_engine(name, backend="openvino")
    predictor = HostPredictor(engine, RefineRule(threshold=10.0), expressions=expressions)
    (prediction,), _ = predictor.predict([View(FrameImage.from_rgb(image), roi)])
    return prediction.face(id=1, score=1.0)


def test_a_face_of_facemesh2_has_the_blendshapes_of_mediapipes_own_networks():
    # The recorded input fills the crop exactly: a frame of its own.
    frame = np.round(255 * litert.inputs("facemesh2")[3]).astype(np.uint8)
    face = face_of("facemesh2", frame, Roi(127.5, 127.5, 256), SharedBlendshapes())
    landmarks = litert.recorded("facemesh2")
    points = landmarks["points"][3, :, :2] - 0.5
    np.testing.assert_allclose(face.mesh_points.xyz_px[:, :2], points, atol=0.1)
    expected = litert.recorded("blendshapes")["coefficients"][0]
    np.testing.assert_allclose(face.blendshapes[:-1], expected[1:], atol=0.02)
    assert face.blendshapes[-1] == pytest.approx(landmarks["tongue"][3], abs=0.02)


@pytest.mark.parametrize("name", ["facemesh", "facemesh2"])
def test_a_face_counts_its_blendshapes_once_and_only_when_it_is_asked(astronaut, name):
    shared, asked = SharedBlendshapes(), []

    def expressions(points):
        asked.append(points)
        return shared(points)

    face = face_of(name, astronaut, ROI, expressions)
    _ = face.vertices, face.landmarks, face.pose, face.visible
    assert asked == []
    found = dict(zip(BLENDSHAPES, face.blendshapes.tolist(), strict=True))
    assert min(found["mouthSmileLeft"], found["mouthSmileRight"]) > 0.8
    assert face.blendshapes is face.blendshapes
    assert len(asked) == 1
    # Only facemesh2 tells of the tongue.
    assert (found["tongueOut"] == 0) == (name == "facemesh")


@pytest.mark.parametrize("roll", [0.05, 0.4])
def test_the_points_of_a_face_are_in_the_frame_whatever_the_roll_of_the_crop(astronaut, roll):
    roi = Roi(ROI.cx, ROI.cy, ROI.side, roll)
    xyz = face_of("facemesh2", astronaut, roi, SharedBlendshapes()).mesh_points.xyz_px
    np.testing.assert_allclose(xyz[:, :2], points_of("facemesh2", astronaut, roi), atol=1e-3)
    # z in the same unit as x and y: the nose's tip lies before the eyes' outer corners.
    width = np.hypot(*(xyz[263] - xyz[33])[:2])
    assert 0.3 * width < xyz[1, 2] - xyz[[33, 263], 2].mean() < width


def test_points_that_are_not_finite_have_no_tongue_either(points):
    shared = SharedBlendshapes()
    xyz = np.column_stack([points, np.zeros(478)]).astype(np.float32)
    assert shared(MeshPoints(xyz, 0.25))[-1] == 0.25
    xyz[5, 0] = np.nan
    assert np.isnan(shared(MeshPoints(xyz, 0.25))).all()


def test_threads_may_share_the_network(points):
    shared = SharedBlendshapes()
    faces = [points * (1 + 0.2 * np.sin(k + np.arange(478)))[:, None] for k in range(8)]
    asked = [MeshPoints(np.column_stack([xy, xy[:, 0]]).astype(np.float32)) for xy in faces]
    expected = [shared(one) for one in asked]
    with ThreadPoolExecutor(4) as pool:
        for found, one in zip(pool.map(shared, asked * 8), expected * 8, strict=True):
            np.testing.assert_array_equal(found, one)
