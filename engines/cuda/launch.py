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
        arguments: arrays and scalars; Python integers become int32.
    """
    kernel.dispatcher[grid, kernel.threads, stream](
        *(np.int32(value) if type(value) is int else value for value in arguments)
    )
