"""Scalar formulas of the kernels, compiled alike into CPU loops and CUDA kernels.

No NumPy call, no allocation: scalars and array indexing only. Literals that meet float32 values
are named float32 constants, since Numba takes a bare literal as float64 and widens the formula.
"""

from __future__ import annotations

from typing import Any, TypeAlias

# A float in Python, float32 or float64 once compiled: a type checker cannot tell which.
Real: TypeAlias = Any
Integer: TypeAlias = Any
Array: TypeAlias = Any
