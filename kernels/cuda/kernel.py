"""What a launch needs to know of a kernel, and the decorator that says it.

The only module of the kernels that imports `numba.cuda`: the others take `cuda`, the functions that
kernels are written with, from here. A function that uses `cuda` stands in the module of the kernels
that call it, since Numba's simulator replaces the name there alone. Declaring and compiling a
kernel need neither a driver nor a GPU. `streamprn.engines.cuda.launch` launches it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba import cuda, void

__all__ = ["MAX_BLOCKS", "Kernel", "cuda", "kernel"]

# Blocks along x that fill the largest GPU in sight (132 SMs) several times over.
MAX_BLOCKS = 1024


@dataclass(frozen=True)
class Kernel:
    """A CUDA kernel with the types that it is compiled for.

    Attributes:
        name: unique among the kernels.
        dispatcher: Numba's; it compiles the kernel for the device that it is launched on.
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

    def compile(self, capability: tuple[int, int]) -> str:
        """PTX for a compute capability, its entry named by Numba; see `kernels.export.ptx`."""
        text, _ = cuda.compile(
            self.function, self.signature, cc=capability, device=False, abi="numba", output="ptx"
        )
        return str(text)


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
