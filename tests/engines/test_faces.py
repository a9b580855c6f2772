import numpy as np
import pytest

from streamprn.kernels import uv, warp
from streamprn.records import FrameImage, YuvPlanes

# Where the astronaut's features are, by eye, in pixels of skimage.data.astronaut().
RIGHT_EYE, LEFT_EYE, NOSE_TIP, MOUTH, CHIN = (
    (203, 101),
    (247, 104),
    (224, 126),
    (223, 145),
    (219, 176),
)


def near(point, place, limit):
    return np.hypot(*(np.asarray(point)[:2] - place)) < limit


def follow(engine, rgb, roi, passes=2):
    """Vertices and score after the ROI has settled on the engine's own landmarks."""
    for _ in range(passes):
        matrix = engine.crop.frame_from_crop(roi)
        inference = engine.infer(warp.warp_rgb(rgb, matrix[None], engine.crop.size))
        vertices, _ = inference.surfaces[0].restore(matrix)
        landmarks = vertices[engine.topology.landmarks]
        roll = np.arctan2(*(landmarks[45] - landmarks[36])[1::-1])
        roi = engine.crop.roi_from_vertices_box(uv.bounds(vertices), float(roll))
    return vertices, landmarks, float(inference.scores[0])


def start(engine, detection):
    right, left = detection.keypoints[:2]
    return engine.crop.roi_from_box(detection.box_xyxy, float(np.arctan2(*(left - right)[::-1])))


def test_the_astronaut_is_found_once_with_her_features_in_place(detector, astronaut):
    (found,) = detector.detect(FrameImage.from_rgb(astronaut))
    assert 0.8 < found.score <= 1
    x0, y0, x1, y1 = found.box_xyxy
    assert x0 < 190 < 260 < x1
    assert y0 < 95 < 150 < y1
    assert found.keypoints.shape == (6, 2)
    for point, place in zip(
        found.keypoints[:4], (RIGHT_EYE, LEFT_EYE, NOSE_TIP, MOUTH), strict=True
    ):
        assert near(point, place, 10)
    assert found.keypoints[4, 0] < found.keypoints[5, 0]


def test_every_face_of_a_composed_picture_is_found(detector, astronaut):
    picture = np.hstack([astronaut[:, 60:400], astronaut[:, 400:59:-1]])
    found = detector.detect(FrameImage.from_rgb(np.ascontiguousarray(picture)))
    assert len(found) == 2
    left, right = sorted(found, key=lambda d: d.box_xyxy[0])
    assert near(left.keypoints[2], (164, 126), 12)
    assert near(right.keypoints[2], (340 + 400 - 224, 126), 12)
    # The subject's right eye is on the left of the picture, mirrored or not.
    assert all(d.keypoints[0, 0] < d.keypoints[1, 0] for d in found)


def test_noise_and_flat_pictures_hold_no_face(detector):
    noise = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    for picture in (noise, np.zeros_like(noise), np.full_like(noise, 255), noise[:1, :1]):
        assert detector.detect(FrameImage.from_rgb(np.ascontiguousarray(picture))) == []


def test_tiles_cut_from_planes_are_as_good_as_from_rgb(detector, astronaut):
    rgb = astronaut.astype(np.float64)
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    half = [
        128 + (plane - luma).reshape(256, 2, 256, 2).mean((1, 3)) / scale
        for plane, scale in ((blue, 1.772), (red, 1.402))
    ]
    y, u, v = (np.clip(np.rint(plane), 0, 255).astype(np.uint8) for plane in (luma, *half))
    planes = YuvPlanes(y, u, v, full_range=True)

    def refuse():
        raise AssertionError("the detector asked for RGB")

    (found,) = detector.detect_tiled(FrameImage(512, 512, refuse, planes))
    (expected,) = detector.detect_tiled(FrameImage.from_rgb(astronaut))
    np.testing.assert_allclose(found.box_xyxy, expected.box_xyxy, atol=2)


def test_a_face_too_small_for_the_whole_picture_is_found_in_tiles(detector, astronaut):
    face = astronaut[30:230, 120:320][::3, ::3]
    picture = np.full((1080, 1920, 3), 90, np.uint8)
    picture[700:767, 1300:1367] = face
    image = FrameImage.from_rgb(picture)
    assert detector.detect(image) == []
    found = detector.detect_tiled(image, tile=200)
    assert len(found) == 1
    assert near(found[0].keypoints[2], (1300 + 104 / 3, 700 + 96 / 3), 5)


def test_tiles_do_not_find_a_face_twice(detector, astronaut):
    assert len(detector.detect_tiled(FrameImage.from_rgb(astronaut))) == 1


def test_the_mesh_lies_on_the_astronauts_face(detector, facemesh, astronaut):
    (found,) = detector.detect(FrameImage.from_rgb(astronaut))
    vertices, landmarks, score = follow(facemesh, astronaut, start(facemesh, found))
    assert score > 0.9
    assert vertices.shape == (facemesh.topology.vertex_count, 3)
    assert near(landmarks[36:42, :2].mean(0), RIGHT_EYE, 4)
    assert near(landmarks[42:48, :2].mean(0), LEFT_EYE, 4)
    assert near(landmarks[30], NOSE_TIP, 5)
    assert near(landmarks[48:60, :2].mean(0), MOUTH, 5)
    assert near(landmarks[8], CHIN, 6)
    # The nose points towards the camera, the jaw's ends lie deepest.
    assert landmarks[30, 2] > landmarks[[0, 8, 16, 36, 45], 2].max() + 10
    assert vertices[:, 2].min() == 0


def test_the_mesh_of_the_mirrored_picture_is_the_mirrored_mesh(detector, facemesh, astronaut):
    topology = facemesh.topology
    (found,) = detector.detect(FrameImage.from_rgb(astronaut))
    vertices, *_ = follow(facemesh, astronaut, start(facemesh, found), passes=4)
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    (other,) = detector.detect(FrameImage.from_rgb(mirrored))
    seen, *_ = follow(facemesh, mirrored, start(facemesh, other), passes=4)
    back = seen[topology.mirror] * [-1, 1, 1] + [astronaut.shape[1] - 1, 0, 0]
    assert np.median(np.hypot(*(back - vertices)[:, :2].T)) < 1.5


def test_no_face_has_a_low_score(facemesh):
    noise = np.random.default_rng(2).random((1, 192, 192, 3)).astype(np.float32)
    assert facemesh.infer(noise).scores[0] < 0.3
    assert facemesh.infer(np.zeros_like(noise)).scores[0] < 0.3


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e30])
def test_a_broken_crop_does_no_harm_to_the_next_one(facemesh, value):
    picture = np.random.default_rng(3).random((1, 192, 192, 3)).astype(np.float32)
    before = facemesh.infer(picture).maps.copy()
    facemesh.infer(np.full_like(picture, value))
    np.testing.assert_array_equal(facemesh.infer(picture).maps, before)
