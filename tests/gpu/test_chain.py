"""The device chain on a real GPU, against the CPU. Run by `make test-gpu`; prints its figures."""

import statistics
import time

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
    from streamprn.engines.device.gpu import open_chain

    chain = open_chain(bundle, max_batch=4)
    chain.warm_up()
    yield chain
    chain.close()


def cpu_face(bundle, picture, roi):
    from streamprn.engines.engine import open_engine
    from streamprn.kernels import pose, uv, warp

    engine = open_engine(bundle.folder, backend="openvino")
    matrix = engine.crop.frame_from_crop(roi)
    maps = engine.infer(warp.warp_rgb(picture.rgb, matrix, engine.crop.size)).maps
    topology = engine.topology
    vertices = uv.restore(maps[0], topology.texel, matrix)
    reference = pose.Reference(topology.canonical, topology.pose_weights)
    return vertices, pose.estimate(vertices, reference)


def test_the_chain_finds_the_face_that_the_cpu_finds(chain, bundle, picture, roi):
    vertices, head = cpu_face(bundle, picture, roi)
    faces = chain.process([picture], [(0, roi)] * 3)
    for face in faces:
        # Half precision in the network: a tenth of a pixel, not of a percent.
        assert np.abs(face.vertices - vertices).mean() < 0.3
        assert abs(face.pose.yaw - head.yaw) < 0.5
        assert abs(face.pose.pitch - head.pitch) < 0.5
        assert abs(face.pose.roll - head.roll) < 0.5


def test_recorded_and_unrecorded_batches_agree(chain, picture, roi):
    runs = [chain.process([picture], [(0, roi)])[0].vertices for _ in range(6)]
    for other in runs[1:]:
        np.testing.assert_allclose(other, runs[0], atol=1e-4)


@pytest.mark.timeout(600)
def test_ten_thousand_frames_take_no_memory(chain, picture, roi, capsys):
    import psutil

    device = chain._device
    for _ in range(100):
        chain.process([picture], [(0, roi)])
    free, resident = device.free_bytes(), psutil.Process().memory_info().rss
    took = []
    for _ in range(FRAMES):
        began = time.perf_counter()
        chain.process([picture], [(0, roi)])
        took.append(1e3 * (time.perf_counter() - began))
    cuts = statistics.quantiles(took, n=100)
    with capsys.disabled():
        print(f"\n{chain.backend}: p50 {cuts[49]:.3f} ms, p99 {cuts[98]:.3f} ms a frame")
    assert free - device.free_bytes() < SLACK
    assert psutil.Process().memory_info().rss - resident < SLACK


def test_the_stages_are_timed_by_the_device(bundle, picture, roi, capsys):
    from streamprn.engines.device.chain import STAGES
    from streamprn.engines.device.gpu import open_chain

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
