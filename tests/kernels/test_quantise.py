import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamprn.kernels.quantise import quantise
from tests.reference import quantise as reference

ANYTHING = st.floats(width=32) | st.sampled_from([3e38, -3e38, 1e-45, -0.0, np.nan, np.inf])
ROWS = st.integers(0, 40).map(lambda rows: (rows, 3))

# A step that is no normal number has few digits left.
SUBNORMAL = float(np.finfo(np.float32).tiny)


@given(hnp.arrays(np.float32, ROWS, elements=ANYTHING))
@example(np.empty((0, 3), np.float32))
@example(np.full((5, 3), 3.25, np.float32))
@example(np.array([[3.4028235e38, -3.4028235e38, np.nan], [-3.4028235e38, 1, 2]], np.float32))
@example(np.float32([[0, 1, -1], [65534, 32768, 0.5], [1, 2, 0], [3, 4, 0], [np.inf, 5, 0]]))
@settings(max_examples=300)
def test_quantising_is_its_numpy_twin_bit_by_bit(vertices):
    for ours, theirs in zip(quantise(vertices), reference.quantise(vertices), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_quantising_many_vertices_is_its_numpy_twin_bit_by_bit():
    vertices = np.random.default_rng(4).normal(300, 200, (10_007, 3)).astype(np.float32)
    for ours, theirs in zip(quantise(vertices), reference.quantise(vertices), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@given(hnp.arrays(np.float32, (12, 3), elements=st.floats(-1e5, 1e5, width=32)))
@settings(max_examples=80)
def test_quantisation_errs_by_half_a_step_at_most(vertices):
    steps, scale, offset = quantise(vertices)
    assert steps.dtype == np.int16
    back = steps.astype(np.float64) * scale + offset
    rounding = np.spacing(np.abs(vertices).max(axis=0))
    assert (np.abs(back - vertices) <= scale * 0.501 + rounding + SUBNORMAL).all()


@given(hnp.arrays(np.float32, (7, 3), elements=st.floats(width=32)))
@settings(max_examples=60)
def test_quantisation_of_anything_is_finite(vertices):
    _, scale, offset = quantise(vertices)
    assert np.isfinite(scale).all()
    assert np.isfinite(offset).all()


def test_a_constant_axis_is_quantised_exactly():
    steps, scale, offset = quantise(np.full((5, 3), 3.25, np.float32))
    assert (steps * scale + offset == 3.25).all()
