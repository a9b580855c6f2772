"""What a launch needs to know of a kernel, and the decorator that says it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cuda, void

# Blocks along x that fill the largest GPU in sight (132 SMs) several times over.
MAX_BLOCKS = 1024


@dataclass(frozen=True)
class Kernel:
    """A CUDA kernel with the types that it is compiled for.

    Attributes:
        name: unique among the kernels.
        dispatcher: Numba's; see `launch`.
        signature: the one set of argument types in use.
        threads: of a block, along x.
        grid: what the axes of the grid stand for, in words.
    """

    name: str
    dispatcher: Any
    signature: Any
    threads: int
    grid: str

    @property
    def function(self) -> Callable[..., None]:
        """The Python function."""
        python: Callable[..., None] = getattr(self.dispatcher, "py_func", None) or (
            self.dispatcher.fn
        )
        return python

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the arguments, in order."""
        return tuple(inspect.signature(self.function).parameters)

    def blocks(self, elements: int, cap: int = MAX_BLOCKS) -> int:
        """Blocks along x for so many elements; the grid-stride loop does the rest."""
        return max(1, min(cap, -(-elements // self.threads)))

    def launch(self, grid: tuple[int, ...], stream: Any, *arguments: Any) -> None:
        """Put the kernel into a stream, with the types that it was proven for.

        Args:
            grid: blocks along x and y.
            stream: Numba's, 0 for the default one.
            arguments: arrays and scalars; Python integers become int32.
        """
        self.dispatcher[grid, self.threads, stream](
            *(np.int32(value) if type(value) is int else value for value in arguments)
        )


def kernel(*types: Any, threads: int, grid: str) -> Callable[[Callable[..., None]], Kernel]:
    """Declare a CUDA kernel.

    Args:
        types: Numba types of its arguments.
        threads: of a block.
        grid: what the axes of the grid stand for, in words.
    """

    def declare(function: Callable[..., None]) -> Kernel:
        return Kernel(
            name=function.__name__,
            dispatcher=cuda.jit(function),
            signature=void(*types),
            threads=threads,
            grid=grid,
        )

    return declare
