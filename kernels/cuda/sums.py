"""Adding up the vertices of a face: what the threads of a block do in shared memory.

Slots of a block's partial sums, `SUMS` of them: 0..11 the moments `table[i] * vertex[j]` at
`3 i + j` (see `streamprn.kernels.pose.Reference`), relative to the face's first vertex, so that a
face without extent has no moments; 12..14 the minimum of x, y, z and 15, 16 that of the crop's
u, v; 17..21 their maximum.
"""

from __future__ import annotations

from typing import Any

from numba import float64

from streamprn.kernels._jit import maths
from streamprn.kernels.maths.affine import LIMIT, finite_or_zero

# Of a block.
THREADS = 128
SUMS = 22
MOMENTS = 12
LOW = 12
HIGH = 17


@maths
def clear(shared: Any, lane: Any) -> None:
    """Sums at 0 and empty bounds."""
    for slot in range(MOMENTS):
        shared[slot, lane] = 0.0
    for slot in range(LOW, HIGH):
        shared[slot, lane] = LIMIT
    for slot in range(HIGH, SUMS):
        shared[slot, lane] = -LIMIT


@maths
def gather_sums(
    shared: Any, lane: Any, table: Any, n: Any, vertex: Any, origin: Any, place: Any
) -> None:
    """Add vertex `n` to a lane's moments and bounds.

    Args:
        shared: `(SUMS, THREADS)`.
        lane: of the block.
        table: `(4, N)` float32, see `streamprn.kernels.pose.Reference`.
        n: the vertex.
        vertex: its frame x, y, z.
        origin: those of the face's first vertex.
        place: its crop u, v.
    """
    x, y, z = vertex
    u, v = finite_or_zero(place[0]), finite_or_zero(place[1])
    shared[12, lane] = min(shared[12, lane], x)
    shared[13, lane] = min(shared[13, lane], y)
    shared[14, lane] = min(shared[14, lane], z)
    shared[15, lane] = min(shared[15, lane], u)
    shared[16, lane] = min(shared[16, lane], v)
    shared[17, lane] = max(shared[17, lane], x)
    shared[18, lane] = max(shared[18, lane], y)
    shared[19, lane] = max(shared[19, lane], z)
    shared[20, lane] = max(shared[20, lane], u)
    shared[21, lane] = max(shared[21, lane], v)
    x, y, z = x - origin[0], y - origin[1], z - origin[2]
    for i in range(4):
        weight = table[i, n]
        shared[3 * i, lane] += weight * x
        shared[3 * i + 1, lane] += weight * y
        shared[3 * i + 2, lane] += weight * z


@maths
def fold(shared: Any, lane: Any, other: Any) -> None:
    """Add the sums and bounds of another lane to a lane's."""
    for slot in range(MOMENTS):
        shared[slot, lane] += shared[slot, other]
    for slot in range(LOW, HIGH):
        shared[slot, lane] = min(shared[slot, lane], shared[slot, other])
    for slot in range(HIGH, SUMS):
        shared[slot, lane] = max(shared[slot, lane], shared[slot, other])


@maths
def add_blocks(shared: Any, lane: Any, partial: Any, face: Any, blocks: Any) -> None:
    """Add every `THREADS`-th block's partial sums and bounds to a lane's."""
    block = lane
    while block < blocks:
        for slot in range(MOMENTS):
            shared[slot, lane] += partial[face, block, slot]
        for slot in range(LOW, HIGH):
            shared[slot, lane] = min(shared[slot, lane], float64(partial[face, block, slot]))
        for slot in range(HIGH, SUMS):
            shared[slot, lane] = max(shared[slot, lane], float64(partial[face, block, slot]))
        block += THREADS
