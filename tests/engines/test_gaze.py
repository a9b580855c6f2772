"""Where the eyes of real and of drawn faces look, and how far they are open."""

import cv2
import numpy as np
import pytest

from streamprn.engines.engine import open_engine
from streamprn.engines.predict import RefineRule, View
from streamprn.engines.predict_host import HostPredictor
from streamprn.kernels import gaze, pose
from streamprn.records import FrameImage, Roi

ROI = Roi(223, 124, 170, 0.05)
UPPER = ([160, 159, 158], [387, 386, 385])
LOWER = ([144, 145, 153], [373, 374, 380])


@pytest.fixture(scope="module")
def seen():
    """A picture and a region to the face there."""
    with_irises = HostPredictor(open_engine("facemesh2", backend="openvino"), RefineRule(10.0))

    def look(rgb, roi, predictor=with_irises):
        image = FrameImage.from_rgb(np.ascontiguousarray(rgb))
        (prediction,), _ = predictor.predict([View(image, roi)])
        return prediction.face(id=1, score=1.0)

    yield look
    with_irises.close()


def eyes(found):
    return np.array([(eye.yaw, eye.pitch, eye.openness) for eye in (found.right, found.left)])


def mirrored(roi, width):
    return Roi(width - 1 - roi.cx, roi.cy, roi.side, -roi.roll)


def test_the_astronaut_looks_into_the_camera_with_open_eyes(seen, astronaut):
    found = seen(astronaut, ROI).gaze
    for eye in (found.right, found.left):
        assert np.linalg.norm(eye.direction) == pytest.approx(1, abs=1e-6)
        assert eye.direction[2] > 0.98
        assert 0.25 < eye.openness < 0.45
        assert not eye.direction.flags.writeable
    assert np.abs(eyes(found)[:, :2].mean(axis=0)).max() < 5


def test_a_flipped_picture_mirrors_the_gaze(seen, astronaut):
    # Her eyes are moved within their sockets, so that there is something to mirror.
    turned = with_irises_moved(astronaut, seen(astronaut, ROI).mesh_points.xyz_px, 5.0)
    found = eyes(seen(turned, ROI).gaze)
    flipped = eyes(seen(turned[:, ::-1], mirrored(ROI, astronaut.shape[1])).gaze)
    np.testing.assert_allclose(flipped[::-1, 0], -found[:, 0], atol=7)
    np.testing.assert_allclose(flipped[::-1, 1], found[:, 1], atol=5)
    # To the right in the picture: a head turned there has a negative yaw.
    straight = eyes(seen(astronaut, ROI).gaze)
    assert found[:, 0].mean() < straight[:, 0].mean() - 8
    assert flipped[:, 0].mean() > 5


def with_irises_moved(rgb, xyz, shift):
    """The picture with what lies in the middle of each eye moved to the right, by pixels."""
    moved = rgb.copy()
    ys, xs = np.mgrid[: rgb.shape[0], : rgb.shape[1]].astype(np.float32)
    offset = np.zeros_like(xs)
    for iris in (468, 473):
        cx, cy = xyz[iris, :2] + [shift / 2, 0]
        near = np.exp(-((((xs - cx) / 5) ** 2 + ((ys - cy) / 4) ** 2) ** 2))
        offset += shift * near
    return cv2.remap(moved, xs - offset, ys, cv2.INTER_LINEAR)


def test_eyes_that_are_closed_by_morphing_are_so(seen, astronaut):
    face = seen(astronaut, ROI)
    closed = with_eyes_closed(astronaut, face.mesh_points.xyz_px)
    opened, found = eyes(face.gaze)[:, 2], eyes(seen(closed, ROI).gaze)[:, 2]
    assert (found < 0.65 * opened).all(), (opened, found)


def with_eyes_closed(rgb, xyz):
    """The picture with each upper lid drawn down over the eye, down to the lower one."""
    ys, xs = np.mgrid[: rgb.shape[0], : rgb.shape[1]].astype(np.float32)
    from_y = ys.copy()
    for corners, upper, lower in zip(((33, 133), (362, 263)), UPPER, LOWER, strict=True):
        left, right = sorted(xyz[list(corners), 0])
        top, bottom = xyz[upper, 1].mean(), xyz[lower, 1].mean()
        across = np.clip((xs - left) / (right - left), 0, 1)
        edge = bottom - (bottom - top) * (1 - np.sin(np.pi * across)) / 2
        lid = top - 1
        above = lid - 4
        inside = (xs > left) & (xs < right) & (ys >= above) & (ys <= edge)
        stretched = above + (ys - above) * (lid - above) / np.maximum(edge - above, 1)
        from_y = np.where(inside, stretched, from_y)
    return cv2.remap(rgb, xs, from_y.astype(np.float32), cv2.INTER_LINEAR)


def drawn_points(rotation, direction, *, width=40.0, centre=(300.0, 200.0), gap=0.3):
    """`(478, 3)` points of two eyes that look to a direction, the model's own."""
    points = np.zeros((478, 3))
    for side, corners, upper, lower, iris in (
        (-1, (33, 133), UPPER[0], LOWER[0], 468),
        (1, (263, 362), UPPER[1], LOWER[1], 473),
    ):
        middle = np.array([side * 60.0, 0, 0])
        outwards = np.array([side * width / 2, 0, 0])
        points[corners[0]], points[corners[1]] = middle + outwards, middle - outwards
        for place, (up, down) in enumerate(zip(upper, lower, strict=True)):
            lid = middle + np.array([(place - 1) * 0.2 * width, 0, 0])
            half = np.array([0, gap * width / 2, 0])
            points[up], points[down] = lid + half, lid - half
        ball = middle + width * np.array([0, gaze.RAISED, -gaze.DEPTH])
        points[iris] = ball + gaze.RADIUS * width * (rotation.T @ direction)
    seen = points @ rotation.T
    seen[:, 1] *= -1
    return (seen + np.array([*centre, 0])).astype(np.float32)


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, -10, 15), (-40, 20, -30)])
@pytest.mark.parametrize("looks", [(0, 0), (20, 10), (-25, -15)])
def test_eyes_that_are_drawn_after_the_model_are_found_whatever_the_turn_of_the_head(angles, looks):
    rotation = pose.rotation_from_euler(*angles)
    direction = pose.rotation_from_euler(*looks, 0)[:, 2]
    found = gaze.estimate(drawn_points(rotation, direction, gap=0.25), rotation)
    for eye in (found.right, found.left):
        np.testing.assert_allclose(eye.direction, direction, atol=1e-4)
        assert (eye.yaw, eye.pitch) == pytest.approx(looks, abs=0.02)
        assert eye.openness == pytest.approx(0.25, abs=1e-4)


def test_an_iris_beyond_the_outline_of_the_eye_lies_on_it():
    rotation = np.eye(3)
    points = drawn_points(rotation, np.array([0.0, 0, 1]))
    points[[468, 473], 0] += 100
    found = gaze.estimate(points, rotation)
    assert found.left.yaw == pytest.approx(-90, abs=3)
    assert found.left.direction[2] == pytest.approx(0, abs=1e-3)


def test_points_that_are_no_face_give_nan():
    for value in (0.0, np.nan, np.inf):
        found = gaze.estimate(np.full((478, 3), value, np.float32), np.eye(3))
        assert np.isnan(found.right.direction).all()
        assert np.isnan([found.left.yaw, found.left.pitch, found.left.openness]).all()


def test_points_without_irises_are_refused():
    with pytest.raises(ValueError, match=r"points must be \(478, 3\), not \(468, 3\)"):
        gaze.estimate(np.zeros((468, 3), np.float32), np.eye(3))


def test_an_engine_without_irises_has_no_gaze(seen, astronaut):
    predictor = HostPredictor(open_engine("facemesh", backend="openvino"), RefineRule(10.0))
    assert seen(astronaut, ROI, predictor).gaze is None
    predictor.close()
