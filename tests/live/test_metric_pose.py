"""Poses in millimetres from a stream's own camera, by the real network."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.metric_pose import FLIP, HEIGHT, HFOV, WIDTH, angle_between, views
from streamprn import Camera, SourceConfig, Tracker, open_engine
from streamprn.errors import ConfigError
from streamprn.records import Kind
from streamprn.wire import decode, encode_faces, encode_frame
from tests.support.clips import encode


@pytest.fixture(scope="module")
def seen():
    """Turns of the camera, and the face in each view."""
    engine, faces = open_engine("facemesh"), []
    for turn, picture in list(views(Camera.of_view(HFOV, WIDTH, HEIGHT)))[::3]:
        (face,) = Tracker(engine).process(picture, 0)
        faces.append((turn, face))
    yield faces
    engine.close()


def test_a_camera_that_turns_sees_the_head_turn_by_as_much(seen):
    camera = Camera.of_view(HFOV, WIDTH, HEIGHT)
    (_, first), *others = seen
    start = first.metric_pose(camera)
    for turn, face in others:
        pose, turned = face.metric_pose(camera), FLIP @ turn @ FLIP
        assert angle_between(pose.rotation, turned @ start.rotation) < 2
        away = np.linalg.norm(pose.eyes_mm - turn @ start.eyes_mm)
        assert away < 0.01 * np.linalg.norm(start.eyes_mm)
    turn, face = others[-1]
    weak = FLIP @ turn @ FLIP @ first.pose.rotation
    assert angle_between(face.pose.rotation, weak) > 10


def test_a_stream_with_a_camera_has_both_poses(tmp_path, run):
    picture = next(iter(views(Camera.of_view(HFOV, WIDTH, HEIGHT))))[1]
    clip = str(encode(tmp_path / "still.mp4", [picture] * 4, fps=10))
    crop = [200, 100, 600, 500]
    known = {"uri": clip, "name": "known", "hfov": HFOV, "crop": crop, "pupil_distance_mm": 61}
    _, found = run(known, {"uri": clip, "name": "unknown"})
    camera = Camera.of_view(HFOV, WIDTH, HEIGHT, 61).cropped(*crop[:2])
    face = _received(found.of("known")[0]).faces[0]
    place = face.metric_pose.eyes_mm
    assert 400 < place[2] < 800
    eyes = face.landmarks[36:48, :2].mean(axis=0)
    shown = np.array([camera.fx, camera.fy]) * place[:2] / place[2] + (camera.cx, camera.cy)
    assert np.abs(shown - eyes).max() < 15
    assert face.metric_pose.error_px < 0.05 * np.ptp(face.landmarks[:, 0])
    assert _received(found.of("unknown")[0]).faces[0].metric_pose is None


def _received(result):
    faces = encode_faces(result, visible=False)
    return decode([bytes(part) for part in encode_frame(Kind.FACE, result, faces, 1)])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hfov": 60, "intrinsics": [500, 500, 320, 240]}, "one of the two"),
        ({"intrinsics": [0, 500, 320, 240]}, "focal lengths must be above 0"),
        ({"distortion": [0.1, 0, 0, 0, 0]}, "without hfov or intrinsics"),
        ({"hfov": 200}, "1 to 170 degrees"),
    ],
)
def test_a_camera_that_cannot_be_is_one_line(wrong, said):
    with pytest.raises(ConfigError, match=said):
        SourceConfig("clip.mp4", **wrong)
