"""The device chain on a real GPU, against the CPU. Run by `make test-gpu`; prints its figures."""

import statistics
import time
from dataclasses import replace

import numpy as np
import pytest

from streamprn.errors import BackendError

pytestmark = pytest.mark.gpu

FRAMES = 10_000
#: Bytes of device memory that other programs may take meanwhile.
SLACK = 64 << 20


def reason():
    from streamprn.engines.runtimes import tensorrt

    try:
        return tensorrt.unusable()
    except BackendError as error:
        return error.what


@pytest.fixture(scope="module", autouse=True)
def _needs_a_gpu():
    if why := reason():
        pytest.skip(f"no GPU path: {why}")


@pytest.fixture(scope="module")
def bundle():
    from streamprn.engines import registry

    return registry.find("facemesh")


@pytest.fixture(scope="module")
def picture():
    skimage = pytest.importorskip("skimage.data")
    from streamprn.records import FrameImage

    return FrameImage.from_rgb(np.ascontiguousarray(skimage.astronaut()))


@pytest.fixture(scope="module")
def roi():
    from streamprn.records import Roi

    return Roi(225.0, 120.0, 190.0, 0.0)


@pytest.fixture(scope="module")
def chain(bundle):
    from streamprn.engines.gpu_chain import open_chain

    chain = open_chain(bundle, max_batch=4)
    chain.warm_up()
    yield chain
    chain.close()


def cpu_face(bundle, picture, roi):
    from streamprn.engines.engine import open_engine
    from streamprn.kernels import pose, warp

    engine = open_engine(bundle.folder, backend="openvino")
    matrix = engine.crop.frame_from_crop(roi)
    (surface,) = engine.infer(warp.warp_rgb(picture.rgb, matrix, engine.crop.size)).surfaces
    topology = engine.topology
    vertices, _ = surface.restore(matrix)
    reference = pose.Reference(topology.canonical, topology.pose_weights)
    return vertices, pose.estimate(vertices, reference)


def test_the_chain_finds_the_face_that_the_cpu_finds(chain, bundle, picture, roi):
    vertices, head = cpu_face(bundle, picture, roi)
    faces = chain.process([picture], [(0, roi)] * 3)
    for face in faces:
        # Half precision in the network: a tenth of a pixel, not of a percent.
        assert np.abs(face.vertices - vertices).mean() < 0.3
        assert np.abs(face.landmarks - face.vertices[bundle.topology().landmarks]).max() < 1e-3
        assert abs(face.pose.yaw - head.yaw) < 0.5
        assert abs(face.pose.pitch - head.pitch) < 0.5
        assert abs(face.pose.roll - head.roll) < 0.5


@pytest.mark.parametrize("name", ["facemesh", "facemesh2"])
def test_expressions_of_a_face_on_the_gpu_are_those_of_the_cpu(name, picture, roi):
    from streamprn.engines import registry
    from streamprn.engines.blendshapes import SharedBlendshapes
    from streamprn.engines.device.predict import DevicePredictor
    from streamprn.engines.engine import open_engine
    from streamprn.engines.gpu_chain import open_chain
    from streamprn.engines.predict import RefineRule, View
    from streamprn.engines.predict_host import HostPredictor

    shared, once, views = SharedBlendshapes(), RefineRule(threshold=10.0), [View(picture, roi)] * 2
    engine = open_engine(name, backend="openvino")
    chain = open_chain(registry.find(name), max_batch=2)
    found = []
    for predictor in (
        HostPredictor(engine, once, expressions=shared),
        DevicePredictor(chain, once, expressions=shared),
    ):
        predictions, _ = predictor.predict(views)
        found.append([one.face(id=1, score=1.0) for one in predictions])
        # Read before the chain is closed: the points are on the host, as are the expressions.
        for face in found[-1]:
            _ = face.mesh_points
        predictor.close()
    for host, device in zip(*found, strict=True):
        gaps = device.mesh_points.xyz_px - host.mesh_points.xyz_px
        assert np.abs(gaps).mean() < 0.3
        assert np.abs(device.blendshapes - host.blendshapes).max() < 0.1


def test_recorded_and_unrecorded_batches_agree(chain, picture, roi):
    runs = [chain.process([picture], [(0, roi)])[0].vertices for _ in range(6)]
    for other in runs[1:]:
        np.testing.assert_allclose(other, runs[0], atol=1e-4)


def test_a_graph_is_recorded_with_the_network_inside(chain, picture, roi, caplog):
    with caplog.at_level("WARNING"):
        for _ in range(8):
            chain.process([picture], [(0, roi)])
    assert [record.getMessage() for record in caplog.records] == []
    assert all(slot.stream.graphs.get((1,)) not in (None, "settled") for slot in chain._slots)


def test_what_is_computed_on_the_device_is_what_the_cpu_makes_of_its_vertices(
    chain, bundle, picture, roi
):
    from streamprn.kernels import raster, sampling, visibility
    from streamprn.kernels.quantise import quantise

    topology = bundle.topology()
    (face,) = chain.process([picture], [(0, roi)])
    vertices = face.vertices
    seen = visibility.visible_landmarks(vertices, topology.triangles, topology.landmarks)
    assert (face.visible != seen).sum() <= 1
    chart = sampling.Chart.draw(topology.triangles, topology.uv, 256)
    texture = sampling.texture(picture.rgb, vertices, chart)
    assert np.abs(replace(face, image=picture).texture.astype(int) - texture).max() <= 1
    for ours, theirs in zip(face.quantised_vertices, quantise(vertices), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    found = face.depth_image((picture.width, picture.height))
    expected = raster.depth(vertices, topology.triangles, picture.height, picture.width)
    assert (np.isnan(found) != np.isnan(expected)).mean() < 1e-5
    both = np.isfinite(found) & np.isfinite(expected)
    np.testing.assert_allclose(found[both], expected[both], atol=1e-2)


def test_another_thread_computes_from_the_vertices_while_batches_go_on(chain, picture, roi):
    from concurrent.futures import ThreadPoolExecutor

    (kept,) = chain.process([picture], [(0, roi)])
    vertices = kept.vertices
    with ThreadPoolExecutor(1) as geometry:
        work = [geometry.submit(lambda: replace(kept).vertices) for _ in range(50)]
        work += [geometry.submit(lambda: replace(kept).visible) for _ in range(50)]
        for _ in range(200):
            chain.process([picture], [(0, roi)])
        for one in work[:50]:
            np.testing.assert_array_equal(one.result(), vertices)
        assert len({one.result().tobytes() for one in work[50:]}) == 1


def test_frames_of_nvdec_stay_on_the_gpu_and_give_the_same_faces(chain, tmp_path, roi):
    from streamprn.source.opening import hwaccel_problem
    from streamprn.source.sample_clip import make_clip
    from tests.source.conftest import Player

    if problem := hwaccel_problem("cuda"):
        pytest.skip(problem)
    clip = make_clip(tmp_path / "face.mp4")
    players = [Player(clip.uri, 20, hwaccel=way) for way in ("cuda", None)]
    here, there = (player.take(5) for player in players)
    for player in players:
        player.reader.stop()
    for decoded, software in zip(here, there, strict=True):
        assert decoded.image.device is not None
        (face,) = chain.process([decoded.image], [(0, roi)])
        (other,) = chain.process([software.image], [(0, roi)])
        np.testing.assert_allclose(face.landmarks, other.landmarks, atol=0.5)
        assert np.abs(decoded.image.rgb.astype(int) - software.image.rgb).mean() < 2


@pytest.mark.timeout(600)
def test_ten_thousand_frames_take_no_memory(chain, picture, roi, capsys):
    import psutil

    device = chain._device
    for _ in range(100):
        everything(chain, picture, roi)
    free, before = device.free_bytes(), psutil.Process().memory_info().rss
    took = []
    for _ in range(FRAMES):
        began = time.perf_counter()
        chain.process([picture], [(0, roi)])
        took.append(1e3 * (time.perf_counter() - began))
    for _ in range(FRAMES // 100):
        everything(chain, picture, roi)
    cuts = statistics.quantiles(took, n=100)
    with capsys.disabled():
        print(f"\n{chain.backend}: p50 {cuts[49]:.3f} ms, p99 {cuts[98]:.3f} ms a frame")
    assert free - device.free_bytes() < SLACK
    assert psutil.Process().memory_info().rss - before < SLACK


def everything(chain, picture, roi):
    (face,) = chain.process([picture], [(0, roi)])
    _ = face.vertices, face.visible, replace(face, image=picture).texture, face.quantised_vertices
    face.depth_image((picture.width, picture.height))


def test_the_pipeline_runs_the_chain_and_finds_the_faces_of_the_cpu(tmp_path):
    from streamprn.config import Config
    from streamprn.live.pipeline import Pipeline
    from streamprn.records import Kind
    from streamprn.source.sample_clip import make_clip

    class Sink:
        wanted = frozenset(Kind)

        def __init__(self):
            self.results = []

        def take(self, result, published_ns):
            self.results.append(result)

        def close(self):
            pass

    clip, sinks = make_clip(tmp_path / "face.mp4"), {}
    for backend in ("tensorrt", "openvino"):
        mapping = {
            "sources": [{"uri": clip.uri, "realtime": False}],
            "engine": {"backend": backend, "max_batch": 2},
            "publish": {"bind": "tcp://127.0.0.1:*"},
        }
        sinks[backend] = Sink()
        with Pipeline(Config.from_mapping(mapping), sinks=[sinks[backend]]) as pipeline:
            assert ("device chain" in pipeline.backend) == (backend == "tensorrt")
            pipeline.run(max_frames=30)
    for ours, theirs in zip(*(sink.results for sink in sinks.values()), strict=True):
        assert len(ours.faces) == len(theirs.faces)
        for face, other in zip(ours.faces, theirs.faces, strict=True):
            assert np.abs(face.landmarks - other.landmarks).mean() < 1.0


def test_the_stages_are_timed_by_the_device(bundle, picture, roi, capsys):
    from streamprn.engines.device.slot import STAGES
    from streamprn.engines.gpu_chain import open_chain

    timed = open_chain(bundle, max_batch=1, timed=True)
    rows = []
    for _ in range(200):
        timed.process([picture], [(0, roi)])
        rows.append(dict(timed.times_ms))
    timed.close()
    with capsys.disabled():
        print()
        for stage in STAGES:
            print(f"{stage:10s} {statistics.median(row[stage] for row in rows):.4f} ms")
    assert set(rows[-1]) == set(STAGES)


def test_two_batches_in_flight_are_faster_than_one_after_the_other(chain, picture, roi, capsys):
    def one_by_one():
        for _ in range(200):
            chain.process([picture], [(0, roi)])

    def overlapped():
        waiting = chain.submit([picture], [(0, roi)])
        for _ in range(199):
            following = chain.submit([picture], [(0, roi)])
            chain.collect(waiting)
            waiting = following
        chain.collect(waiting)

    times = {}
    for work in (one_by_one, overlapped):
        work()
        began = time.perf_counter()
        work()
        times[work.__name__] = time.perf_counter() - began
    with capsys.disabled():
        print(f"\n{ {name: f'{5 * seconds:.3f} ms' for name, seconds in times.items()} }")
    assert times["overlapped"] < 1.1 * times["one_by_one"]
