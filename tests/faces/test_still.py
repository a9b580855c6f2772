"""What stands still is not computed again, and whatever moves is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from streamprn.engines.detectors import open_detector
from streamprn.engines.engine import open_engine
from streamprn.engines.predict_host import HostPredictor
from streamprn.faces.detect import DetectionIntervals, IntervalDetection
from streamprn.faces.follow import Follower
from streamprn.faces.smooth import Smoother, Smoothing
from streamprn.faces.still import StillPicture
from streamprn.faces.track import TrackRules
from streamprn.planes import FrameImage, YuvPlanes
from tests.support.clips import astronaut

FRAME_NS = 33_000_000


class Counting(HostPredictor):
    """Notes how many crops the network sees."""

    def __init__(self, engine):
        super().__init__(engine)
        self.crops = 0

    def _cut(self, views, matrices, buffer):
        self.crops += len(views)
        return super()._cut(views, matrices, buffer)


@pytest.fixture(scope="module")
def engine():
    opened = open_engine("facemesh")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def detector():
    return open_detector()


def frame(rgb: np.ndarray, noise: float = 0.0, seed: int = 0) -> FrameImage:
    """A frame as a decoder leaves it; noise of a camera is on its luma."""
    height, width = rgb.shape[:2]
    packed = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    y, chroma = packed[:height], packed[height:].reshape(2, height // 2, width // 2)
    if noise:
        y = y + np.random.default_rng(seed).normal(0, noise, y.shape)
        y = np.clip(np.round(y), 0, 255).astype(np.uint8)
    planes = YuvPlanes(np.ascontiguousarray(y), *(np.ascontiguousarray(one) for one in chroma))
    return FrameImage(width, height, lambda: rgb, planes)


def moved(dx: float, dy: float = 0.0) -> np.ndarray:
    shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    return cv2.warpAffine(astronaut(), shift, (512, 512), borderMode=cv2.BORDER_REPLICATE)


def follower(predictor, detector, change=0.02, smoother=None, **rules) -> Follower:
    detection = IntervalDetection(detector, DetectionIntervals(1000, 1, 0.5, True))
    rules = TrackRules(still_change=change, **rules)
    return Follower(predictor, detection, rules, smoother)


def follow(one: Follower, images) -> list:
    faces = [one.follow(image, k * FRAME_NS) for k, image in enumerate(images)]
    assert all(len(each) == 1 for each in faces)
    return [each[0] for each in faces]


def settled(predictor, detector, **options) -> tuple[Follower, list]:
    """A follower whose region no longer moves, and its faces so far."""
    one = follower(predictor, detector, **options)
    return one, follow(one, [frame(astronaut())] * 6)


def test_a_still_face_in_noise_is_computed_once(engine, detector):
    predictor = Counting(engine)
    one, faces = settled(predictor, detector)
    before = predictor.crops
    still = follow(one, [frame(astronaut(), noise=2.0, seed=k) for k in range(20)])
    assert predictor.crops == before
    assert all(face is faces[-1] for face in still)


def test_nothing_is_kept_where_the_rule_is_off(engine, detector):
    predictor = Counting(engine)
    one, faces = settled(predictor, detector, change=0.0)
    before = predictor.crops
    again = follow(one, [frame(astronaut())] * 5)
    assert predictor.crops == before + 5
    assert len({id(face) for face in [*faces, *again]}) == 11
    # The first ones were cut from the planes, the others from their RGB.
    assert np.allclose(again[-1].vertices, faces[-1].vertices, atol=0.3)


def test_slow_motion_is_followed_to_a_fifth_of_a_pixel(engine, detector):
    one, _ = settled(Counting(engine), detector)
    every, _ = settled(Counting(engine), detector, change=0.0)
    images = [frame(moved(0.02 * k, 0.01 * k)) for k in range(100)]
    kept, computed = follow(one, images), follow(every, images)
    for face, truth in zip(kept, computed, strict=True):
        error = np.linalg.norm(face.landmarks[:, :2] - truth.landmarks[:, :2], axis=1)
        assert error.mean() < 0.2
    assert len({id(face) for face in kept}) > 5


def test_a_shut_eye_is_seen_at_once(engine, detector):
    predictor = Counting(engine)
    one, faces = settled(predictor, detector)
    before, last = predictor.crops, faces[-1]
    shut = astronaut().copy()
    x, y = last.landmarks[36:42, :2].mean(0).astype(int)
    shut[y - 3 : y + 4, x - 8 : x + 9] = shut[y + 12, x]
    (face,) = follow(one, [frame(shut)])
    assert predictor.crops > before
    assert face is not last


def test_a_dark_face_that_moves_is_seen_to_move(engine, detector):
    def dark(dx: float) -> FrameImage:
        return frame((moved(dx) * 0.12).astype(np.uint8))

    predictor = Counting(engine)
    one = follower(predictor, detector)
    follow(one, [dark(0.0)] * 6)
    before = predictor.crops
    follow(one, [dark(0.5)])
    assert predictor.crops > before


def test_a_still_face_is_checked_as_often_as_any(engine, detector):
    predictor = Counting(engine)
    one, _ = settled(predictor, detector, check_frames=10)
    before = predictor.crops
    follow(one, [frame(astronaut())] * 20)
    # Twice the face, and each time four second looks.
    assert predictor.crops == before + 10


def test_frames_of_another_size_or_kind_are_computed(engine, detector):
    predictor = Counting(engine)
    one, _ = settled(predictor, detector)
    before = predictor.crops
    follow(one, [FrameImage.from_rgb(astronaut())])
    assert predictor.crops > before
    one, _ = settled(predictor, detector)
    before = predictor.crops
    follow(one, [frame(np.pad(astronaut(), ((0, 8), (0, 8), (0, 0))))])
    assert predictor.crops > before


def test_a_smoothed_face_at_rest_stays_the_same_and_follows_again(engine, detector):
    predictor = Counting(engine)
    smoother = Smoother(Smoothing(), predictor.geometry)
    one, faces = settled(predictor, detector, smoother=smoother)
    rest = follow(one, [frame(astronaut(), noise=1.0, seed=k) for k in range(40)])
    assert rest[-1] is rest[-2]
    assert np.abs(rest[-1].vertices - faces[-1].vertices).max() < 0.5
    away = follow(one, [frame(moved(6.0))] * 30)
    shift = (away[-1].landmarks - rest[-1].landmarks)[:, 0].mean()
    assert shift == pytest.approx(6.0, abs=0.4)


class Seen:
    """A detector that notes which frames it saw, and how they were turned."""

    def __init__(self, detector):
        self.turns = []
        self._detector = detector

    def detect(self, image, *, min_score=0.5, quarter_turns=0):
        self.turns.append(quarter_turns)
        return self._detector.detect(image, min_score=min_score, quarter_turns=quarter_turns)


def room(noise: float, seed: int) -> FrameImage:
    rows, columns = np.mgrid[:512, :512]
    grey = (60 + 50 * np.sin(columns / 40) * np.cos(rows / 60) + 0.1 * rows).astype(np.uint8)
    return frame(np.dstack([grey] * 3), noise, seed)


def test_an_empty_room_is_searched_now_and_then_and_a_face_that_comes_is_found_at_once(detector):
    seen = Seen(detector)
    one = IntervalDetection(seen, DetectionIntervals(), StillPicture(0.02))

    def look(image):
        return one.detect(image, tracked=0, uncertain=False, full=False)

    found = [look(room(2.0, k)) for k in range(60)]
    assert not any(found)
    # The first pass looks in all four directions; then one in fifteen looks, turned in turn.
    assert len(seen.turns) <= 12
    assert set(seen.turns) == {0, 1, 2, 3}
    assert look(frame(astronaut()))
    assert look(frame(astronaut())), "what has somebody in it is searched in every frame"


def test_a_room_whose_light_goes_out_slowly_is_searched(detector):
    seen = Seen(detector)
    one = IntervalDetection(seen, DetectionIntervals(), StillPicture(0.02))
    images = [room(0.0, 0)]
    for k in range(30):
        dim = (images[0].planes.y * (1 - 0.02 * k)).astype(np.uint8)
        planes = YuvPlanes(dim, images[0].planes.u, images[0].planes.v)
        image = FrameImage(512, 512, lambda: images[0].rgb, planes)
        one.detect(image, tracked=0, uncertain=False, full=False)
    assert seen.turns.count(0) > 10


def test_a_followed_face_is_no_empty_picture(detector):
    seen = Seen(detector)
    one = IntervalDetection(seen, DetectionIntervals(interval_frames=1), StillPicture(0.02))
    for k in range(5):
        one.detect(room(0.0, k), tracked=1, uncertain=False, full=False)
    assert seen.turns.count(0) == 5
