"""Faces at any roll: found and right, or not reported; and what that costs."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from benchmarks.score_set import (
    RIGHT,
    Made,
    Truth,
    back_of_head,
    backs_of_heads,
    behind_hand,
    dolls,
    drawn_face,
    hands_alone,
    pictures_without_faces,
)
from benchmarks.score_set import turned as turned_picture
from streamprn import Tracker
from streamprn.apps.reconstruction import Reconstructor
from streamprn.engines.detectors import open_detector
from streamprn.engines.engine import open_engine
from streamprn.engines.predict import View
from streamprn.engines.predict_host import HostPredictor
from streamprn.faces.detect import DetectionIntervals, IntervalDetection
from streamprn.records import Detection, FrameImage, Roi
from tests.support.clips import astronaut

MIDDLE = (255.5, 255.5)


@pytest.fixture(scope="module", params=["facemesh", "facemesh2", "prn"])
def engine(request):
    opened = open_engine(request.param)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def predictor(engine):
    return HostPredictor(engine)


@pytest.fixture(scope="module")
def detector():
    return open_detector()


@pytest.fixture(scope="module")
def upright(engine, detector):
    (face,) = Reconstructor(engine, detector).reconstruct(astronaut())
    return face


def turned(degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The astronaut turned counter-clockwise, and the `(2, 3)` transform of points."""
    matrix = cv2.getRotationMatrix2D(MIDDLE, degrees, 1.0)
    return cv2.warpAffine(astronaut(), matrix, (512, 512)), matrix


def error_px(landmarks: np.ndarray, upright, matrix: np.ndarray) -> float:
    truth = upright.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return float(np.linalg.norm(landmarks[:, :2] - truth, axis=1).mean())


@pytest.mark.parametrize("degrees", range(0, 360, 15))
def test_a_picture_turned_by_any_angle_gives_the_turned_face(engine, detector, upright, degrees):
    picture, matrix = turned(degrees)
    (face,) = Reconstructor(engine, detector).reconstruct(picture)
    assert error_px(face.landmarks, upright, matrix) < 1.5
    assert face.score > 0.9
    roll = math.radians(face.pose.roll - upright.pose.roll + degrees)
    assert abs(math.degrees(math.remainder(roll, math.tau))) < 4


def test_a_box_from_the_user_holds_a_face_at_any_roll(engine, upright):
    picture, matrix = turned(180)
    (box,) = [upright.box_xyxy.reshape(2, 2) @ matrix[:, :2].T + matrix[:, 2]]
    box = np.concatenate([box.min(axis=0), box.max(axis=0)]).astype(np.float32)
    (face,) = Reconstructor(engine).reconstruct(picture, [box])
    assert error_px(face.landmarks, upright, matrix) < 1.5


@pytest.mark.parametrize("degrees", [90, 120, 150, 180, 210, 240, 270])
def test_a_mesh_that_stands_upside_down_is_no_face_and_is_put_upright(predictor, upright, degrees):
    roi = upright.roi.turned(math.radians(degrees))
    view = View(FrameImage.from_rgb(astronaut()), roi)
    (found,), _ = predictor.predict([view])
    assert error_px(found.look.in_frame(predictor.crop), upright, np.eye(2, 3)) > 30
    assert found.score < 0.5
    (searched,), _ = predictor.predict([View(view.image, roi, search=True)])
    assert error_px(searched.look.in_frame(predictor.crop), upright, np.eye(2, 3)) < 2
    assert searched.score > 0.9


def test_a_drawn_face_that_scores_has_its_mesh_on_eyes_and_mouth(predictor):
    """The networks alone are certain of most of them, wherever the mesh is."""
    random = np.random.default_rng(5)
    drawn = [drawn_face(random) for _ in range(40)]
    views = [View(FrameImage.from_rgb(picture), Roi(160, 160, 280)) for picture, *_ in drawn]
    found, _ = predictor.predict(views)
    assert sum(one.look.own > 0.5 for one in found) > 15
    assert sum(one.score > 0.95 for one in found) < 0.25 * len(found)
    for one, (_, features, _) in zip(found, drawn, strict=True):
        points = one.look.in_frame(predictor.crop)
        meshed = [points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[48:].mean(axis=0)]
        off = np.linalg.norm(np.array(meshed) - features, axis=1)
        assert off.max() < 0.1 * one.look.roi.side or one.score < 0.5


def test_a_back_of_a_head_is_no_face(predictor):
    random = np.random.default_rng(5)
    pictures = [FrameImage.from_rgb(back_of_head(random)) for _ in range(20)]
    views = [View(picture, Roi(160, 160, 280), search=True) for picture in pictures]
    found, _ = predictor.predict(views)
    assert all(one.score < 0.5 for one in found)


def looked_at(engine, detector, made, random):
    """What is reported of pictures turned by any angle: scores, errors."""
    for picture in made:
        one = turned_picture(picture, random.uniform(-180, 180))
        for face in Reconstructor(engine, detector).reconstruct(one.image):
            error = math.inf if one.truth is None else one.truth.error(face.landmarks[:, :2])
            yield face.score, error


def test_a_doll_at_any_roll_is_found_and_right(engine, detector):
    random = np.random.default_rng(3)
    made = list(dolls(engine.topology, random, 12))
    found = list(looked_at(engine, detector, made, random))
    assert len(found) >= 10
    assert max(error for _, error in found) < RIGHT


def test_of_a_face_behind_a_hand_a_high_score_is_a_right_mesh(engine, detector, upright):
    random = np.random.default_rng(4)
    face = Made("astronaut", "faces", astronaut(), Truth.of_landmarks(upright.landmarks[:, :2]))
    found = list(
        looked_at(engine, detector, [behind_hand(face, random) for _ in range(24)], random)
    )
    assert len(found) >= 16
    assert max((error for score, error in found if score > 0.9), default=0.0) < 1.25 * RIGHT
    assert max(error for _, error in found) < 0.3


def test_what_is_no_face_is_not_reported_at_any_roll(engine, detector):
    random = np.random.default_rng(6)
    made = [*hands_alone(random, 10), *backs_of_heads(random, 10), *pictures_without_faces()]
    assert list(looked_at(engine, detector, made, random)) == []


def test_one_head_is_reported_once(engine, detector):
    """Regions on a part of a head give meshes that fit: the brows may pass for a mouth."""
    head = cv2.resize(astronaut()[60:210, 150:300], (600, 600))
    rows = [(0.9, (110, 60, 430, 420)), (0.95, (110, 250, 290, 430)), (0.8, (260, 60, 420, 220))]
    eyes = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)

    class Doubled:
        def detect(self, image, *, min_score=0.5, quarter_turns=0):
            return [Detection(score, np.array(box, np.float32), eyes) for score, box in rows]

        detect_tiled = detect

    found = Reconstructor(engine, Doubled(), min_score=0.0, max_faces=9).reconstruct(head)
    assert len(found) == 1
    assert found[0].score > 0.9


class Counted:
    """An engine or detector whose work is counted."""

    def __init__(self, inner) -> None:
        self._inner = inner
        self.crops = 0
        self.turns: list[int] = []

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def infer(self, crops):
        self.crops += len(crops)
        return self._inner.infer(crops)

    def detect(self, image, *, min_score=0.5, quarter_turns=0):
        self.turns.append(quarter_turns)
        return self._inner.detect(image, min_score=min_score, quarter_turns=quarter_turns)


def test_a_face_that_turns_all_the_way_is_followed_as_one(predictor, detector, upright):
    with Tracker(predictor, max_faces=1, detector=detector) as tracker:
        for number in range(72):
            picture, matrix = turned(5 * number)
            (face,) = tracker.process(picture, number / 30)
            assert face.id == 1
            assert face.score > 0.5
            assert error_px(face.landmarks, upright, matrix) < 3


@pytest.mark.parametrize("degrees", [90, 150, 180, 270])
def test_live_video_finds_a_face_at_any_roll_in_half_a_second(
    predictor, detector, upright, degrees
):
    picture, matrix = turned(degrees)
    with Tracker(predictor, max_faces=1, detector=detector) as tracker:
        tracker.process(np.zeros_like(picture), 0.0)
        faces = []
        for number in range(1, 16):
            faces = tracker.process(picture, number / 30)
            for face in faces:
                assert error_px(face.landmarks, upright, matrix) < 5
    (face,) = faces
    assert error_px(face.landmarks, upright, matrix) < 1.5


def test_second_looks_at_a_face_that_is_followed_are_rare(engine, detector):
    counted = Counted(engine)
    frames = 180
    with Tracker(HostPredictor(counted), max_faces=1, detector=detector) as tracker:
        for number in range(frames):
            assert len(tracker.process(astronaut(), number / 30)) == 1
    extra = counted.crops - frames
    assert 2 <= extra <= 0.05 * frames


def test_a_frame_is_searched_turned_rarely_and_by_every_quarter_in_turn(detector):
    counted = Counted(detector)
    nothing = FrameImage.from_rgb(np.zeros((48, 64, 3), np.uint8))
    idle = IntervalDetection(counted, DetectionIntervals())
    for _ in range(61):
        idle.detect(nothing, tracked=0, uncertain=False, full=False)
    assert counted.turns[:4] == [0, 1, 2, 3]  # a first look, which may be the only one
    assert sum(turn > 0 for turn in counted.turns[4:]) == 12
    assert set(counted.turns) == {0, 1, 2, 3}
    counted.turns.clear()
    for _ in range(600):
        idle.detect(nothing, tracked=1, uncertain=False, full=False)
    assert counted.turns.count(0) == 60
    assert sum(turn > 0 for turn in counted.turns) == 3


def test_turned_pictures_are_searched_as_if_they_were_upright(detector):
    picture = astronaut()[:, :400]
    (plain,) = detector.detect(FrameImage.from_rgb(picture))
    for quarters in range(1, 4):
        image = FrameImage.from_rgb(np.ascontiguousarray(np.rot90(picture, quarters)))
        for look, close in ((detector.detect, 0.01), (detector.detect_tiled, 12.0)):
            found = look(image, quarter_turns=-quarters)[0]
            assert found.score == pytest.approx(plain.score, abs=0.03)
            x, y = found.keypoints.T
            points = np.column_stack(_unturned(x, y, picture.shape, quarters))
            np.testing.assert_allclose(points, plain.keypoints, atol=close)


def _unturned(x, y, shape, quarters):
    """Points of `np.rot90(picture, quarters)` in the picture."""
    height, width = shape[:2]
    if quarters == 1:
        return width - 1 - y, x
    if quarters == 2:
        return width - 1 - x, height - 1 - y
    return y, height - 1 - x


def test_what_is_no_face_does_not_take_the_place_of_one(engine, upright):
    """A detector that is more certain of the background than of the face."""
    picture, matrix = turned(180)

    class Misled:
        def detect(self, image, *, min_score=0.5, quarter_turns=0):
            place = upright.box_xyxy.reshape(2, 2) @ matrix[:, :2].T + matrix[:, 2]
            face = np.concatenate([place.min(axis=0), place.max(axis=0)])
            eyes = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
            wall = np.array([30, 30, 130, 130])
            boxes = [(0.9, wall), (0.6, face)] if quarter_turns == 0 else []
            return [Detection(score, box.astype(np.float32), eyes) for score, box in boxes]

    (face,) = Reconstructor(engine, Misled(), max_faces=1).reconstruct(picture)
    assert error_px(face.landmarks, upright, matrix) < 1.5
