import numpy as np
import pytest

from streamprn.kernels import warp as cpu
from streamprn.kernels.cuda import warp
from streamprn.kernels.maths.sample import Tone
from streamprn.records import YuvPlanes
from tests.cuda.simulator.scene import launch, similarity

S = 6
NHWC = (S * S * 3, S * 3, 3, 1)
NCHW = (S * S * 3, S, 1, S * S)
MATRICES = {
    "inside": similarity(1.1, 0.2, 4.0, 3.0),
    "outside": similarity(1.3, -0.4, -3.0, 9.0),
    "shrinking": similarity(2.6, 0.1, 0.5, 0.5),
    "enlarging": similarity(0.4, 0.0, 6.2, 5.1),
    "not finite": np.full((2, 3), np.nan, np.float32),
}


@pytest.fixture(scope="module")
def rgb():
    return np.random.default_rng(0).integers(0, 256, (15, 17, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def planes():
    rng = np.random.default_rng(1)
    height, width = 15, 17
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return YuvPlanes(
        rng.integers(0, 256, (height, width)).astype(np.uint8),
        rng.integers(0, 256, chroma).astype(np.uint8),
        rng.integers(0, 256, chroma).astype(np.uint8),
        bt709=True,
    )


def crops_rgb(image, matrices, *, zero=True, strides=NHWC, frames=None, pool=None):
    h, w = image.shape[:2]
    frames = (
        np.array([[warp.RGB, w, h, 0, 3 * w, 0, 0, 0, 0]], np.int32) if frames is None else frames
    )
    out = np.full(len(matrices) * S * S * 3, np.nan, np.float32)
    owner = np.zeros(len(matrices), np.int32)
    launch(
        warp.warp_rgb,
        (1, len(matrices)),
        image.reshape(-1) if pool is None else pool,
        frames,
        owner,
        np.stack(matrices),
        S,
        Tone(np.float32(1 / 255), np.float32(0.0), zero),
        warp.Strides(*strides),
        out,
    )
    return out.reshape(len(matrices), S, S, 3)


def yuv_frame(planes, nv12):
    """The pool, the row of `frames` and the row of `colours`."""
    h, w = planes.y.shape
    hc, wc = planes.u.shape
    if nv12:
        chroma = np.stack([planes.u, planes.v], 2).reshape(-1)
        row = [warp.YUV420, w, h, 0, w, h * w, h * w + 1, 2 * wc, 2]
        pool = np.concatenate([planes.y.reshape(-1), chroma])
    else:
        row = [warp.YUV420, w, h, 0, w, h * w, h * w + hc * wc, wc, 1]
        pool = np.concatenate([planes.y.reshape(-1), planes.u.reshape(-1), planes.v.reshape(-1)])
    colours = cpu.colour_of(planes.full_range, planes.bt709)
    return pool, np.array([row], np.int32), np.array([colours], np.float32)


def crops_yuv(planes, matrices, *, zero=True, nv12=False, strides=NHWC):
    pool, frames, colours = yuv_frame(planes, nv12)
    out = np.full(len(matrices) * S * S * 3, np.nan, np.float32)
    launch(
        warp.warp_yuv,
        (1, len(matrices)),
        pool,
        frames,
        colours,
        np.zeros(len(matrices), np.int32),
        np.stack(matrices),
        S,
        Tone(np.float32(1 / 255), np.float32(0.0), zero),
        warp.Strides(*strides),
        out,
    )
    return out


@pytest.mark.parametrize("zero", [True, False])
def test_rgb_crops_are_those_of_the_cpu(rgb, zero):
    matrices = list(MATRICES.values())
    border = "zero" if zero else "replicate"
    expected = cpu.warp_rgb(rgb, np.stack(matrices), S, border=border)
    np.testing.assert_allclose(crops_rgb(rgb, matrices, zero=zero), expected, atol=2e-5)


@pytest.mark.parametrize("zero", [True, False])
def test_yuv_crops_are_those_of_the_cpu(planes, zero):
    matrices = list(MATRICES.values())
    border = "zero" if zero else "replicate"
    expected = cpu.warp_yuv(planes, np.stack(matrices), S, border=border)
    found = crops_yuv(planes, matrices, zero=zero).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=5e-5)


def test_nv12_is_planar_video_interleaved(planes):
    matrices = [MATRICES["outside"]]
    np.testing.assert_array_equal(
        crops_yuv(planes, matrices, nv12=True), crops_yuv(planes, matrices)
    )


def test_the_layout_of_the_network_input_is_free(planes):
    matrices = [MATRICES["inside"], MATRICES["shrinking"]]
    nhwc = crops_yuv(planes, matrices).reshape(2, S, S, 3)
    nchw = crops_yuv(planes, matrices, strides=NCHW).reshape(2, 3, S, S)
    np.testing.assert_array_equal(nchw.transpose(0, 2, 3, 1), nhwc)


def test_a_window_of_the_frame_is_enough_for_the_crops_inside_it(rgb):
    matrix = similarity(0.8, 0.1, 6.0, 6.0)
    whole = crops_rgb(rgb, [matrix])
    x0, y0, x1, y1 = 4, 4, 14, 14
    window = np.ascontiguousarray(rgb[y0:y1, x0:x1])
    pitch = 3 * (x1 - x0)
    frames = np.array([[warp.RGB, 17, 15, -(y0 * pitch + 3 * x0), pitch, 0, 0, 0, 0]], np.int32)
    found = crops_rgb(rgb, [matrix], frames=frames, pool=window.reshape(-1))
    np.testing.assert_array_equal(found, whole)


def test_faces_of_no_frame_and_of_the_other_format_are_left_alone(rgb):
    frames = np.array([[warp.YUV420, 17, 15, 0, 17, 0, 0, 9, 1]], np.int32)
    assert np.isnan(crops_rgb(rgb, [MATRICES["inside"]], frames=frames)).all()
