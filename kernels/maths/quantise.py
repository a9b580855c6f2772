"""Vertices as 16-bit steps of an axis's range, in float32 as `tests.reference.quantise`.

Whoever quantises, on the CPU or on a GPU, gives the same bits: every operation is rounded once, as
IEEE 754 says. No product is an operand of a sum, as a compiler might fuse the two.
"""

from __future__ import annotations

import numpy as np

from streamprn.kernels._jit import maths
from streamprn.kernels.maths import Integer, Real

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
HALF = np.float32(0.5)
INFINITY = np.float32(np.inf)
MOST_STEPS = np.float32(32767.0)
# Adding 1.5 * 2**23 leaves a float32 no bits below 1: the sum is rounded, half to even.
WHOLE = np.float32(12582912.0)


@maths
def counted(value: Real) -> Real:
    """`value`, or 0 where it is NaN or infinite."""
    return value if abs(value) < INFINITY else ZERO


@maths
def halve(value: Real) -> Real:
    """Half a finite value; the selection keeps the product apart from a sum that follows."""
    return counted(HALF * value)


@maths
def scale_of_range(low: Real, high: Real) -> Real:
    """Size of one step for values `low..high`; 1 where that is 0.

    Halves first: `high - low` may overflow where the values themselves do not.
    """
    scale = (halve(high) - halve(low)) / MOST_STEPS
    return scale if scale > ZERO else ONE


@maths
def offset_of_range(low: Real, high: Real) -> Real:
    """The value of step 0: the middle of `low..high`."""
    return halve(low) + halve(high)


@maths
def step_of(value: Real, scale: Real, offset: Real) -> Integer:
    """The step nearest to a value, -32767..32767, halves to even; NaN and infinity count as 0."""
    whole = ((counted(value) - offset) / scale + WHOLE) - WHOLE
    return np.int16(min(max(whole, -MOST_STEPS), MOST_STEPS))
