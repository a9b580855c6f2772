"""Blocks of the simulator whose lanes are greenlets, run between barriers in a shuffled order.

Numba starts a thread for each lane and asks all of them again and again whether they wait; most
of its time is spent there. Threads also keep one order nearly always, while here a result that
depends on the order, for want of a barrier, shows: the orders differ, and are the same each time.
"""

import random
import sys
from types import SimpleNamespace

import numpy as np
from greenlet import greenlet
from numba import cuda
from numba.cuda.simulator.kernel import Dim3

# Numba finds the package at different places: beside the kernels' own class it is for certain.
kernel = sys.modules[type(cuda.jit(lambda: None)).__module__]
kernelapi = sys.modules[kernel.__name__.rpartition(".")[0] + ".kernelapi"]


class Lane(greenlet):
    """A CUDA thread; `parent` is what runs its block."""

    def __init__(self, function, block, index):
        super().__init__(function)
        self.blockIdx, self.threadIdx = block, Dim3(*index)
        self.thread_id = index[0]

    def syncthreads(self):
        self.parent.switch()


class Block:
    """Runs one block, as `numba.cuda.simulator.kernel.BlockManager` does."""

    def __init__(self, function, grid, block, debug):
        self._function, self._block = function, block

    def run(self, grid_point, *arguments):
        block = Dim3(*grid_point)
        lanes = [
            Lane(lambda: self._function(*arguments), block, index)
            for index in np.ndindex(*self._block)
        ]
        order = random.Random(0)
        while lanes:
            order.shuffle(lanes)
            for lane in lanes:
                lane.switch()
            waiting = [lane for lane in lanes if not lane.dead]
            assert len(waiting) in (0, len(lanes)), "some lanes end while others await them"
            lanes = waiting


def install():
    """Let kernels run in blocks of this kind."""
    kernel.BlockManager = Block
    lane = SimpleNamespace(current_thread=greenlet.getcurrent)
    kernelapi.threading = lane
