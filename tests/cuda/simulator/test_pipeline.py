"""The pipeline itself on the device chain, from a video source to results."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest

from streamprn.config import Config
from streamprn.engines.device.predict import DevicePredictor
from streamprn.engines.failover import FailoverPredictor
from streamprn.engines.predict_host import HostPredictor
from streamprn.errors import BackendError
from streamprn.kernels import visibility
from streamprn.kernels.cuda import surface
from streamprn.live import pipeline as live
from streamprn.live.pipeline import HANDOVER_FRAMES, Pipeline
from streamprn.records import Kind
from tests.cuda.simulator.stand_in import HostEngine, make_chain, small_topology


class Collector:
    def __init__(self, wanted):
        self.wanted, self.results = frozenset(wanted), []

    def take(self, result, published_ns):
        self.results.append(result)

    def close(self):
        pass


@pytest.fixture(autouse=True)
def small_side(monkeypatch):
    monkeypatch.setattr(surface, "SIDE", 24)
    monkeypatch.setattr(visibility, "SIDE", 24)


def config(frames=2, **changes):
    source = {
        "uri": f"lavfi:testsrc=size=64x48:rate=10:duration={frames / 10}",
        "realtime": False,
        "boxes": [[20, 10, 44, 34]],
    }
    mapping = {
        "sources": [source],
        "publish": {"bind": "tcp://127.0.0.1:*"},
        "geometry": {"texture_size": 32},
    }
    return Config.from_mapping(mapping).with_overrides(changes)


@contextmanager
def after_warm_up(pipeline, then):
    """Call `then` when the pipeline has warmed up."""
    warm_up = live.warm_up

    def warm_up_first(*arguments):
        warm_up(*arguments)
        then()

    live.warm_up = warm_up_first
    try:
        yield pipeline
    finally:
        live.warm_up = warm_up


def run(wanted, **changes):
    topology = small_topology()
    chain, device = make_chain(topology, timed=True, texture_size=32)
    sink = Collector(wanted)
    downloads = device.download
    noted = []

    def noting(target, source, stream):
        noted.append((threading.current_thread().name, target.shape))
        downloads(target, source, stream)

    def note():
        device.download = noting

    predictor = DevicePredictor(chain, texture_size=32)
    with Pipeline(config(**changes), engine=predictor, sinks=[sink]) as pipeline:
        with after_warm_up(pipeline, note):
            summary = pipeline.run()
        assert not device.closed
    predictor.close()
    return sink.results, summary, device, noted


def test_every_kind_comes_out_of_the_device():
    results, summary, device, noted = run({Kind.FACE, Kind.MESH, Kind.DEPTH, Kind.TEXTURE})
    assert summary.frames == 2
    assert summary.backend == "Numba's simulator, device chain"
    assert device.closed
    assert {"finish", "look"} == {thread for thread, _ in noted}
    for result in results:
        assert result.faces
        assert result.depth.shape == (48, 64)
        assert np.isfinite(result.depth).any()
        assert {"device crop", "device network"} <= set(result.spans_ns)
        for face in result.faces:
            count = face.vertices.shape[0]
            assert count == small_topology().vertex_count
            low, high = face.vertices[:, :2].min(axis=0), face.vertices[:, :2].max(axis=0)
            np.testing.assert_allclose(face.box_xyxy, [*low, *high], atol=1e-3)
            assert face.visible.shape == (68,)
            assert face.texture.shape == (32, 32, 3)
            assert np.isfinite([face.pose.yaw, face.pose.pitch, face.pose.roll]).all()


def test_faces_alone_bring_no_vertices_to_the_host():
    results, _, _, noted = run({Kind.FACE})
    assert all(result.faces for result in results)
    assert all("vertices" not in vars(face) for result in results for face in result.faces)
    count = small_topology().vertex_count
    assert noted
    assert all(count not in shape for _, shape in noted)


def test_smoothing_works_on_downloaded_vertices():
    changes = {"track.smoothing.enabled": True}
    results, _, _, _ = run({Kind.FACE, Kind.MESH}, **changes)
    assert all(result.faces for result in results)
    assert all(face.vertices.size for result in results for face in result.faces)


def test_a_frame_that_arrives_while_a_batch_is_in_flight_begins_another():
    topology = small_topology()
    chain, _ = make_chain(topology)
    sink = Collector({Kind.FACE})
    mapping = dict(config(frames=3).to_mapping())
    mapping["sources"] = [{**mapping["sources"][0], "name": name} for name in "ab"]
    predictor = DevicePredictor(chain)
    with Pipeline(Config.from_mapping(mapping), engine=predictor, sinks=[sink]) as pipeline:
        first, second = pipeline.streams
        take, in_flight, most = second.channel.take, [], []
        submit, collect = chain.submit, chain.collect

        def submit_and_note(*arguments):
            ticket = submit(*arguments)
            in_flight.append(ticket)
            most.append(len(in_flight))
            return ticket

        def collect_and_note(ticket):
            in_flight.remove(ticket)
            return collect(ticket)

        chain.submit, chain.collect = submit_and_note, collect_and_note
        # The second stream's frames come only while one of the first is on the device.
        second.channel.take = lambda: take() if in_flight or first.channel.drained else None
        pipeline.run()
    assert max(most) == 2
    for name in "ab":
        results = [result for result in sink.results if result.frame.stream == name]
        assert [result.frame.seq for result in results] == [0, 1, 2]
        assert all(result.faces for result in results)


def test_batches_in_flight_are_given_up_when_the_run_is_stopped():
    chain, _ = make_chain(small_topology())
    stop = threading.Event()
    submit = chain.submit
    with Pipeline(config(frames=4), engine=DevicePredictor(chain)) as pipeline:

        def submit_then_stop(*arguments):
            ticket = submit(*arguments)
            if pipeline.statistics()["look"].turns:
                stop.set()
            return ticket

        chain.submit = submit_then_stop
        pipeline.run(stop)
    assert chain.free_slots == chain.slots


def lose_the_gpu(caplog, backend, when, frames=2):
    """A run whose device fails from the call `when` of a kernel on, by its name."""
    topology = small_topology()
    chain, device = make_chain(topology, texture_size=32)
    host = HostEngine(topology)
    predictor = DevicePredictor(chain)
    if backend == "auto":
        predictor = FailoverPredictor(predictor, lambda: HostPredictor(host))
    sink = Collector({Kind.FACE})

    def fail():
        device.fail_on = when

    with caplog.at_level("WARNING"):
        try:
            with (
                Pipeline(config(frames), engine=predictor, sinks=[sink]) as pipeline,
                after_warm_up(pipeline, fail),
            ):
                summary = pipeline.run()
        finally:
            predictor.close()
            assert device.closed
            assert host.closed == (backend == "auto")
    return sink.results, summary, [record.getMessage() for record in caplog.records]


def test_auto_goes_on_on_the_cpu_when_the_gpu_is_lost(caplog):
    results, summary, said = lose_the_gpu(caplog, "auto", "warp_rgb")
    assert summary.frames == 2
    assert summary.backend == "the CPU"
    assert all(face.vertices.size for result in results for face in result.faces)
    assert all(result.faces for result in results)
    assert said == [
        "the GPU failed, going on on the CPU: the GPU is out of memory",
    ]


def test_a_frame_whose_faces_are_on_a_lost_gpu_is_left_out_and_the_run_goes_on(caplog):
    # More frames than can be on their way to geometry when the first one fails there.
    frames = HANDOVER_FRAMES + 4
    results, summary, said = lose_the_gpu(caplog, "auto", "visible_landmarks", frames)
    assert "a frame is left out: the GPU is out of memory" in said[0]
    assert "going on on the CPU" in "".join(said)
    assert summary.backend == "the CPU"
    assert 0 < len(results) < frames
    assert all(face.visible is not None for result in results for face in result.faces)


def test_without_a_choice_a_lost_gpu_ends_the_run_with_its_error(caplog):
    with pytest.raises(BackendError, match="out of memory"):
        lose_the_gpu(caplog, "tensorrt", "warp_rgb")


def test_without_a_choice_a_gpu_that_loses_a_face_ends_the_run_with_its_error(caplog):
    with pytest.raises(BackendError, match="out of memory"):
        lose_the_gpu(caplog, "tensorrt", "visible_landmarks")
