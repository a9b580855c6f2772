"""`streamprn.Tracker`: frames of one's own in, faces out."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from streamprn import Smoothing, Tracker, open_engine
from streamprn.errors import InputError
from tests.support.clips import ClipStore


@pytest.fixture(scope="module")
def engine():
    opened = open_engine("facemesh")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """The pictures of a clip with known motion, and where the nose's tip is in each."""
    import av

    clip = ClipStore(tmp_path_factory.mktemp("clips")).moving(frames=90)
    with av.open(clip.uri) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def follow(tracker, pictures):
    return [tracker.process(rgb, number / 30) for number, rgb in enumerate(pictures)]


def test_a_face_keeps_its_id_and_has_everything(engine, moving):
    with Tracker(engine, max_faces=1) as tracker:
        found = follow(tracker, moving)
    assert [len(faces) for faces in found] == [1] * len(moving)
    assert {face.id for faces in found for face in faces} == {1}
    face = found[-1][0]
    count = engine.topology.vertex_count
    assert face.vertices.shape == (count, 3)
    assert face.vertices is face.vertices
    assert face.landmarks.shape == (68, 3)
    assert face.visible.sum() > 50
    assert face.texture.shape == (256, 256, 3)
    assert face.quantised_vertices.steps.shape == (count, 3)
    assert np.isfinite(face.depth_image((640, 480))).sum() > 1000
    assert abs(face.pose.yaw) < 30
    assert face.score > 0.9


def test_a_tracker_gives_what_the_pipeline_publishes(engine, moving, run_pipeline):
    """Both follow by the same steps: only the frames of the detector's cadence may differ."""
    found = follow(Tracker(engine, max_faces=1), moving)
    results = run_pipeline(moving)
    for faces, result in zip(found[5:], results[5:], strict=True):
        np.testing.assert_allclose(faces[0].landmarks, result.faces[0].landmarks, atol=0.75)


@pytest.fixture
def run_pipeline(tmp_path, engine):
    """Results of the pipeline for pictures, as it reads them from files."""
    import cv2

    from streamprn import Config, Kind, Pipeline
    from tests.live.conftest import Collector

    def run(pictures):
        for number, rgb in enumerate(pictures):
            cv2.imwrite(str(tmp_path / f"{number:03}.png"), rgb[:, :, ::-1])
        mapping = {
            "sources": [{"uri": str(tmp_path), "realtime": False}],
            "publish": {"bind": "tcp://127.0.0.1:*"},
            "detect": {"max_faces": 1},
        }
        sink = Collector(Kind.FACE)
        with Pipeline(Config.from_mapping(mapping), engine=engine, sinks=[sink]) as pipeline:
            pipeline.run()
        return sink.results

    return run


def test_smoothing_calms_a_face_that_stands_still_in_noise(engine, moving):
    rng = np.random.default_rng(0)
    noisy = [
        np.clip(moving[0] + rng.normal(0, 6, moving[0].shape), 0, 255).astype(np.uint8)
        for _ in range(45)
    ]

    def tremble(smoothing):
        found = follow(Tracker(engine, max_faces=1, smoothing=smoothing), noisy)
        places = np.stack([faces[0].landmarks[:, :2] for faces in found[15:]])
        return np.sqrt(places.var(axis=0).sum(axis=1).mean())

    plain = tremble(None)
    assert tremble(True) < 0.7 * plain
    assert tremble(Smoothing(min_cutoff_hz=0.3, beta=0.0)) < 0.7 * plain


def test_several_trackers_in_several_threads_share_one_engine(engine, moving):
    alone = [face.landmarks for faces in follow(Tracker(engine), moving[:30]) for face in faces]
    together: dict[int, list[np.ndarray]] = {}

    def work(number):
        with Tracker(engine) as tracker:
            together[number] = [
                face.landmarks for faces in follow(tracker, moving[:30]) for face in faces
            ]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(together) == {0, 1, 2}
    for landmarks in together.values():
        np.testing.assert_array_equal(np.stack(landmarks), np.stack(alone))
    assert Tracker(engine).process(moving[0], 0.0)  # closing a tracker left the engine open


def test_an_engine_by_name_is_closed_with_its_tracker(moving):
    with Tracker("facemesh") as tracker:
        (face,) = tracker.process(moving[0], 0)
    tracker.close()
    # What was given stays.
    assert face.vertices.shape[1] == 3


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (np.zeros((40, 40), np.uint8), "uint8, not"),
        (np.zeros((40, 40, 4), np.uint8), "uint8, not"),
        (np.zeros((40, 40, 3), np.float32), "float32"),
        (np.zeros((0, 40, 3), np.uint8), "uint8, not"),
    ],
)
def test_what_is_no_rgb_picture_is_refused_with_the_way_out(engine, picture, why):
    with pytest.raises(InputError, match=why) as caught:
        Tracker(engine).process(picture, 0)
    assert "np.dstack" in str(caught.value)


def test_views_that_are_not_contiguous_are_taken_as_they_are(engine, moving):
    bgr = np.ascontiguousarray(moving[0][:, :, ::-1])
    (one,), (other,) = (Tracker(engine).process(rgb, 0) for rgb in (bgr[:, :, ::-1], moving[0]))
    np.testing.assert_array_equal(one.landmarks, other.landmarks)


def test_time_goes_forward_only(engine, moving):
    tracker = Tracker(engine)
    tracker.process(moving[0], 1.0)
    for time_s in (1.0, 0.5, float("nan"), float("inf")):
        with pytest.raises(InputError, match="not later"):
            tracker.process(moving[0], time_s)


@pytest.mark.parametrize("wrong", [{"max_faces": 0}, {"min_score": 1.5}, {"detect_every": 0}])
def test_settings_out_of_bounds_are_refused_by_name(engine, wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=name):
        Tracker(engine, **wrong)
