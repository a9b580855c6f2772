"""Vertices as 16-bit integers."""

from __future__ import annotations

from streamprn.kernels._jit import maths
from streamprn.kernels.maths import Integer, Real

LEVELS = 65534.0
TOP = 32767.0
# Below, a step no longer is an ordinary float32.
LEAST = 1e-30


@maths
def step_of(low: Real, high: Real) -> Real:
    """Size of one level for values `low..high`; 1 where they are the same, or nearly."""
    step = (high - low) / LEVELS
    return step if step > LEAST else 1.0


@maths
def to_level(value: Real, inverse_step: Real, offset: Real) -> Integer:
    """Nearest level of a value, -32767..32767; NaN is 0."""
    level = (value - offset) * inverse_step
    if not (level >= -TOP):
        return -int(TOP) if level < 0.0 else 0
    if level > TOP:
        return int(TOP)
    return int(level + 0.5) if level >= 0.0 else -int(0.5 - level)


@maths
def from_level(level: Integer, step: Real, offset: Real) -> Real:
    """The value of a level."""
    return level * step + offset
