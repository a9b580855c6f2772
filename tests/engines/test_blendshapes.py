"""Blendshapes of a real face, and of what LiteRT's own network was shown."""

import numpy as np
import pytest

from streamprn.engines.blendshapes import NAMES, open_blendshapes, with_eye_centres
from streamprn.engines.engine import open_engine
from streamprn.errors import BackendError
from streamprn.kernels import warp
from streamprn.records import Roi
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
    assert len(NAMES) == len(set(NAMES)) == 52
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
