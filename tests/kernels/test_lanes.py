"""Four lanes, compiled and plain: the same operations."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from streamprn.kernels import _lanes, _lanes_plain

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


@pytest.mark.parametrize("lanes", [_lanes, _lanes_plain])
def test_a_square_of_bytes_is_two_neighbours_and_the_two_below(lanes):
    square, lane, total = lanes.load_square4, lanes.lane4, lanes.sum4
    plane = np.arange(250, 250 - 21, -1).astype(np.uint8)

    def run(out):
        value = square(plane, np.intp(2), np.intp(7))
        for k in range(4):
            out[k] = lane(value, k)
        out[4] = total(value)

    out = np.zeros(5, np.float32)
    (numba.njit(run) if lanes is _lanes else run)(out)
    assert out.tolist() == [248, 247, 241, 240, 976]
