"""The device chain as the pipeline uses it: regressor, geometry, surfaces; against the CPU's."""

import numpy as np
import pytest

from streamprn.errors import BackendError
from streamprn.faces.follow import FollowedFace
from streamprn.faces.geometry import FaceGeometry
from streamprn.faces.predict import DeviceRegressor, Regressor, View
from streamprn.kernels import raster, sampling, uv, visibility
from streamprn.kernels.cuda import surface
from streamprn.records import DevicePlanes, Frame, FrameImage, Kind, Roi, YuvPlanes
from tests.cuda.simulator.stand_in import RULE, HostEngine, make_chain, small_topology

RULES = {"recrop_threshold": 0.15, "min_score": 0.5}
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


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name in ("cx", "cy", "side", "roll"):
            assert getattr(one.roi, name) == pytest.approx(getattr(other.roi, name), abs=1e-2)
            there = getattr(other.next_roi, name)
            assert getattr(one.next_roi, name) == pytest.approx(there, abs=1e-2)
        vertices, box = one.restore()
        vertices_there, box_there = other.restore()
        np.testing.assert_allclose(vertices, vertices_there, atol=5e-3)
        np.testing.assert_allclose(box, box_there, atol=5e-3)


@pytest.mark.parametrize("threshold", [0.15, 10.0], ids=["second crops", "one crop"])
def test_sightings_of_more_views_than_a_batch_holds_are_those_of_the_cpu(
    chain, topology, threshold
):
    first, second = picture(1), picture(2)
    views = [View((first, second)[index % 2], ROIS[index % 3]) for index in range(7)]
    rules = {"recrop_threshold": threshold, "min_score": 0.5}
    found, times = DeviceRegressor(chain, **rules).regress(views)
    expected, _ = Regressor(HostEngine(topology), **rules).regress(views)
    assert_same(found, expected)
    moved = [one.roi != view.roi for one, view in zip(found, views, strict=True)]
    assert any(moved) == (threshold < 1)
    assert times.network_ns > 0
    assert times.crop_ns == 0


def test_a_timed_chain_tells_the_regressor_what_its_stages_took(topology):
    timed, _ = make_chain(topology, timed=True)
    _, times = DeviceRegressor(timed, **RULES).regress([View(picture(1), ROIS[0])])
    assert set(times.device_ns) == {"upload", "crop", "network", "geometry", "download"}
    assert times.device_ns["crop"] >= 2_000_000


def test_a_failure_in_the_third_batch_leaves_every_slot_free(topology):
    chain, device = make_chain(topology)
    regressor = DeviceRegressor(chain, recrop_threshold=10.0, min_score=0.5)
    views = [View(picture(1), ROIS[0])] * 7
    submit, count = chain.submit, []

    def failing(*arguments):
        count.append(1)
        device.fail_on = "finish_faces" if len(count) == 3 else None
        return submit(*arguments)

    chain.submit = failing
    with pytest.raises(BackendError, match="memory"):
        regressor.regress(views)
    assert len(chain._free) == chain.slots
    assert len(regressor.regress(views)[0]) == 7


@pytest.fixture
def faces(chain):
    """Two faces of one frame, on the device."""
    image = picture(1)
    regressor = DeviceRegressor(chain, recrop_threshold=10.0, min_score=0.5)
    sightings, _ = regressor.regress([View(image, ROIS[0]), View(image, ROIS[2])])
    followed = [FollowedFace(index + 1, 1.0, one) for index, one in enumerate(sightings)]
    return image, followed


@pytest.fixture
def small_side(monkeypatch):
    monkeypatch.setattr(surface, "SIDE", SIDE)
    monkeypatch.setattr(visibility, "SIDE", SIDE)


def test_what_a_resident_face_gives_is_what_the_cpu_makes_of_its_vertices(
    faces, topology, small_side
):
    image, followed = faces
    chart = sampling.Chart.draw(topology.triangles, topology.uv, TEXTURE)
    for face in followed:
        resident = face.restored(on_host=False).resident
        vertices = resident.vertices()
        np.testing.assert_array_equal(vertices, face.restored().vertices)
        seen = visibility.visible_landmarks(vertices, topology.triangles, topology.landmarks)
        np.testing.assert_array_equal(resident.visible_landmarks(), seen)
        assert seen.any()
        texture = sampling.texture(image.rgb, vertices, chart)
        np.testing.assert_array_equal(resident.texture(image), texture)
        assert texture.any()
        for ours, theirs in zip(resident.levels(), uv.quantise(vertices), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(resident.vertices(), vertices)


def test_the_depth_image_of_resident_faces_is_that_of_the_cpu(faces, topology, small_side):
    image, followed = faces
    resident = [face.restored(on_host=False) for face in followed]
    resident[0].resident.visible_landmarks()
    geometry = FaceGeometry(topology)
    for width, height in ((image.width, image.height), (20, 15)):
        found = geometry.depth((width, height), resident)
        expected = np.full((height, width), np.nan, np.float32)
        for face in followed:
            vertices = face.restored().vertices
            raster.depth(vertices, topology.triangles, height, width, out=expected, merge=True)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_texture_of_a_frame_in_gpu_memory_is_that_of_the_frame_on_the_host(faces):
    _, followed = faces
    resident = followed[0].sighting.resident
    rng = np.random.default_rng(3)
    luma = rng.integers(0, 256, (34, 42)).astype(np.uint8)
    chroma = rng.integers(0, 256, (17, 21, 2)).astype(np.uint8)

    def never():
        pytest.fail("the frame was converted")

    planes = YuvPlanes(luma, *np.ascontiguousarray(chroma.transpose(2, 0, 1)))
    host = FrameImage(42, 34, never, planes)
    there = FrameImage(42, 34, never, device=DevicePlanes(luma, chroma))
    texture = resident.texture(there)
    np.testing.assert_array_equal(texture, resident.texture(host))
    assert texture.any()


def frame_of(image):
    return Frame("s", 0, image, None, 0, 0, 0)


def test_geometry_asks_the_device_for_nothing_but_what_is_wanted(faces, topology, small_side):
    image, followed = faces
    restored = [face.restored(on_host=False) for face in followed]
    assert all(face.vertices.shape == (0, 3) for face in restored)
    device = followed[0].sighting.surface.renderer._device
    device.calls.clear()
    geometry, quantised = (FaceGeometry(topology, quantised=one) for one in (False, True))
    pose_only = geometry.faces(frame_of(image), restored, frozenset())
    assert device.calls == []
    for face, seen in zip(pose_only, followed, strict=True):
        assert face.pose is seen.sighting.resident.pose
        assert face.landmarks.shape == (68, 3)
        assert face.vertices.shape == (0, 3)
        assert face.visible is face.texture is face.levels is None
    (face, _) = geometry.faces(frame_of(image), restored, {Kind.FACE})
    assert device.calls == 2 * ["clear_keys", "draw_triangles", "visible_landmarks"]
    assert face.visible.shape == (68,)
    assert face.vertices.shape == (0, 3)
    (face, _) = geometry.faces(frame_of(image), restored, {Kind.MESH})
    assert face.vertices.shape[0] > 0
    assert face.levels is None
    (face, _) = quantised.faces(frame_of(image), restored, {Kind.MESH})
    assert face.vertices.shape == (0, 3)
    assert face.levels[0].dtype == np.int16


def test_the_next_region_does_not_depend_on_who_wants_vertices(chain):
    regressor = DeviceRegressor(chain, recrop_threshold=10.0, min_score=0.5)
    (one,), _ = regressor.regress([View(picture(1), ROIS[0])])
    before = RULE.next_roi(one.roi, *one.surface.outline())
    one.restore()
    assert RULE.next_roi(one.roi, *one.surface.outline()) == before == one.next_roi
