"""The wiring: several streams, live sources, subscribers, the end, errors."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from streamprn.config import Config
from streamprn.engines.surfaces import ControlSurface
from streamprn.errors import PublishError, SourceError
from streamprn.live.pipeline import Pipeline
from streamprn.records import Kind, SourceState
from streamprn.wire.subscribe import Subscriber
from tests.live.conftest import Collector

STILL_IS_KEPT = {"track.still_change": 0.02}


def config(*uris: str, **source) -> Config:
    return Config.from_mapping(
        {
            "sources": [{"uri": uri, **source} for uri in uris],
            "publish": {"bind": "tcp://127.0.0.1:*"},
        }
    )


def test_files_lose_no_frame(run, clips):
    clip = clips.moving(frames=90)
    summary, seen = run({"uri": clip.uri})
    assert [result.frame.seq for result in seen.results] == list(range(90))
    assert summary.streams[0].dropped == 0
    assert seen.closed


def test_several_streams_share_one_engine(run, clips):
    moving, still, none = clips.moving(frames=90), clips.still(), clips.no_face()
    summary, seen = run(
        {"uri": moving.uri, "name": "a"},
        {"uri": still.uri, "name": "b"},
        {"uri": none.uri, "name": "c"},
    )
    assert {one.stream: one.frames for one in summary.streams} == {"a": 90, "b": 30, "c": 30}
    assert sum(len(result.faces) for result in seen.of("b")) == 30
    assert sum(len(result.faces) for result in seen.of("c")) == 0


def test_batches_across_streams_give_what_single_streams_give(run, clips):
    uri = clips.still().uri
    _, alone = run({"uri": uri})
    _, together = run({"uri": uri, "name": "a"}, {"uri": uri, "name": "b"})
    for name in "ab":
        for one, other in zip(alone.results, together.of(name), strict=True):
            assert np.allclose(one.faces[0].landmarks, other.faces[0].landmarks, atol=0.05)


def test_stamps_run_in_the_order_of_the_stages(run, clips):
    _, seen = run({"uri": clips.still().uri})
    for result, published in zip(seen.results, seen.published_ns, strict=True):
        frame = result.frame
        stamps = [frame.captured_ns, frame.decoded_ns, result.tracked_ns, result.inferred_ns]
        assert stamps == sorted(stamps)
        assert published >= stamps[-1]


class PatientDetector:
    """The real detector, which first waits for the result of every frame but the first."""

    def __init__(self, detector, sink):
        self._detector, self._sink = detector, sink
        self.calls = 0
        self.waited_in_vain = 0

    def detect(self, image, **options):
        deadline = time.monotonic() + (5 if self.calls else 0)
        self.calls += 1
        while all(result.frame.image is not image for result in self._sink.results):
            if time.monotonic() > deadline:
                self.waited_in_vain += 1
                break
            time.sleep(0.001)
        return self._detector.detect(image, **options)


def test_a_followed_face_is_published_before_the_detector_looks_for_others(engine, detector, clips):
    sink = Collector(Kind.FACE)
    patient = PatientDetector(detector, sink)
    settings = config(clips.still().uri, realtime=False)
    with Pipeline(settings, engine=engine, detector=patient, sinks=[sink]) as pipeline:
        pipeline.run()
    # One pass of the warm-up, one that finds the face, and one for every ten of the 30 frames.
    assert patient.calls >= 4
    # The warm-up's picture and the frame without a face yet have no result to wait for.
    assert patient.waited_in_vain <= 2
    assert all(len(result.faces) == 1 for result in sink.results)


def test_a_paced_file_counts_latency_from_when_a_frame_was_due(run, clips):
    _, seen = run({"uri": clips.still().uri, "realtime": True}, max_frames=20)
    due = np.diff([result.frame.captured_ns for result in seen.results])
    assert np.allclose(due, 1e9 / 30, rtol=0.01)


def computed(result):
    """What is kept in the faces of a result, and in the result itself."""
    return {name for face in result.faces for name in vars(face)} | set(vars(result))


def test_only_what_somebody_subscribes_to_is_computed(run, clips):
    lazy = {"_restored", "landmarks", "pose", "visible", "texture", "quantised_vertices", "depth"}
    _, nobody = run({"uri": clips.still().uri}, kinds=())
    assert all(len(result.faces) == 1 for result in nobody.results)
    assert not any(computed(result) & lazy for result in nobody.results)
    _, meshes = run({"uri": clips.still().uri}, kinds=(Kind.MESH,), max_frames=3)
    assert computed(meshes.results[-1]) & lazy == {"_restored", "landmarks", "pose"}
    _, textures = run({"uri": clips.still().uri}, kinds=(Kind.TEXTURE,), max_frames=3)
    assert "texture" in computed(textures.results[-1])
    assert textures.results[-1].faces[0].texture.shape == (256, 256, 3)


@pytest.mark.parametrize("smoothed", [None, True])
def test_faces_that_nobody_asked_for_are_followed_without_vertices(
    run, clips, monkeypatch, smoothed
):
    settings = {"track.smoothing.enabled": smoothed, "track.still_change": 0.0}
    made = []
    restore = ControlSurface.restore
    monkeypatch.setattr(
        ControlSurface, "restore", lambda self, matrix: made.append(1) or restore(self, matrix)
    )
    summary, _ = run({"uri": clips.still().uri}, kinds=(), settings=settings)
    assert summary.streams[0].faces == 30
    assert len(made) == 1  # by the warm-up
    run({"uri": clips.still().uri}, kinds=(Kind.FACE,), settings=settings)
    assert len(made) == 32
    run({"uri": clips.still().uri}, kinds=(Kind.FACE,), settings=settings | STILL_IS_KEPT)
    assert len(made) < 40


def test_a_result_stays_as_it_was_published(run, clips):
    """What comes after a frame changes nothing of it, and nothing is computed twice."""
    kinds = (Kind.FACE, Kind.MESH, Kind.DEPTH)
    for settings in ({}, {"track.smoothing.enabled": True}):
        copies = []

        class Copying(Collector):
            def take(self, result, published_ns):
                super().take(result, published_ns)
                face = result.faces[0]
                parts = (face.vertices, face.landmarks, face.pose.rotation, result.depth)
                copies.append((dict(result.spans_ns), [one.copy() for one in parts]))  # noqa: B023

        _, seen = run({"uri": clips.moving(frames=90).uri}, kinds=kinds, settings=settings,
                      collector=Copying(*kinds))  # fmt: skip
        assert len(copies) == 90
        for result, (spans, arrays) in zip(seen.results, copies, strict=True):
            face = result.faces[0]
            now = (face.vertices, face.landmarks, face.pose.rotation, result.depth)
            assert dict(result.spans_ns) == spans
            for one, other in zip(now, arrays, strict=True):
                np.testing.assert_array_equal(one, other)
            assert face.vertices is face.vertices


def test_a_subscriber_gets_faces_meshes_topology_and_the_last_status(engine, detector, clips):
    settings = config(clips.moving(frames=90).uri, name="cam")
    stop, kinds = threading.Event(), set()
    with (
        Pipeline(settings, engine=engine, detector=detector) as pipeline,
        Subscriber(pipeline.endpoint, "cam/", newest=False) as messages,
    ):
        thread = threading.Thread(target=pipeline.run, args=(stop,))
        thread.start()
        wanted = {Kind.FACE, Kind.MESH, Kind.TOPOLOGY, Kind.STATUS, Kind.IMAGE, Kind.DEPTH}
        deadline = time.monotonic() + 20
        while not wanted <= kinds and time.monotonic() < deadline:
            message = messages.receive(0.5)
            if message is not None:
                kinds.add(message.kind)
        stop.set()
        thread.join(5)
    assert wanted <= kinds
    assert not thread.is_alive()


def test_a_picture_with_alpha_grey_or_sixteen_bits_works(run, tmp_path):
    import cv2
    from skimage import data

    rgb = np.ascontiguousarray(data.astronaut())
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    pictures = {
        "grey.png": grey,
        "deep.png": (grey.astype(np.uint16) * 257),
        "alpha.png": np.dstack([rgb[:, :, ::-1], np.full(grey.shape, 255, np.uint8)]),
    }
    for name, picture in pictures.items():
        cv2.imwrite(str(tmp_path / name), picture)
    _, seen = run(*({"uri": str(tmp_path / name), "name": name} for name in pictures))
    assert {len(result.faces) for result in seen.results} == {1}


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4320, 7680)])
def test_tiny_and_huge_pictures_work(run, tmp_path, size):
    import cv2

    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "picture.png"), picture, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    summary, _ = run({"uri": str(tmp_path / "picture.png")}, kinds=(Kind.FACE, Kind.DEPTH))
    assert summary.frames == 1


@pytest.mark.timed
def test_a_stop_ends_a_run_within_a_second(engine, detector, clips):
    settings = config(clips.moving(frames=90).uri, loop=True)
    with Pipeline(settings, engine=engine, detector=detector) as pipeline:
        stop = threading.Event()
        thread = threading.Thread(target=pipeline.run, args=(stop,))
        thread.start()
        time.sleep(1.0)
        asked = time.monotonic()
        stop.set()
        thread.join(5)
        assert not thread.is_alive()
        assert time.monotonic() - asked < 1.0


def test_max_frames_ends_a_loop(run, clips):
    summary, _ = run({"uri": clips.still().uri, "loop": True}, max_frames=70)
    assert summary.frames == 70


def test_a_missing_file_is_refused_before_anything_starts(engine):
    with (
        pytest.raises(SourceError, match=r"missing\.mp4"),
        Pipeline(config("missing.mp4"), engine=engine),
    ):
        pass


def test_a_port_in_use_is_refused(engine, detector, clips):
    settings = config(clips.still().uri)
    with Pipeline(settings, engine=engine, detector=detector) as first:
        taken = settings.with_overrides({"publish.bind": first.endpoint})
        with (
            pytest.raises(PublishError, match="in use"),
            Pipeline(taken, engine=engine, detector=detector),
        ):
            pass
        first.run(max_frames=1)


def test_a_damaged_file_fails_alone_and_says_why(run, clips, tmp_path):
    (tmp_path / "bad.mp4").write_text("this is no video")
    summary, seen = run(
        {"uri": str(tmp_path / "bad.mp4"), "name": "bad"},
        {"uri": clips.still().uri, "name": "good"},
    )
    states = {one.stream: one.state for one in summary.streams}
    assert states["bad"].startswith(SourceState.FAILED)
    assert len(states["bad"]) > len("failed: ")
    assert len(seen.of("good")) == 30


def test_an_error_in_a_sink_ends_the_run_with_that_error(engine, detector, clips):
    class Full(Collector):
        def take(self, result, published_ns):
            raise SourceError("no room", uri="disk")

    settings = config(clips.still().uri, loop=True)
    with (
        Pipeline(settings, engine=engine, detector=detector, sinks=[Full()]) as pipeline,
        pytest.raises(SourceError, match="no room"),
    ):
        pipeline.run()


def test_asynchronous_subscribers_work_beside_a_running_pipeline(engine, detector, clips):
    async def first_face(endpoint, thread) -> int:
        subscriber = Subscriber(endpoint, "cam/face", timeout_s=20)
        try:
            thread.start()
            async for message in subscriber:
                if message.faces:
                    return len(message.faces[0].landmarks)
        finally:
            subscriber.close()
        return 0

    settings = config(clips.moving(frames=90).uri, name="cam")
    with Pipeline(settings, engine=engine, detector=detector) as pipeline:
        thread = threading.Thread(target=pipeline.run)
        assert asyncio.run(first_face(pipeline.endpoint, thread)) == 68
        thread.join(20)
        assert not thread.is_alive()
