"""Laws of tracking: birth, death, ids, and how far ROIs differ."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamprn.engines.protocol import CropRule
from streamprn.faces.track import FaceTracker, TrackRules, is_plausible, on_one_head
from streamprn.records import Detection, Roi

RULE = CropRule(192, 192.0, 1.5, square="max")
FRAME = (640, 480)
rois = st.builds(
    Roi,
    cx=st.floats(-2000, 2000),
    cy=st.floats(-2000, 2000),
    side=st.floats(1, 2000),
    roll=st.floats(-math.pi, math.pi),
)


def detection(x: float, y: float, side: float = 100.0, score: float = 0.9) -> Detection:
    half = side / 2
    eyes = np.array([[x - 20, y], [x + 20, y]], np.float32)
    return Detection(score, np.array([x - half, y - half, x + half, y + half], np.float32), eyes)


def observe(tracker: FaceTracker, score: float = 0.9) -> list[bool]:
    seen = [tracker.observe(track, score, track.roi, FRAME) for track in tracker.tracks]
    tracker.settle()
    return seen


def test_a_detection_is_a_face_only_when_the_engine_agrees():
    tracker = FaceTracker(RULE, TrackRules())
    tracker.see([detection(200, 200)])
    assert observe(tracker, score=0.1) == [False]
    assert tracker.tracks == []
    tracker.see([detection(200, 200)])
    assert observe(tracker, score=0.9) == [True]
    assert [track.id for track in tracker.tracks] == [1]


def test_ids_are_never_given_twice():
    tracker = FaceTracker(RULE, TrackRules(lost_frames=1))
    for expected in (1, 2, 3):
        tracker.see([detection(200, 200)])
        observe(tracker)
        assert [track.id for track in tracker.tracks] == [expected]
        observe(tracker, score=0.0)
        assert tracker.tracks == []


def test_a_face_survives_fewer_misses_than_lost_frames():
    tracker = FaceTracker(RULE, TrackRules(lost_frames=3))
    tracker.see([detection(200, 200)])
    observe(tracker)
    observe(tracker, score=0.0)
    observe(tracker, score=0.0)
    assert tracker.uncertain
    observe(tracker)
    assert not tracker.uncertain
    assert [track.id for track in tracker.tracks] == [1]


def test_a_missed_face_moves_to_where_it_is_detected():
    tracker = FaceTracker(RULE, TrackRules())
    tracker.see([detection(200, 200)])
    observe(tracker)
    observe(tracker, score=0.0)
    tracker.see([detection(230, 200)])
    assert len(tracker.tracks) == 1
    assert tracker.tracks[0].roi.cx == pytest.approx(230)


def test_detections_of_followed_faces_start_no_new_ones():
    tracker = FaceTracker(RULE, TrackRules())
    for _ in range(5):
        tracker.see([detection(200, 200), detection(450, 200)])
        observe(tracker)
    assert [track.id for track in tracker.tracks] == [1, 2]


def test_two_tracks_of_one_face_become_the_older():
    tracker = FaceTracker(RULE, TrackRules())
    tracker.see([detection(100, 200), detection(400, 200)])
    observe(tracker)
    for track in tracker.tracks:
        tracker.observe(track, 0.9, Roi(250, 200, 150), FRAME)
    tracker.settle()
    assert [track.id for track in tracker.tracks] == [1]


def test_without_scores_a_face_ends_when_the_detector_loses_it():
    tracker = FaceTracker(RULE, TrackRules(unconfirmed_detections=3))
    tracker.see([detection(200, 200)])
    assert observe(tracker, score=math.nan) == [True]
    for _ in range(3):
        tracker.see([])
    assert observe(tracker, score=math.nan) == [False]
    assert tracker.tracks == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_map_that_is_not_finite_is_no_face(bad):
    assert not is_plausible(Roi(bad, 100, 100), FRAME)
    assert not is_plausible(Roi(100, 100, bad), FRAME)


@given(rois)
def test_a_roi_overlaps_itself_wholly_and_has_not_changed(roi):
    assert roi.overlap(roi) == pytest.approx(1.0)
    assert roi.change_to(roi) == 0.0


@given(rois, rois)
def test_that_two_faces_share_a_head_is_said_by_both(a, b):
    assert on_one_head(a, b) == on_one_head(b, a)
    assert on_one_head(a, a)
    assert on_one_head(a, b) >= (a.overlap(b) > 0.4)


def test_heads_side_by_side_are_two_and_a_mesh_within_a_head_is_none():
    face = Roi(100, 100, 150, 0)
    assert not on_one_head(face, Roi(200, 100, 150, 0))  # cheek to cheek
    assert not on_one_head(face, Roi(168, 90, 50, 0))  # someone far behind, beside the cheek
    assert on_one_head(face, Roi(110, 130, 80, 2.5))


@given(rois, rois)
def test_overlap_is_symmetric_and_a_fraction(a, b):
    assert a.overlap(b) == pytest.approx(b.overlap(a))
    assert 0.0 <= a.overlap(b) <= 1.0 + 1e-9


@given(st.floats(-1000, 1000), st.floats(-1000, 1000), st.floats(20, 500), st.floats(-3.1, 3.1))
def test_the_next_roi_of_a_face_that_fits_its_crop_is_its_roi(cx, cy, side, roll):
    roi = Roi(cx, cy, side, roll)
    half, middle = RULE.size / RULE.track_scale / 2, (RULE.size - 1) / 2
    box = np.array([middle - half, middle - half, middle + half, middle + half], np.float32)
    again = RULE.next_roi(roi, box, np.zeros((68, 3), np.float32), 0.0)
    assert roi.change_to(again) < 1e-3


@given(rois)
def test_crop_matrices_are_inverse_to_each_other(roi):
    there, back = RULE.crop_from_frame(roi), RULE.frame_from_crop(roi)
    point = np.array([roi.cx + 0.2 * roi.side, roi.cy - 0.1 * roi.side, 1.0])
    round_trip = back @ np.append(there @ point, 1.0)
    assert np.allclose(round_trip, point[:2], atol=2e-3 * (1 + abs(roi.cx) + abs(roi.cy)))


def test_a_box_from_the_user_is_taken_as_the_face_and_not_as_a_detectors_box():
    rule = CropRule(256, 255.0, 1.55, box_shift_y=0.065, track_scale=1.6, rotate=False)
    box = np.array([100, 100, 200, 220], np.float32)
    given = rule.roi_from_detection(Detection(1.0, box, np.zeros((0, 2), np.float32)))
    assert given == Roi(150, 160, pytest.approx(1.6 * 110))
    detected = rule.roi_from_detection(Detection(1.0, box, np.zeros((6, 2), np.float32)))
    assert detected == Roi(150, pytest.approx(160 + 0.065 * 110), pytest.approx(1.55 * 110))
