"""Four and eight lanes, compiled and plain: the same operations."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from streamprn.kernels import _lanes, _lanes8, _lanes_plain
from tests.reference import geometry

A = np.array([1.5, -2.0, np.nan, 4.0, 7.0], np.float32)
B = np.array([0.5, 3.0, 1.0, np.nan, -1.0], np.float32)
BYTES = np.array([0, 1, 127, 128, 255], np.uint8)


@pytest.mark.parametrize("name", ["add4", "subtract4", "multiply4", "min4", "max4"])
@pytest.mark.parametrize("offset", [0, 1])
def test_compiled_and_plain_operations_agree(name, offset):
    compiled, plain = getattr(_lanes, name), getattr(_lanes_plain, name)

    @numba.njit
    def run(a, b, out):
        value = compiled(_lanes.load4(a, offset), _lanes.load4(b, offset))
        _lanes.store4(out, offset, value)

    found, expected = np.zeros(5, np.float32), np.zeros(5, np.float32)
    run(A, B, found)
    value = plain(_lanes_plain.load4(A, offset), _lanes_plain.load4(B, offset))
    _lanes_plain.store4(expected, offset, value)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("lanes", [_lanes, _lanes_plain])
def test_bytes_spread_and_lanes_keep_their_values(lanes):
    load, spread, add, lane = lanes.load_bytes4, lanes.spread4, lanes.add4, lanes.lane4
    pack = lanes.pack4

    def run(out):
        half = np.float32(0.5)
        total = add(load(BYTES, 1), pack(half, half, half, np.float32(-1)))
        total = add(total, spread(np.float32(1)))
        for k in range(4):
            out[k] = lane(total, k)

    out = np.zeros(4, np.float32)
    (numba.njit(run) if lanes is _lanes else run)(out)
    assert out.tolist() == [2.5, 128.5, 129.5, 255]


def picture(channels: int) -> np.ndarray:
    """Three rows of five pixels."""
    random = np.random.default_rng(3)
    return random.integers(0, 256, (3, 5, channels), np.uint8)


@pytest.mark.parametrize("lanes", [_lanes8, _lanes_plain])
def test_eight_samples_of_a_plane_and_of_colours_are_bilinear(lanes):
    ramp, spread, add, multiply = lanes.ramp8, lanes.spread8, lanes.add8, lanes.multiply8
    least, most, store = lanes.min8, lanes.max8, lanes.store_colours8
    of_plane, of_colours = lanes.bilinear8, lanes.bilinear_rgb8
    grey, colours = picture(1), picture(3)
    flat_grey, flat_colours = grey.reshape(-1), colours.reshape(-1)

    def run(out):
        x = multiply(ramp(), spread(np.float32(0.55)))
        y = add(multiply(ramp(), spread(np.float32(-0.25))), spread(np.float32(1.9)))
        one = of_plane(flat_grey, np.intp(5), x, y)
        store(out, np.intp(0), one, least(one, spread(np.float32(90))), most(one, x))
        red, green, blue = of_colours(flat_colours, np.intp(15), x, y)
        store(out, np.intp(24), red, green, blue)

    out = np.zeros(48, np.float32)
    (numba.njit(run) if lanes is _lanes8 else run)(out)
    steps = np.arange(8)
    x, y = 0.55 * steps, 1.9 - 0.25 * steps
    expected = geometry.sample(grey, x, y, "replicate")[:, 0]
    found = out[:24].reshape(8, 3)
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-3)
    np.testing.assert_allclose(found[:, 1], np.minimum(expected, 90), atol=1e-3)
    np.testing.assert_allclose(found[:, 2], np.maximum(expected, x), atol=1e-3)
    expected = geometry.sample(colours, x, y, "replicate")
    np.testing.assert_allclose(out[24:].reshape(8, 3), expected, atol=1e-3)
