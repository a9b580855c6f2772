"""The device chain with real kernels, in the simulator; only the network is a stand-in in NumPy."""

import numpy as np
import pytest

from streamprn.engines.bundle import Subdivision
from streamprn.engines.decoders import SubdivisionDecoder
from streamprn.engines.device.chain import DeviceChain
from streamprn.engines.device.predict import DevicePredictor
from streamprn.engines.device.spec import ChainSpec
from streamprn.engines.device.surface import VertexStore
from streamprn.engines.predict import RefineRule, View
from streamprn.errors import BackendError, EngineError, FaceLostError
from streamprn.kernels import pose, uv, warp
from streamprn.kernels.pose import Reference
from streamprn.records import DevicePlanes, FrameImage, Roi, YuvPlanes
from tests.cuda.simulator.device import SimulatedDevice
from tests.cuda.simulator.stand_in import RULE, SIZE, MapNetwork, make_chain, small_topology

ROIS = (Roi(20.0, 17.0, 22.0, 0.2), Roi(12.0, 9.0, 18.0), Roi(30.0, 20.0, 26.0, -0.3))


@pytest.fixture(scope="module")
def topology():
    return small_topology()


@pytest.fixture
def parts(topology):
    return *make_chain(topology), MapNetwork(topology)


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


def on_device(image, origin=(0, 0), size_wh=None):
    """The same video as NV12 in (here: host) memory that is read through DLPack alone."""
    planes = image.planes
    chroma = np.ascontiguousarray(np.stack([planes.u, planes.v], axis=2))
    width, height = size_wh or (image.width, image.height)
    planes = DevicePlanes(planes.y, chroma, origin)
    return FrameImage(width, height, lambda: pytest.fail("no download"), device=planes)


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
        box_crop, landmarks_crop = face.outline()
        expected_box = [*in_crop.min(axis=0), *in_crop.max(axis=0)]
        np.testing.assert_allclose(box_crop, expected_box, atol=1e-3)
        np.testing.assert_allclose(landmarks_crop[:, :2], in_crop[topology.landmarks], atol=1e-3)


def test_two_batches_are_in_flight_and_a_third_is_refused(parts):
    chain, _, _ = parts
    first = chain.submit([picture(1)], [(0, ROIS[0])])
    second = chain.submit([picture(3)], [(0, ROIS[1])])
    with pytest.raises(BackendError, match="slot"):
        chain.submit([picture(4)], [(0, ROIS[0])])
    one, two = chain.collect(first)[0], chain.collect(second)[0]
    assert one.roi == ROIS[0]
    assert two.roi == ROIS[1]
    assert not np.array_equal(one.landmarks, two.landmarks)


def test_the_steady_state_allocates_nothing_and_replays_one_recording_per_slot(parts, topology):
    chain, device, network = parts
    for _ in range(2):
        chain.process([picture(1)], [(0, ROIS[0])])
    before = device.allocations
    for seed in range(4, 8):
        (face,) = chain.process([picture(seed)], [(0, ROIS[seed % 3])])
    assert device.allocations == before
    assert (device.recordings, device.replays) == (2, 4)
    vertices, _, _ = expected(topology, network, picture(7), ROIS[1])
    np.testing.assert_allclose(face.vertices, vertices, atol=2e-4)
    chain.process([picture(1)], [(0, ROIS[0]), (0, ROIS[1])])
    assert device.recordings == 3


def test_kernels_follow_the_way_of_the_data_and_a_timed_chain_tells_its_stages(parts, topology):
    _, device, network = parts
    chain = DeviceChain(device, parts[0].spec, lambda: network, slots=1, timed=True)
    device.calls = []
    chain.process([picture(1)], [(0, ROIS[0])])
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
    chain.submit([picture(1)], [(0, ROIS[0])])


def test_a_failure_half_way_leaves_nothing_in_flight_and_the_slot_usable(parts, topology):
    chain, device, network = parts
    device.fail_on = "restore_map"
    for seed in range(2):
        with pytest.raises(BackendError, match="out of memory"):
            chain.submit([picture(seed)], [(0, ROIS[0])])
    assert all(slot.stream.waiting == [] for slot in chain._slots)
    device.fail_on = None
    (face,) = chain.process([picture(5)], [(0, ROIS[1])])
    vertices, _, _ = expected(topology, network, picture(5), ROIS[1])
    np.testing.assert_allclose(face.vertices, vertices, atol=2e-4)


def test_a_batch_is_collected_once(parts):
    chain, _, _ = parts
    ticket = chain.submit([picture(1)], [(0, ROIS[0])])
    chain.collect(ticket)
    with pytest.raises(BackendError, match="twice"):
        chain.collect(ticket)


def test_vertices_stay_their_face_s_while_later_batches_run(parts, topology):
    chain, _, network = parts
    kept = [chain.process([picture(seed)], [(0, ROIS[0])])[0] for seed in range(2)]
    chain.process([picture(20)], [(0, ROIS[1])])
    for seed, face in enumerate(kept):
        vertices, box, _ = expected(topology, network, picture(seed), ROIS[0])
        np.testing.assert_allclose(face.vertices, vertices, atol=2e-4)
        np.testing.assert_allclose(face.box_xyxy, box, atol=2e-4)


def test_what_a_face_held_is_used_again_and_more_is_made_only_where_more_are_held():
    device = SimulatedDevice()
    with device.current():
        store = VertexStore(device, 5, ready=2)
        for _ in range(10):
            first, second = store.hold(), store.hold()
            assert first.array is not second.array
        assert device.allocations == 4
        third = store.hold()
        assert device.allocations == 4
        assert third.array is not first.array


def test_a_closed_chain_says_so_and_closes_again_without_harm(parts):
    chain, device, _ = parts
    (face,) = chain.process([picture(1)], [(0, ROIS[0])])
    chain.close()
    chain.close()
    assert device.closed
    with pytest.raises(FaceLostError):
        _ = face.vertices
    with pytest.raises(BackendError):
        chain.submit([picture(1)], [(0, ROIS[0])])


def test_a_chain_that_cannot_be_made_gives_its_device_back(parts, topology):
    spec, device = parts[0].spec, SimulatedDevice()

    def no_network():
        raise BackendError("the plan was built for another GPU")

    with pytest.raises(BackendError, match="another GPU"):
        DeviceChain(device, spec, no_network)
    assert device.closed


def test_a_frame_in_gpu_memory_is_cropped_like_the_same_frame_on_the_host(parts):
    chain, device, _ = parts
    (there,) = chain.process([video(2)], [(0, ROIS[0])])
    (here,) = chain.process([on_device(video(2))], [(0, ROIS[0])])
    np.testing.assert_array_equal(here.landmarks, there.landmarks)
    assert device.awaited == 1


def test_a_batch_mixes_frames_of_the_host_and_of_gpu_memory(parts):
    chain, _, _ = parts
    frames = [on_device(video(2)), picture(1), on_device(video(3))]
    views = [(0, ROIS[0]), (1, ROIS[1]), (2, ROIS[2])]
    mixed = chain.process(frames, views)
    plain = chain.process([video(2), picture(1), video(3)], views)
    for one, other in zip(mixed, plain, strict=True):
        np.testing.assert_array_equal(one.landmarks, other.landmarks)


def test_a_cut_out_of_a_frame_in_gpu_memory_starts_at_its_origin(parts):
    chain, _, _ = parts
    whole = video(4, (54, 62))
    part = YuvPlanes(
        whole.planes.y[10:44, 8:50], whole.planes.u[5:22, 4:25], whole.planes.v[5:22, 4:25]
    )
    (there,) = chain.process([FrameImage(42, 34, whole._to_rgb, part)], [(0, ROIS[0])])
    (here,) = chain.process([on_device(whole, (8, 10), (42, 34))], [(0, ROIS[0])])
    np.testing.assert_array_equal(here.landmarks, there.landmarks)


def test_a_region_that_is_not_finite_gives_finite_results(parts):
    chain, _, _ = parts
    (face,) = chain.process([picture(1)], [(0, Roi(np.nan, 5.0, 10.0))])
    assert np.isfinite(face.pose.rotation).all()
    assert np.isfinite(face.vertices).all()


class PointNetwork:
    """Points, a logit and perhaps a tongue."""

    def __init__(self, points, tongues=()):
        self.inputs = {"input": (-1, SIZE, SIZE, 3)}
        self.outputs = {"points": (-1, *points.shape), "logit": (-1,)}
        self._tongues = np.array(tongues, np.float32)
        if tongues:
            self.outputs["tongue"] = (-1,)
        self._points = points

    def infer(self, crops):
        points = self._points[None] + crops.mean((1, 2))[:, None]
        found = {"points": points, "logit": np.array([2.0, -1.0], np.float32)[: len(crops)]}
        return found | ({"tongue": self._tongues[: len(crops)]} if self._tongues.size else {})

    def enqueue(self, arrays, batch, stream):
        crops = arrays["input"]._ary.reshape(-1, SIZE, SIZE, 3)[:batch]

        def work():
            for name, value in self.infer(crops).items():
                arrays[name]._ary[:batch] = value

        stream.put(work)


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


@pytest.mark.parametrize("points", [7, 9], ids=["of the mesh", "two beyond the mesh"])
def test_a_network_of_points_goes_through_the_subdivision_as_on_the_cpu(topology, points):
    subdivision = small_subdivision(topology)
    base = np.random.default_rng(6).uniform(0, SIZE, (points, 3)).astype(np.float32)
    network = PointNetwork(base)
    spec = ChainSpec("points", topology, RULE, subdivision, max_batch=2)
    chain = DeviceChain(SimulatedDevice(), spec, lambda: network, slots=1)
    image = picture(1)
    found = chain.process([image], [(0, ROIS[0]), (0, ROIS[1])])
    for roi, face, logit in zip(ROIS, found, (2.0, -1.0), strict=False):
        matrix = RULE.frame_from_crop(roi)
        outputs = network.infer(warp.warp_rgb(image.rgb, matrix, SIZE))
        (surface,), _ = SubdivisionDecoder(subdivision, topology).decode(outputs, 1)
        position_map = surface.position_map()
        expected_vertices, _ = uv.restore_with_bounds(position_map, topology.texel, matrix)
        np.testing.assert_allclose(face.vertices, expected_vertices, atol=2e-4)
        assert face.score == pytest.approx(1 / (1 + np.exp(-logit)))


@pytest.mark.parametrize("tongues", [(), (0.75, 0.25)], ids=["without a tongue", "with one"])
def test_blendshapes_come_from_the_points_that_the_cpu_would_have(topology, tongues):
    subdivision = small_subdivision(topology)
    base = np.random.default_rng(6).uniform(0, SIZE, (9, 3)).astype(np.float32)
    network = PointNetwork(base, tongues)
    spec = ChainSpec("points", topology, RULE, subdivision, max_batch=2)
    chain = DeviceChain(SimulatedDevice(), spec, lambda: network, slots=1)
    asked = []

    def expressions(points):
        asked.append(points)
        return np.full(52, points.tongue, np.float32)

    views = [View(picture(1), roi) for roi in ROIS[:2]]
    predictor = DevicePredictor(chain, RefineRule(threshold=10.0), expressions=expressions)
    predictions, _ = predictor.predict(views)
    faces = [one.face(id=index, score=1.0) for index, one in enumerate(predictions)]
    assert asked == []
    for face, view, tongue in zip(faces, views, tongues or (0.0, 0.0), strict=True):
        matrix = RULE.frame_from_crop(view.roi)
        # The stand-in gives the second of a batch what stands second.
        crop = warp.warp_rgb(view.image.rgb, matrix, SIZE)
        (surface,), _ = SubdivisionDecoder(subdivision, topology).decode(network.infer(crop), 1)
        expected_points = surface.mesh_points(matrix).xyz_px
        np.testing.assert_allclose(face.mesh_points.xyz_px, expected_points, atol=1e-4)
        for _ in range(2):
            np.testing.assert_array_equal(face.blendshapes, np.full(52, tongue, np.float32))
    assert [id(one) for one in asked] == [id(face.mesh_points) for face in faces]


def test_a_network_that_gives_maps_has_no_points_and_no_blendshapes(parts):
    predictor = DevicePredictor(parts[0], expressions=lambda points: pytest.fail("no points"))
    (prediction,), _ = predictor.predict([View(picture(1), ROIS[0])])
    face = prediction.face(id=1, score=1.0)
    assert face.mesh_points is None
    assert face.blendshapes is None
    assert face.gaze is None
