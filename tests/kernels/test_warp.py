from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from skimage import data

from streamprn.kernels import warp
from streamprn.records import YuvPlanes
from tests.reference import geometry

SIZE = 24


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    channels = [
        128 + 90 * np.sin(x / 17) * np.cos(y / 23),
        128 + 80 * np.cos(x / 29 + y / 19),
        120 + 60 * np.sin((x + 2 * y) / 31),
    ]
    return np.stack(channels, -1).astype(np.uint8)


def similarity(scale: float, roll: float, cx: float, cy: float, size: int = SIZE) -> np.ndarray:
    cos, sin, half = scale * np.cos(roll), scale * np.sin(roll), (size - 1) / 2
    return np.array(
        [
            [cos, -sin, cx - half * (cos - sin)],
            [sin, cos, cy - half * (sin + cos)],
        ],
        np.float32,
    )


def planes_of(rgb: np.ndarray, *, full_range: bool, bt709: bool, padding: int = 0) -> YuvPlanes:
    """4:2:0 planes with chroma sited where the range says, by exact resampling."""
    kr, kb = (0.2126, 0.0722) if bt709 else (0.299, 0.114)
    red, green, blue = (rgb[..., k] / 255 for k in range(3))
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    gain, span, black = (255, 255, 0) if full_range else (219, 224, 16)

    def plane(values: np.ndarray) -> np.ndarray:
        rounded = np.rint(values).clip(0, 255).astype(np.uint8)
        padded = np.pad(rounded, ((0, 0), (0, padding)), constant_values=77)
        return padded[:, : rounded.shape[1]]

    def chroma(values: np.ndarray) -> np.ndarray:
        height, width = values.shape
        rows, columns = np.mgrid[: (height + 1) // 2, : (width + 1) // 2].astype(float)
        x = 2 * columns + (0.5 if full_range else 0.0)
        picture = np.rint(128 + span * values).clip(0, 255).astype(np.uint8)[..., None]
        return plane(geometry.sample(picture, x, 2 * rows + 0.5, "replicate")[..., 0])

    return YuvPlanes(
        plane(black + gain * luma), chroma(cb), chroma(cr), full_range=full_range, bt709=bt709
    )


@given(
    # At a scale of exactly 1.5 or 2 k, rounding decides the number of samples.
    scale=st.floats(0.2, 7.0).filter(lambda s: min(abs(s - 1.5), abs(s - 2 * round(s / 2))) > 1e-3),
    roll=st.floats(-3.2, 3.2),
    cx=st.floats(-20, 90),
    cy=st.floats(-20, 70),
    border=st.sampled_from(["zero", "replicate"]),
)
@settings(max_examples=60)
def test_warp_rgb_is_its_numpy_twin(scale, roll, cx, cy, border):
    image = noise(48, 64)
    matrix = similarity(scale, roll, cx, cy)
    crop = warp.warp_rgb(image, matrix, SIZE, scale=1.0, border=border)[0]
    expected = geometry.warp(image, matrix, SIZE, border)
    assert np.abs(crop - expected).max() < 0.6
    assert np.abs(crop - expected).mean() < 0.02


def test_identity_warp_returns_the_image():
    image = noise(32, 32)
    crop = warp.warp_rgb(image, np.eye(3, dtype=np.float32)[:2], 32, scale=1.0)
    assert np.array_equal(crop[0], image.astype(np.float32))


def test_warp_agrees_with_opencv():
    image = smooth(120, 160)
    matrix = similarity(1.3, 0.4, 80, 60, 64)
    crop = warp.warp_rgb(image, matrix, 64, scale=1.0)[0]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    assert np.abs(crop - cv2.warpAffine(image, matrix, (64, 64), flags=flags)).max() <= 1.5


@given(scale=st.floats(0.7, 1.3), roll=st.floats(-3.2, 3.2))
@settings(max_examples=25)
def test_warp_then_inverse_warp_returns_the_image(scale, roll):
    image = smooth(96, 96)
    matrix = similarity(scale, roll, 47.5, 47.5, 96)
    there = warp.warp_rgb(image, matrix, 96, scale=1.0, border="replicate")[0]
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    rounded = np.rint(there).astype(np.uint8)
    back = warp.warp_rgb(rounded, inverse, 96, scale=1.0, border="replicate")[0]
    middle = slice(36, 60)
    assert np.abs(back[middle, middle] - image[middle, middle]).max() < 4


def test_scale_and_bias_apply_to_grey_levels():
    image = noise(40, 40)
    matrix = similarity(0.9, 0.2, 20, 20)
    plain = warp.warp_rgb(image, matrix, SIZE, scale=1.0)
    scaled = warp.warp_rgb(image, matrix, SIZE, scale=2 / 255, bias=-1.0)
    np.testing.assert_allclose(scaled, plain * (2 / 255) - 1, atol=1e-5)


def test_large_shrink_does_not_alias():
    checker = np.indices((256, 256)).sum(0) % 2
    image = np.repeat((255 * checker).astype(np.uint8)[..., None], 3, axis=2)
    crop = warp.warp_rgb(image, similarity(4.0, 0.0, 127.5, 127.5, 48), 48, scale=1.0)
    assert np.ptp(crop) < 1
    assert abs(crop.mean() - 127.5) < 1


@pytest.mark.parametrize("step", [1.2, 1.49, 1.6, 2.0, 2.6, 3.2, 3.9, 4.1, 5.0, 6.5, 8.0])
@pytest.mark.parametrize("yuv", [False, True])
def test_a_crop_is_near_the_mean_over_its_pixels(step, yuv):
    image, size, fine = data.astronaut(), int(340 / step), 12
    matrix = similarity(step, 0.3, 255.3, 255.8, size)
    parts = matrix.copy()
    parts[:, :2] /= fine
    parts[:, 2] -= parts[:, :2] @ np.full(2, (fine - 1) / 2, np.float32)
    mean = warp.warp_rgb(image, parts, size * fine, scale=1.0)
    mean = mean.reshape(size, fine, size, fine, 3).mean((1, 3))
    if yuv:
        crop = warp.warp_yuv(
            planes_of(image, full_range=True, bt709=False), matrix, size, scale=1.0
        )[0]
    else:
        crop = warp.warp_rgb(image, matrix, size, scale=1.0)[0]
    assert np.sqrt(np.mean((crop - mean) ** 2)) < (3.5 if step < 1.5 else 2.5)


def test_a_batch_is_its_crops_one_by_one():
    image = noise(60, 80)
    matrices = np.stack([similarity(s, r, 40, 30) for s, r in ((0.5, 0), (1.9, 1), (3.1, -2))])
    batch = warp.warp_rgb(image, matrices, SIZE)
    for matrix, crop in zip(matrices, batch, strict=True):
        assert np.array_equal(warp.warp_rgb(image, matrix, SIZE)[0], crop)


def test_out_is_filled_and_returned():
    image, matrix = noise(30, 30), similarity(1, 0, 15, 15)[None]
    out = np.full((1, SIZE, SIZE, 3), 7, np.float32)
    assert warp.warp_rgb(image, matrix, SIZE, out) is out
    assert np.array_equal(out, warp.warp_rgb(image, matrix, SIZE))


def test_an_out_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="out must be"):
        warp.warp_rgb(noise(9, 9), similarity(1, 0, 4, 4), 8, np.empty((1, 7, 8, 3), np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_matrix_that_is_not_finite_gives_black(value):
    matrix = similarity(1, 0, 10, 10)
    matrix[0, 2] = value
    assert not warp.warp_rgb(noise(20, 20), matrix, SIZE).any()
    planes = planes_of(noise(20, 20), full_range=True, bt709=False)
    assert not warp.warp_yuv(planes, matrix, SIZE).any()


@given(
    matrix=st.lists(st.floats(-1e8, 1e8, width=32), min_size=6, max_size=6),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    border=st.sampled_from(["zero", "replicate"]),
)
@settings(max_examples=60)
def test_any_affine_map_of_a_tiny_image_gives_grey_levels(matrix, height, width, border):
    image = noise(height, width)
    matrix = np.array(matrix, np.float32).reshape(2, 3)
    planes = planes_of(image, full_range=False, bt709=True)
    for crop in (
        warp.warp_rgb(image, matrix, 6, border=border),
        warp.warp_yuv(planes, matrix, 6, border=border),
    ):
        assert np.isfinite(crop).all()
        assert crop.min() >= -1e-6
        assert crop.max() <= 1 + 1e-6


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("bt709", [False, True])
@pytest.mark.parametrize("scale", [0.6, 1.0, 2.2])
def test_warp_yuv_agrees_with_warp_rgb(full_range, bt709, scale):
    image = smooth(121, 161)
    planes = planes_of(image, full_range=full_range, bt709=bt709, padding=31)
    matrix = similarity(scale, 0.3, 80, 60, 48)
    of_planes = warp.warp_yuv(planes, matrix, 48, scale=1.0, border="replicate")
    of_rgb = warp.warp_rgb(image, matrix, 48, scale=1.0, border="replicate")
    assert np.abs(of_planes - of_rgb).max() < 3
    assert np.abs(of_planes - of_rgb).mean() < 1


def test_warp_yuv_agrees_with_opencv_conversion():
    image = smooth(120, 160)
    packed = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    y = packed[:120]
    u = packed[120:150].reshape(60, 80)
    v = packed[150:].reshape(60, 80)
    matrix = similarity(1.1, -0.2, 80, 60, 64)
    of_planes = warp.warp_yuv(YuvPlanes(y, u, v), matrix, 64, scale=1.0)
    of_rgb = warp.warp_rgb(cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420), matrix, 64, scale=1.0)
    assert np.abs(of_planes - of_rgb).mean() < 2
    assert np.quantile(np.abs(of_planes - of_rgb), 0.99) < 6


def test_yuv_conversion_is_that_of_the_standard():
    levels = np.array([[16, 128, 128], [235, 128, 128], [81, 90, 240], [145, 54, 34]])
    for full_range in (False, True):
        for bt709 in (False, True):
            for y, u, v in levels:
                planes = YuvPlanes(
                    *(np.full(s, k, np.uint8) for s, k in (((8, 8), y), ((4, 4), u), ((4, 4), v))),
                    full_range=full_range,
                    bt709=bt709,
                )
                crop = warp.warp_yuv(planes, similarity(0.3, 0, 4, 4, 6), 6, scale=1.0)
                expected = geometry.rgb_from_yuv(y, u, v, full_range=full_range, bt709=bt709)
                np.testing.assert_allclose(crop, np.broadcast_to(expected, crop.shape), atol=1e-2)


def test_outside_a_yuv_frame_is_black_up_to_the_edge():
    planes = YuvPlanes(*(np.full(s, 200, np.uint8) for s in ((16, 16), (8, 8), (8, 8))))
    crop = warp.warp_yuv(planes, similarity(1, 0, 0, 7.5, 16), 16, scale=1.0)[0]
    assert not crop[:, :7].any()
    assert np.ptp(crop[:, 9:], axis=(0, 1)).max() < 1e-3


def test_chroma_planes_of_another_size_are_refused():
    planes = YuvPlanes(*(np.zeros(s, np.uint8) for s in ((9, 9), (5, 5), (4, 5))))
    with pytest.raises(ValueError, match="chroma planes"):
        warp.warp_yuv(planes, similarity(1, 0, 4, 4), SIZE)


@given(
    matrix=st.lists(st.floats(-4, 4, width=32), min_size=4, max_size=4),
    cx=st.floats(-30, 94),
    cy=st.floats(-30, 78),
    border=st.sampled_from(["zero", "replicate"]),
)
@settings(max_examples=80)
@example([1.0, 0.0, 0.0, 1.0], 0.0, 24.0, "zero")
@example([-2.5, 0.5, 0.5, 2.5], 64.0, 48.0, "zero")
@example([0.0, 3.0, -3.0, 0.0], 32.0, 0.0, "replicate")
@example([2.5, 0.0, 0.0, 2.5], 32.0, 24.0, "zero")
def test_a_crop_over_the_edge_is_that_of_the_image_with_its_surroundings(matrix, cx, cy, border):
    steps = np.array(matrix, np.float32).reshape(2, 2)
    start = np.array([cx, cy], np.float32) - steps @ np.full(2, (SIZE - 1) / 2, np.float32)
    here = np.column_stack([steps, start])
    reach = 256
    there = np.column_stack([steps, start + reach])
    image = noise(48, 64)
    mode = {"zero": "constant", "replicate": "edge"}[border]
    whole = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode)
    crop = warp.warp_rgb(image, here, SIZE, scale=1.0, border=border)
    assert np.abs(crop - warp.warp_rgb(whole, there, SIZE, scale=1.0)).max() < 0.1
    planes = planes_of(image, full_range=False, bt709=True, padding=5)
    around = YuvPlanes(
        np.pad(planes.y, reach, "edge"),
        np.pad(planes.u, reach // 2, "edge"),
        np.pad(planes.v, reach // 2, "edge"),
        full_range=False,
        bt709=True,
    )
    crop = warp.warp_yuv(planes, here, SIZE, scale=1.0, border="replicate")
    assert np.abs(crop - warp.warp_yuv(around, there, SIZE, scale=1.0)).max() < 0.1
