"""The device chain with real kernels, in the simulator; only the network is a stand-in in NumPy."""

import numpy as np
import pytest
from numba import cuda, typeof

from streamprn.engines.bundle import Subdivision
from streamprn.engines.decoders import SubdivisionDecoder
from streamprn.engines.device.chain import ChainSpec, DeviceChain
from streamprn.engines.protocol import CropRule
from streamprn.engines.topology import Topology
from streamprn.errors import BackendError, EngineError
from streamprn.kernels import pose, uv, warp
from streamprn.kernels.pose import Reference
from streamprn.records import FrameImage, Roi, YuvPlanes
from tests.reference.meshes import face_mesh

SIZE = 11
RULE = CropRule(size=SIZE, span=SIZE, box_scale=1.5)
ROIS = (Roi(20.0, 17.0, 22.0, 0.2), Roi(12.0, 9.0, 18.0), Roi(30.0, 20.0, 26.0, -0.3))


class SimulatedDevice:
    """`chain.Device` in host memory; keeps an account of allocations and of the order of calls."""

    title = "Numba's simulator"

    def __init__(self):
        self.allocations = 0
        self.calls = []
        self.recordings = 0

    def stream(self):
        return []

    def zeros(self, shape, dtype):
        self.allocations += 1
        return cuda.to_device(np.zeros(shape, dtype))

    def pinned(self, shape, dtype):
        self.allocations += 1
        return np.zeros(shape, dtype)

    def upload(self, target, source, stream):
        target._ary.reshape(-1)[: source.size] = source.reshape(-1)

    def download(self, target, source, stream):
        target.reshape(-1)[:] = source._ary.reshape(-1)[: target.size]

    def launch(self, kernel, grid, stream, *arguments):
        self.calls.append(kernel.name)
        # What a GPU would compile for: it must be what the compile tests proved.
        values = [getattr(value, "_ary", value) for value in arguments]
        values = [np.int32(value) if type(value) is int else value for value in values]
        assert tuple(typeof(value) for value in values) == tuple(kernel.signature.args)
        kernel.launch(grid, 0, *arguments)

    def replay(self, key, stream, work):
        if key not in stream:
            stream.append(key)
            self.recordings += 1
        work()

    def forget(self, stream):
        stream.clear()

    def mark(self, stream):
        return len(self.calls)

    def elapsed_ms(self, first, last):
        return float(last - first)

    def synchronize(self, stream):
        pass

    def close(self):
        pass


class MapNetwork:
    """Position maps whose content depends on the crop: a face mesh moved by its mean colours."""

    def __init__(self, topology, canonical):
        self.inputs = {"input": (-1, SIZE, SIZE, 3)}
        self.outputs = {"map": (-1, 256, 256, 3)}
        self._topology, self._canonical = topology, canonical
        self.crops = None

    def infer(self, crops):
        maps = np.zeros((len(crops), 256 * 256, 3), np.float32)
        for out, crop in zip(maps, crops, strict=True):
            place = self._canonical * np.float32(5) * [1, -1, 1] + SIZE / 2 + crop.mean((0, 1))
            out[self._topology.texel] = place / 2
        return maps.reshape(-1, 256, 256, 3)

    def enqueue(self, arrays, batch, stream):
        crops = arrays["input"]._ary.reshape(-1, SIZE, SIZE, 3)[:batch]
        self.crops = crops.copy()
        arrays["map"]._ary[:batch] = self.infer(crops)


@pytest.fixture(scope="module")
def topology():
    mesh = face_mesh(9)
    count = len(mesh.texel)
    rng = np.random.default_rng(0)
    return Topology(
        name="small",
        texel=mesh.texel,
        triangles=mesh.triangles,
        canonical=mesh.canonical,
        landmarks=rng.integers(0, count, 68).astype(np.int32),
        pose_weights=np.ones(count, np.float32),
        mirror=np.arange(count, dtype=np.int32),
    )


@pytest.fixture
def parts(topology):
    spec = ChainSpec("small", topology, RULE, subdivision=None, unit=2.0, max_batch=3)
    device, network = SimulatedDevice(), MapNetwork(topology, topology.canonical)
    return DeviceChain(device, spec, lambda: network), device, network


def picture(seed, size=(33, 41)):
    rgb = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    return FrameImage.from_rgb(rgb)


def video(seed, size=(34, 42)):
    rng = np.random.default_rng(seed)
    h, w = size
    planes = YuvPlanes(
        *(
            rng.integers(0, 256, s).astype(np.uint8)
            for s in ((h, w), (h // 2, w // 2), (h // 2, w // 2))
        )
    )
    return FrameImage(w, h, lambda: pytest.fail("the chain must not convert video"), planes)


def expected(topology, network, image, roi):
    matrix = RULE.frame_from_crop(roi)
    if image.planes is not None:
        crop = warp.warp_yuv(image.planes, matrix, SIZE)
    else:
        crop = warp.warp_rgb(image.rgb, matrix, SIZE)
    position_map = network.infer(crop)[0] * np.float32(2)
    vertices, box = uv.restore_with_bounds(position_map, topology.texel, matrix)
    reference = Reference(topology.canonical, topology.pose_weights)
    return vertices, box, pose.estimate(vertices, reference)


def crop_places(vertices, roi):
    full = np.vstack([RULE.frame_from_crop(roi).astype(np.float64), [0, 0, 1]])
    homogeneous = np.column_stack([vertices[:, :2], np.ones(len(vertices))])
    return (homogeneous @ np.linalg.inv(full).T)[:, :2]


def test_a_batch_over_frames_of_different_kinds_is_what_the_cpu_finds(parts, topology):
    chain, _, network = parts
    frames = [picture(1), video(2)]
    views = [(0, ROIS[0]), (1, ROIS[1]), (0, ROIS[2])]
    found = chain.process(frames, views)
    for (index, roi), face in zip(views, found, strict=True):
        vertices, box, head = expected(topology, network, frames[index], roi)
        np.testing.assert_allclose(face.vertices, vertices, atol=2e-4)
        np.testing.assert_allclose(face.box_xyxy, box, atol=2e-4)
        np.testing.assert_allclose(face.landmarks, vertices[topology.landmarks], atol=2e-4)
        np.testing.assert_allclose(face.pose.rotation, head.rotation, atol=1e-4)
        np.testing.assert_allclose(face.pose.translation, head.translation, atol=5e-3)
        assert face.roi == roi
        assert np.isnan(face.score)
        in_crop = crop_places(vertices, roi)
        box_crop, landmarks_crop = face.in_crop(RULE)
        expected_box = [*in_crop.min(axis=0), *in_crop.max(axis=0)]
        np.testing.assert_allclose(box_crop, expected_box, atol=1e-3)
        np.testing.assert_allclose(landmarks_crop[:, :2], in_crop[topology.landmarks], atol=1e-3)


def test_two_batches_are_in_flight_and_a_third_is_refused(parts):
    chain, _, _ = parts
    first = chain.submit([picture(1)], [(0, ROIS[0])], with_vertices=False)
    second = chain.submit([picture(3)], [(0, ROIS[1])], with_vertices=False)
    with pytest.raises(BackendError, match="slot"):
        chain.submit([picture(4)], [(0, ROIS[0])])
    one, two = chain.collect(first)[0], chain.collect(second)[0]
    assert one.roi == ROIS[0]
    assert two.roi == ROIS[1]
    assert one.vertices is None
    assert not np.array_equal(one.landmarks, two.landmarks)


def test_the_steady_state_allocates_nothing_and_replays_one_recording_per_slot(parts):
    chain, device, _ = parts
    for _ in range(2):
        chain.process([picture(1)], [(0, ROIS[0])], with_vertices=False)
    before = device.allocations
    chain.process([picture(3)], [(0, ROIS[1])], with_vertices=False)
    assert device.allocations == before
    assert device.recordings == 2
    chain.process([picture(1)], [(0, ROIS[0]), (0, ROIS[1])], with_vertices=False)
    assert device.recordings == 3


def test_kernels_follow_the_way_of_the_data_and_a_timed_chain_tells_its_stages(parts, topology):
    _, device, network = parts
    chain = DeviceChain(device, parts[0].spec, lambda: network, slots=1, timed=True)
    chain.process([picture(1)], [(0, ROIS[0])], with_vertices=False)
    geometry = ["restore_map", "finish_faces", "settle_vertices"]
    assert device.calls == ["warp_yuv", "warp_rgb", *geometry]
    assert chain.times_ms == {
        "upload": 0.0,
        "crop": 2.0,
        "network": 0.0,
        "geometry": 3.0,
        "download": 0.0,
    }


def test_too_many_faces_are_one_clear_error_and_leave_the_slots_free(parts):
    chain, _, _ = parts
    for _ in range(3):
        with pytest.raises(EngineError, match="1 to 3 faces, not 4"):
            chain.submit([picture(1)], [(0, ROIS[0])] * 4)
        with pytest.raises(EngineError, match="1 to 3 faces, not 0"):
            chain.submit([picture(1)], [])
    chain.submit([picture(1)], [(0, ROIS[0])], with_vertices=False)


def test_a_region_that_is_not_finite_gives_finite_results(parts):
    chain, _, _ = parts
    (face,) = chain.process([picture(1)], [(0, Roi(np.nan, 5.0, 10.0))])
    assert np.isfinite(face.pose.rotation).all()
    assert np.isfinite(face.vertices).all()


class PointNetwork:
    """Points and a logit."""

    def __init__(self, points):
        self.inputs = {"input": (-1, SIZE, SIZE, 3)}
        self.outputs = {"points": (-1, *points.shape), "logit": (-1,)}
        self._points = points

    def infer(self, crops):
        points = self._points[None] + crops.mean((1, 2))[:, None]
        return {"points": points, "logit": np.array([2.0, -1.0], np.float32)[: len(crops)]}

    def enqueue(self, arrays, batch, stream):
        outputs = self.infer(arrays["input"]._ary.reshape(-1, SIZE, SIZE, 3)[:batch])
        for name, value in outputs.items():
            arrays[name]._ary[:batch] = value


def small_subdivision(topology, points=7, control=10):
    rng = np.random.default_rng(5)
    rows = np.sort(rng.choice(np.arange(1, 20), points - 1, replace=False))
    ends = np.concatenate([[0], np.cumsum(rng.integers(1, 4, control))]).astype(np.int32)
    ends[-1] = max(ends[-1], ends[-2] + 1)
    operator = uv.Operator(
        indptr1=ends,
        indices1=np.append(rng.integers(0, points, ends[-1] - 1), points - 1).astype(np.int32),
        weights1=rng.uniform(0, 1, ends[-1]).astype(np.float32),
        indices2=rng.integers(0, control, (len(topology.texel), 3)).astype(np.int32),
        weights2=rng.dirichlet([1, 1, 1], len(topology.texel)).astype(np.float32),
        texel=topology.texel,
    )
    return Subdivision(
        starts=np.concatenate([[0], rows]).astype(np.int64),
        sources=rng.integers(0, points, 20),
        weights=rng.uniform(-1, 1, 20).astype(np.float32),
        operator=operator,
    )


def test_a_network_of_points_goes_through_the_subdivision_as_on_the_cpu(topology):
    subdivision = small_subdivision(topology)
    network = PointNetwork(np.random.default_rng(6).uniform(0, SIZE, (7, 3)).astype(np.float32))
    spec = ChainSpec("points", topology, RULE, subdivision, max_batch=2)
    chain = DeviceChain(SimulatedDevice(), spec, lambda: network, slots=1)
    image = picture(1)
    found = chain.process([image], [(0, ROIS[0]), (0, ROIS[1])])
    for roi, face, logit in zip(ROIS, found, (2.0, -1.0), strict=False):
        matrix = RULE.frame_from_crop(roi)
        outputs = network.infer(warp.warp_rgb(image.rgb, matrix, SIZE))
        (surface,), _ = SubdivisionDecoder(subdivision, topology).decode(outputs, 1)
        expected_vertices = uv.restore(surface.position_map(), topology.texel, matrix)
        np.testing.assert_allclose(face.vertices, expected_vertices, atol=2e-4)
        assert face.score == pytest.approx(1 / (1 + np.exp(-logit)))
