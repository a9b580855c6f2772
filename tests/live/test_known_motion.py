"""Faces in clips whose motion is known: found, followed, numbered, and where they should be."""

from __future__ import annotations

import numpy as np
import pytest

from streamprn.records import FrameResult, Kind
from streamprn.source.sample_clip import make_clip, place
from tests.support.clips import Clip, transform_points


def in_picture(result: FrameResult, clip: Clip, face: int = 0, index: int = 0) -> np.ndarray:
    """Landmarks `(68, 2)` of a result, in pixels of the astronaut's picture."""
    matrix = np.vstack([clip.transforms[result.frame.seq][face], [0, 0, 1]])
    inverse = np.linalg.inv(matrix)[:2]
    return transform_points(inverse, result.faces[index].landmarks[:, :2].astype(float))


def test_landmarks_follow_a_moving_face_within_a_pixel_and_a_half(run, clips):
    clip = clips.moving(frames=90)
    _, seen = run({"uri": clip.uri})
    assert len(seen.results) == 90
    assert all(len(result.faces) == 1 for result in seen.results)
    assert {result.faces[0].id for result in seen.results} == {1}
    landmarks = np.stack([in_picture(result, clip) for result in seen.results])
    scales = [np.hypot(*clip.transforms[r.frame.seq][0][:, 0]) for r in seen.results]
    error_px = np.linalg.norm(landmarks - np.median(landmarks, axis=0), axis=2)
    assert np.median(error_px * np.array(scales)[:, None]) < 1.5


def test_roll_follows_a_turning_face_within_a_degree_and_a_half(run, clips):
    clip = clips.moving(frames=90)
    _, seen = run({"uri": clip.uri})
    rolls = np.array([result.faces[0].pose.roll for result in seen.results])
    truth = np.array([clip.roll_deg(result.frame.seq) for result in seen.results])
    offset = rolls - truth
    assert np.ptp(truth) > 35
    assert np.abs(offset - np.median(offset)).max() < 1.5
    # The astronaut holds her head nearly upright.
    assert abs(np.median(offset)) < 5


def test_the_mesh_has_more_than_forty_thousand_vertices_and_stands_on_zero(run, clips):
    _, seen = run({"uri": clips.still().uri}, max_frames=3)
    vertices = seen.results[-1].faces[0].vertices
    assert vertices.shape[0] > 40_000
    assert vertices.dtype == np.float32
    assert vertices[:, 2].min() == pytest.approx(0.0, abs=1e-4)
    assert np.isfinite(vertices).all()


def test_a_still_face_gives_a_still_mesh(run, clips):
    _, seen = run({"uri": clips.still().uri})
    landmarks = np.stack([result.faces[0].landmarks[:, :2] for result in seen.results[5:]])
    assert np.abs(landmarks - landmarks.mean(axis=0)).max() < 1.0


def test_two_faces_keep_their_ids_apart(run, clips):
    clip = clips.two_faces()
    _, seen = run({"uri": clip.uri})
    assert all(len(result.faces) == 2 for result in seen.results[1:])
    for result in seen.results[1:]:
        left, right = sorted(result.faces, key=lambda face: float(face.box_xyxy[0]))
        assert left.box_xyxy[2] < right.box_xyxy[0]
    left_ids = {
        min(result.faces, key=lambda face: float(face.box_xyxy[0])).id
        for result in seen.results[1:]
    }
    assert len(left_ids) == 1


def test_no_face_is_found_where_there_is_none(run, clips):
    summary, seen = run({"uri": clips.no_face().uri})
    assert summary.frames == 30
    assert sum(len(result.faces) for result in seen.results) == 0


@pytest.mark.parametrize(("remember_s", "again"), [(10.0, True), (0.5, False), (0.0, False)])
def test_a_face_that_leaves_ends_and_gets_its_id_again_in_time(run, clips, remember_s, again):
    clip = clips.leaves_and_returns()
    _, seen = run({"uri": clip.uri}, settings={"track.remember_s": remember_s})
    count = [len(result.faces) for result in seen.results]
    first, middle, last = count[:20], count[52:68], count[-12:]
    assert min(first) == 1
    assert max(middle) == 0
    assert min(last) == 1
    assert (seen.results[-1].faces[0].id == seen.results[0].faces[0].id) is again


def test_the_cap_on_faces_holds(run, clips):
    _, seen = run({"uri": clips.two_faces().uri}, settings={"detect.max_faces": 1})
    assert {len(result.faces) for result in seen.results} == {1}


def test_a_box_from_the_user_needs_no_detector(run, clips):
    clip = clips.still()
    x, y = clip.transforms[0][0] @ (224.0, 120.0, 1.0)
    box = [float(x - 75), float(y - 75), float(x + 75), float(y + 75)]
    _, seen = run({"uri": clip.uri, "boxes": [box]}, settings={"detect.min_score": 1.0})
    assert {len(result.faces) for result in seen.results} == {1}


def test_a_box_outside_the_frame_gives_no_face_and_says_so_once(run, clips, caplog):
    boxes = [[5000, 5000, 5100, 5100], [600, 0, 700, 100]]
    _, seen = run({"uri": clips.still().uri, "boxes": boxes})
    said = [one.message for one in caplog.records if one.levelname == "WARNING"]
    assert said == [
        "the box 5000,5000,5100,5100 lies outside the 640x480 frame: it will find no face"
    ]
    assert len(seen.results) == 30
    assert {len(result.faces) for result in seen.results} == {0}


def test_the_tiled_search_finds_a_face_too_small_for_the_whole_picture(run, tmp_path):
    clip = make_clip(
        tmp_path / "small.mp4", lambda t: [place(300, 250, 0.6)], frames=60, width=1280, height=720
    )
    source = {"uri": clip.uri, "realtime": True}
    _, without = run(source)
    _, tiled = run(source, settings={"detect.tiled": True})
    assert not any(result.faces for result in without.results)
    (face,) = tiled.results[-1].faces
    assert np.linalg.norm(face.landmarks[30, :2] - (300, 250)) < 40


def test_smoothing_calms_the_mesh_and_keeps_up_with_the_motion(run, clips):
    clip = clips.moving(frames=90)
    source = {"uri": clip.uri, "realtime": False}
    _, raw = run(source)
    _, smooth = run(source, settings={"track.smoothing.enabled": True})
    lag = [
        np.linalg.norm(a.faces[0].landmarks - b.faces[0].landmarks, axis=1).mean()
        for a, b in zip(raw.results, smooth.results, strict=True)
    ]
    assert 0 < np.median(lag) < 40


def test_depth_covers_the_face_and_nothing_else(run, clips):
    _, seen = run({"uri": clips.still().uri}, kinds=(Kind.FACE, Kind.DEPTH), max_frames=3)
    result = seen.results[-1]
    depth = result.depth
    assert depth.shape == (480, 640)
    x0, y0, x1, y1 = result.faces[0].box_xyxy
    rows, columns = np.nonzero(np.isfinite(depth))
    assert columns.min() >= np.floor(x0) and columns.max() <= np.ceil(x1)
    assert rows.min() >= np.floor(y0) and rows.max() <= np.ceil(y1)
    nose = result.faces[0].landmarks[30]
    assert depth[round(float(nose[1])), round(float(nose[0]))] == pytest.approx(nose[2], rel=0.1)
