"""Launching a kernel through Numba, on a GPU or in Numba's simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from streamprn.kernels.cuda.kernel import Kernel


def launch(kernel: Kernel, grid: tuple[int, ...], stream: Any, *arguments: Any) -> None:
    """Put a kernel into a stream, with the argument types that it was declared with.

    Args:
        kernel: of `streamprn.kernels.cuda`.
        grid: blocks along x and y.
        stream: Numba's, 0 for the default one.
        arguments: arrays, scalars, and named tuples of scalars; Python integers become int32.
    """
    kernel.dispatcher[grid, kernel.threads, stream](*map(argument, arguments))


def argument(value: Any) -> Any:
    """What Numba is given for an argument."""
    if isinstance(value, tuple):
        return type(value)(*map(argument, value))
    return np.int32(value) if type(value) is int else value
