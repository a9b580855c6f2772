"""The device chain as the pipeline uses it: predictions and faces; against the CPU's."""

from dataclasses import replace

import numpy as np
import pytest

from streamprn.engines.device.predict import DevicePredictor
from streamprn.engines.predict import RefineRule, View
from streamprn.engines.predict_host import HostPredictor
from streamprn.engines.protocol import ScoreRule
from streamprn.errors import BackendError, FaceLostError
from streamprn.kernels import raster, sampling, visibility
from streamprn.kernels.cuda import surface
from streamprn.live.finish import compute
from streamprn.records import DevicePlanes, Frame, FrameImage, FrameResult, Kind, Roi, YuvPlanes
from tests.cuda.simulator.stand_in import RULE, HostEngine, make_chain, small_topology
from tests.reference.quantise import quantise

ONE_CROP = RefineRule(threshold=10.0)
ROIS = (Roi(20.0, 17.0, 22.0, 0.2), Roi(12.0, 9.0, 18.0), Roi(30.0, 20.0, 26.0, -0.3))
SIDE = 24
TEXTURE = 48


@pytest.fixture(scope="module")
def topology():
    return small_topology()


@pytest.fixture
def chain(topology):
    return make_chain(topology, texture_size=TEXTURE)[0]


def picture(seed, size=(33, 41)):
    rgb = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    return FrameImage.from_rgb(rgb)


def named(predictions):
    return [one.face(id=index + 1, score=1.0) for index, one in enumerate(predictions)]


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name in ("cx", "cy", "side", "roll"):
            there = getattr(other.next_roi, name)
            assert getattr(one.next_roi, name) == pytest.approx(there, abs=1e-2)
    for one, other in zip(named(found), named(expected), strict=True):
        for name in ("cx", "cy", "side", "roll"):
            assert getattr(one.roi, name) == pytest.approx(getattr(other.roi, name), abs=1e-2)
        np.testing.assert_allclose(one.vertices, other.vertices, atol=5e-3)
        np.testing.assert_allclose(one.box_xyxy, other.box_xyxy, atol=5e-3)
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=5e-3)
        assert one.pose.yaw == pytest.approx(other.pose.yaw, abs=0.5)


@pytest.mark.parametrize("threshold", [0.15, 10.0], ids=["second crops", "one crop"])
def test_predictions_of_more_views_than_a_batch_holds_are_those_of_the_cpu(
    chain, topology, threshold
):
    first, second = picture(1), picture(2)
    views = [View((first, second)[index % 2], ROIS[index % 3]) for index in range(7)]
    rule = RefineRule(threshold)
    found, times = DevicePredictor(chain, rule).predict(views)
    expected, _ = HostPredictor(HostEngine(topology), rule).predict(views)
    assert_same(found, expected)
    moved = [face.roi != view.roi for face, view in zip(named(found), views, strict=True)]
    assert any(moved) == (threshold < 1)
    assert times.network_ns > 0
    assert times.crop_ns == 0


def test_second_looks_and_scores_are_those_of_the_cpu(topology):
    rule = ScoreRule(8.0, 0.0, -2.0)
    engine = HostEngine(topology)
    engine.score_rule = rule
    views = [View(picture(1), ROIS[index], search=True) for index in range(1)]
    found, _ = DevicePredictor(make_chain(topology, rule)[0]).predict(views)
    expected, _ = HostPredictor(engine).predict(views)
    assert_same(found, expected)
    for one, other in zip(found, expected, strict=True):
        assert 0.01 < one.score < 0.99
        assert one.score == pytest.approx(other.score, abs=1e-2)
        assert one.check.difference == pytest.approx(other.check.difference, rel=1e-2)
        assert one.check.resized == pytest.approx(other.check.resized, rel=1e-2)


def test_a_timed_chain_tells_the_predictor_what_its_stages_took(topology):
    timed, _ = make_chain(topology, timed=True)
    _, times = DevicePredictor(timed).predict([View(picture(1), ROIS[0])])
    assert set(times.device_ns) == {"upload", "crop", "network", "geometry", "download"}
    assert times.device_ns["crop"] >= 2_000_000


def test_a_failure_in_the_third_batch_leaves_every_slot_free(topology):
    chain, device = make_chain(topology)
    predictor = DevicePredictor(chain, ONE_CROP)
    views = [View(picture(1), ROIS[0])] * 7
    submit, count = chain.submit, []

    def failing(*arguments):
        count.append(1)
        device.fail_on = "finish_faces" if len(count) == 3 else None
        return submit(*arguments)

    chain.submit = failing
    with pytest.raises(BackendError, match="memory"):
        predictor.predict(views)
    assert len(chain._free) == chain.slots
    assert len(predictor.predict(views)[0]) == 7


def test_a_face_on_a_device_that_fails_says_so_and_its_predictor_begins_nothing_more(topology):
    chain, device = make_chain(topology)
    predictor = DevicePredictor(chain, ONE_CROP)
    (face,) = named(predictor.predict([View(picture(1), ROIS[0])])[0])
    assert predictor.failure is None
    device.fail_on = "visible_landmarks"
    with pytest.raises(FaceLostError, match="memory"):
        _ = face.visible
    assert "memory" in str(predictor.failure)
    device.fail_on = None
    with pytest.raises(BackendError, match="memory"):
        predictor.begin([View(picture(1), ROIS[0])])


@pytest.fixture
def faces(chain):
    """Two faces of one frame, on the device."""
    image = picture(1)
    predictor = DevicePredictor(chain, ONE_CROP)
    predictions, _ = predictor.predict([View(image, ROIS[0]), View(image, ROIS[2])])
    return image, named(predictions)


@pytest.fixture
def small_side(monkeypatch):
    monkeypatch.setattr(surface, "SIDE", SIDE)
    monkeypatch.setattr(visibility, "SIDE", SIDE)


def test_what_a_face_on_the_device_gives_is_what_the_cpu_makes_of_its_vertices(
    faces, topology, small_side
):
    image, followed = faces
    chart = sampling.Chart.draw(topology.triangles, topology.uv, TEXTURE)
    for face in followed:
        vertices = face.vertices
        seen = visibility.visible_landmarks(vertices, topology.triangles, topology.landmarks)
        np.testing.assert_array_equal(face.visible, seen)
        assert seen.any()
        texture = sampling.texture(image.rgb, vertices, chart)
        np.testing.assert_array_equal(face.texture, texture)
        assert texture.any()
        for ours, theirs in zip(face.quantised_vertices, quantise(vertices), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_depth_image_of_faces_on_the_device_is_that_of_the_cpu(faces, topology, small_side):
    image, (first, second) = faces
    _ = first.visible
    for width, height in ((image.width, image.height), (20, 15)):
        found = first.depth_image((width, height), [second])
        expected = np.full((height, width), np.nan, np.float32)
        for face in (first, second):
            raster.depth(face.vertices, topology.triangles, height, width, out=expected, merge=True)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_texture_of_a_frame_in_gpu_memory_is_that_of_the_frame_on_the_host(faces):
    _, (face, _) = faces
    rng = np.random.default_rng(3)
    luma = rng.integers(0, 256, (34, 42)).astype(np.uint8)
    chroma = rng.integers(0, 256, (17, 21, 2)).astype(np.uint8)

    def never():
        pytest.fail("the frame was converted")

    planes = YuvPlanes(luma, *np.ascontiguousarray(chroma.transpose(2, 0, 1)))
    host = FrameImage(42, 34, never, planes)
    there = FrameImage(42, 34, never, device=DevicePlanes(luma, chroma))
    texture = replace(face, image=there).texture
    np.testing.assert_array_equal(texture, replace(face, image=host).texture)
    assert texture.any()


def result_of(image, faces):
    frame = Frame("s", 0, image, None, 0, 0, 0)
    return FrameResult(frame, tuple(replace(face) for face in faces), 0, 0)


def test_the_device_is_asked_for_nothing_but_what_is_wanted_and_for_that_once(faces, small_side):
    image, followed = faces
    device = followed[0].renderer._device
    device.calls.clear()
    result = result_of(image, followed)
    compute(result, frozenset())
    assert device.calls == []
    for _ in range(2):
        compute(result, {Kind.FACE})
        assert device.calls == 2 * ["clear_keys", "draw_triangles", "visible_landmarks"]
    assert all("vertices" not in vars(face) for face in result.faces)
    compute(result, {Kind.MESH})
    assert all("quantised_vertices" not in vars(face) for face in result.faces)
    result = result_of(image, followed)
    compute(result, {Kind.MESH}, "int16")
    assert all("vertices" not in vars(face) for face in result.faces)
    assert all(face.quantised_vertices.steps.dtype == np.int16 for face in result.faces)


def test_the_next_region_does_not_depend_on_who_wants_vertices(chain):
    (one,), _ = DevicePredictor(chain, ONE_CROP).predict([View(picture(1), ROIS[0])])
    face = one.face(id=1, score=1.0)
    turn = one.look.fit.turn
    before = RULE.next_roi(face.roi, *face.outline(), turn)
    _ = face.vertices
    assert RULE.next_roi(face.roi, *face.outline(), turn) == before == one.next_roi
