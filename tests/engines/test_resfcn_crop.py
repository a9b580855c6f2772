"""The authors' crop rule, and ours where our detector's boxes differ from dlib's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from streamprn.engines.bundle import Bundle
from streamprn.engines.detectors import open_detector
from streamprn.engines.engine import open_engine
from streamprn.engines.head import HeadShape
from streamprn.engines.protocol import CropRule
from streamprn.kernels import uv, warp
from streamprn.records import Detection, FrameImage
from tests.support.resfcn import make_random_bundle

# For a box of dlib's detector.
AUTHORS = CropRule(
    size=256, span=255, box_scale=1.58, box_shift_y=0.14, track_scale=1.6, rotate=False
)
boxes = st.tuples(
    *(st.floats(-500, 2000), st.floats(-500, 2000), st.floats(20, 900), st.floats(20, 900))
)


@pytest.fixture(scope="module")
def rule(tmp_path_factory) -> CropRule:
    return Bundle.load(make_random_bundle(tmp_path_factory.mktemp("engines") / "prn")).crop


@given(boxes)
def test_the_corners_of_the_region_become_pixels_0_and_255(box):
    x, y, width, height = box
    mean = (width + height) / 2
    centre = np.array([x + width / 2, y + height / 2 + 0.14 * mean])
    half = 1.58 * mean / 2
    corners = centre + half * np.array([[-1, -1], [-1, 1], [1, -1]])
    roi = AUTHORS.roi_from_box(np.array([x, y, x + width, y + height], np.float32))
    matrix = AUTHORS.crop_from_frame(roi).astype(np.float64)
    found = corners @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(found, [[0, 0], [0, 255], [255, 0]], atol=0.05)
    # z is divided by the similarity's scale.
    assert AUTHORS.depth_scale(roi) == pytest.approx(2 * half / 255, rel=1e-4)


def test_the_next_region_is_the_authors_rule_for_landmarks(rule):
    roi = rule.roi_from_box(np.array([100, 120, 300, 340], np.float32))
    frame = np.random.default_rng(0).uniform((120, 150), (290, 360), (68, 2))
    matrix = rule.crop_from_frame(roi)
    landmarks = np.zeros((68, 3), np.float32)
    landmarks[:, :2] = frame @ matrix[:, :2].T + matrix[:, 2]
    found = rule.next_roi(roi, np.array([0, 0, 255, 255], np.float32), landmarks, 0.3)
    low, high = frame.min(axis=0), frame.max(axis=0)
    assert found.side == pytest.approx(1.6 * (high - low).mean(), rel=1e-4)
    np.testing.assert_allclose([found.cx, found.cy], (low + high) / 2, rtol=1e-4)
    assert found.roll == 0


@given(boxes)
def test_a_box_from_the_user_is_cropped_by_the_authors_rule_for_given_boxes(rule, box):
    x, y, width, height = box
    given_box = np.array([x, y, x + width, y + height], np.float32)
    nothing = np.zeros((0, 2), np.float32)
    roi = rule.roi_from_detection(Detection(1.0, given_box, nothing))
    assert roi.side == pytest.approx(1.6 * (width + height) / 2, rel=1e-4)
    assert roi.cx == pytest.approx(x + width / 2, abs=1e-3)
    assert roi.cy == pytest.approx(y + height / 2, abs=1e-3)


@pytest.mark.parametrize("kind", ["short", "full"])
def test_our_detectors_box_gives_the_region_that_the_landmarks_give(rule, kind):
    picture = data.astronaut()
    (found,) = open_detector(kind).detect(FrameImage.from_rgb(picture))
    roi = rule.roi_from_box(found.box_xyxy)
    wanted = region_of_landmarks(rule, picture, found)
    assert roi.side / wanted.side == pytest.approx(1, abs=0.15)
    assert math.hypot(roi.cx - wanted.cx, roi.cy - wanted.cy) < 0.08 * wanted.side


def region_of_landmarks(rule, picture, detection):
    """The authors' region from 68 landmarks; the default engine finds them."""
    engine = open_engine("facemesh", max_batch=1)
    own, topology = engine.crop, engine.topology
    roi = own.roi_from_box(detection.box_xyxy)
    for _ in range(3):
        matrix = own.frame_from_crop(roi)
        maps = engine.infer(warp.warp_rgb(picture, matrix[None], own.size)).maps
        landmarks = maps[0].reshape(-1, 3)[topology.texel[topology.landmarks]]
        vertices = maps[0].reshape(-1, 3)[topology.texel]
        frame = landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        turn = HeadShape(topology).fit(landmarks).turn
        roi = own.next_roi(roi, uv.bounds(vertices), landmarks, turn)
    box = np.concatenate([frame.min(axis=0), frame.max(axis=0)])
    return rule.roi_from_vertices_box(box.astype(np.float32))
