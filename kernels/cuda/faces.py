"""From the network's output to vertices in the frame, their sums, and the pose.

Three launches for a whole batch: `restore_map` (or `restore_control` after `subdivide_control`)
reads each map once, writes the vertices and leaves per block the moments that a pose needs;
`finish_faces` adds the blocks up and solves for the pose; `settle_vertices` moves z so that its
minimum is 0, and quantises the vertices for those who asked.

Columns of `results` `(B, 32)` float64: 0..8 rotation, 9 scale, 10..12 translation, 13..15 yaw,
pitch, roll in degrees, 16..19 quaternion (w, x, y, z), 20..22 the least and 23..25 the greatest x,
y, z of the vertices before z is shifted, 26 whether the pose is one (1) or the face has no extent
(0), 27, 28 the least and 29, 30 the greatest u, v in crop pixels, 31 unused.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import boolean, float32, float64, int16, int32

from streamprn.kernels._jit import maths
from streamprn.kernels.cuda.kernel import cuda, kernel
from streamprn.kernels.cuda.sums import (
    HIGH,
    LOW,
    SUMS,
    THREADS,
    add_blocks,
    clear,
    fold,
    gather_sums,
)
from streamprn.kernels.maths.affine import (
    apply_row,
    finite_affine,
    finite_or_zero,
    scale_of,
)
from streamprn.kernels.maths.quantise import offset_of_range, scale_of_range, step_of
from streamprn.kernels.maths.rotation import (
    horn_matrix,
    largest_eigenpair,
    matrix_to_euler,
    quaternion_to_matrix,
)

RESULT_COLUMNS = 32
LANDMARKS = 68
# Blocks per face: enough to fill a GPU, few enough to add up in one more block.
MAX_BLOCKS = 128

ZERO = np.float32(0.0)
# As in `streamprn.kernels.pose`: below, the vertices have no extent to turn.
FLAT = 1e-9
DEGREES = 180.0 / math.pi


@kernel(
    float32[:, :, ::1],
    float32[:, ::1],
    int32[::1],
    int32[::1],
    float32[::1],
    float32[:, :, ::1],
    threads=THREADS,
    grid="x: control points, y: faces",
)
def subdivide_control(
    points: Any, unit: Any, indptr: Any, indices: Any, weights: Any, control: Any
) -> None:
    """First stage of the subdivision operator: control points as sparse sums of network points.

    A thread sums one row. The rows are short (about 7 entries) and shared by all faces, the
    points of a face fit the first-level cache.

    Args:
        points: `(B, P, 3)` float32, what the network says.
        unit: `(2, 3)` float32: crop position = points * unit[0] + unit[1].
        indptr: `(M + 1,)` int32, CSR.
        indices: `(nnz,)` int32.
        weights: `(nnz,)` float32.
        control: `(B, M, 3)` float32 to fill.
    """
    face = cuda.blockIdx.y
    row = cuda.grid(1)
    while row < indptr.shape[0] - 1:
        x = y = z = ZERO
        for entry in range(indptr[row], indptr[row + 1]):
            source, weight = indices[entry], weights[entry]
            x += weight * (points[face, source, 0] * unit[0, 0] + unit[1, 0])
            y += weight * (points[face, source, 1] * unit[0, 1] + unit[1, 1])
            z += weight * (points[face, source, 2] * unit[0, 2] + unit[1, 2])
        control[face, row, 0], control[face, row, 1], control[face, row, 2] = x, y, z
        row += cuda.gridsize(1)


@maths
def tree(shared: Any, lane: Any) -> None:
    """Add up, and bound, the slots of `(SUMS, THREADS)` over the lanes, into lane 0."""
    half = THREADS // 2
    while half > 0:
        cuda.syncthreads()
        if lane < half:
            fold(shared, lane, lane + half)
        half //= 2
    cuda.syncthreads()


@maths
def frame_vertex(matrices: Any, face: Any, finite: Any, u: Any, v: Any, w: Any) -> Any:
    """Frame x, y, z of the crop position `(u, v, w)`; what is not finite counts as 0."""
    a, b, c = matrices[face, 0, 0], matrices[face, 0, 1], matrices[face, 0, 2]
    d, e, f = matrices[face, 1, 0], matrices[face, 1, 1], matrices[face, 1, 2]
    u, v, w = finite_or_zero(u), finite_or_zero(v), finite_or_zero(w)
    x = finite_or_zero(apply_row(a, b, c, u, v)) if finite else ZERO
    y = finite_or_zero(apply_row(d, e, f, u, v)) if finite else ZERO
    z = finite_or_zero(scale_of(a, b, d, e) * w) if finite else ZERO
    return x, y, z


@kernel(
    float32[:, :, ::1],
    float32,
    int32[::1],
    float32[:, :, ::1],
    float32[:, ::1],
    float32[:, :, ::1],
    float32[:, :, ::1],
    threads=THREADS,
    grid="x: vertices (at most MAX_BLOCKS), y: faces",
)
def restore_map(
    maps: Any,
    unit: Any,
    texel: Any,
    matrices: Any,
    table: Any,
    vertices: Any,
    partial: Any,
) -> None:
    """Gather the vertices of position maps, put them in the frame, and sum up for the pose.

    Args:
        maps: `(B, 256 * 256, 3)` float32, each valid texel read once.
        unit: crop pixels per unit of the maps.
        texel: `(N,)` int32, ascending, so that a warp reads a few runs of the map.
        matrices: `(B, 2, 3)` float32, crop pixel to frame pixel.
        table: `(4, N)` float32, see `streamprn.kernels.pose.Reference`.
        vertices: `(B, N, 3)` float32 to fill, z not yet shifted.
        partial: `(B, blocks, SUMS)` float32 to fill, see `streamprn.kernels.cuda.sums`.
    """
    shared = cuda.shared.array((SUMS, THREADS), float32)
    face, lane = cuda.blockIdx.y, cuda.threadIdx.x
    finite = finite_affine(matrices, face)
    first = texel[0]
    origin = frame_vertex(
        matrices, face, finite, unit * maps[face, first, 0], unit * maps[face, first, 1],
        unit * maps[face, first, 2],
    )  # fmt: skip
    clear(shared, lane)
    n = cuda.grid(1)
    while n < texel.shape[0]:
        place = texel[n]
        u, v = unit * maps[face, place, 0], unit * maps[face, place, 1]
        x, y, z = frame_vertex(matrices, face, finite, u, v, unit * maps[face, place, 2])
        vertices[face, n, 0], vertices[face, n, 1], vertices[face, n, 2] = x, y, z
        gather_sums(shared, lane, table, n, (x, y, z), origin, (u, v))
        n += cuda.gridsize(1)
    tree(shared, lane)
    if lane < SUMS:
        partial[face, cuda.blockIdx.x, lane] = shared[lane, 0]


@maths
def mean_control(control: Any, face: Any, indices: Any, weights: Any, n: Any, axis: Any) -> Any:
    """A coordinate of a texel: the weighted mean of three control points."""
    return (
        weights[n, 0] * control[face, indices[n, 0], axis]
        + weights[n, 1] * control[face, indices[n, 1], axis]
        + weights[n, 2] * control[face, indices[n, 2], axis]
    )


@kernel(
    float32[:, :, ::1],
    int32[:, ::1],
    float32[:, ::1],
    float32[:, :, ::1],
    float32[:, ::1],
    float32[:, :, ::1],
    float32[:, :, ::1],
    threads=THREADS,
    grid="x: vertices (at most MAX_BLOCKS), y: faces",
)
def restore_control(
    control: Any,
    indices: Any,
    weights: Any,
    matrices: Any,
    table: Any,
    vertices: Any,
    partial: Any,
) -> None:
    """The same as `restore_map` from the control points of the subdivision operator.

    The position map itself is never written: its texel is the mean of three control points.

    Args:
        control: `(B, M, 3)` float32 crop pixels; a face's 40 KB stay in the first-level cache.
        indices: `(N, 3)` int32, the second stage of the operator.
        weights: `(N, 3)` float32.
        matrices: as in `restore_map`, as are all others.
        table: `(4, N)` float32.
        vertices: `(B, N, 3)` float32 to fill.
        partial: `(B, blocks, SUMS)` float32 to fill.
    """
    shared = cuda.shared.array((SUMS, THREADS), float32)
    face, lane = cuda.blockIdx.y, cuda.threadIdx.x
    finite = finite_affine(matrices, face)
    origin = frame_vertex(
        matrices, face, finite,
        mean_control(control, face, indices, weights, 0, 0),
        mean_control(control, face, indices, weights, 0, 1),
        mean_control(control, face, indices, weights, 0, 2),
    )  # fmt: skip
    clear(shared, lane)
    n = cuda.grid(1)
    while n < indices.shape[0]:
        u = mean_control(control, face, indices, weights, n, 0)
        v = mean_control(control, face, indices, weights, n, 1)
        w = mean_control(control, face, indices, weights, n, 2)
        x, y, z = frame_vertex(matrices, face, finite, u, v, w)
        vertices[face, n, 0], vertices[face, n, 1], vertices[face, n, 2] = x, y, z
        gather_sums(shared, lane, table, n, (x, y, z), origin, (u, v))
        n += cuda.gridsize(1)
    tree(shared, lane)
    if lane < SUMS:
        partial[face, cuda.blockIdx.x, lane] = shared[lane, 0]


@maths
def turn(moments: Any, spread: Any, work: Any, quaternion: Any, rotation: Any) -> Any:
    """Rotation of the moments `(SUMS, 1)`, x y z down the rows; returns scale, 0 for no extent.

    Args:
        moments: slots 0..8 in column 0, y down.
        spread: of the reference.
        work: `(11, 4)` float64: rows 0..2 the cross-covariance, 3..6 Horn's matrix, 7..10 its
            eigenvectors.
        quaternion: `(4,)` float64 to fill.
        rotation: `(3, 3)` float64 to fill.
    """
    cross, matrix, vectors = work[0:3], work[3:7], work[7:11]
    largest = 0.0
    for slot in range(9):
        largest = max(largest, abs(moments[slot, 0]))
    extent = largest > FLAT * spread
    for i in range(3):
        for j in range(3):
            value = moments[3 * i + j, 0] / largest if extent else (1.0 if i == j else 0.0)
            cross[i, j] = -value if (j == 1 and extent) else value
    horn_matrix(cross, matrix)
    eigenvalue = largest_eigenpair(matrix, vectors, quaternion)
    quaternion_to_matrix(quaternion, rotation)
    return eigenvalue * largest / spread if extent else 0.0


@maths
def solve(
    shared: Any, reference: Any, vertices: Any, face: Any, work: Any, rotation: Any, solved: Any
) -> None:
    """The row of `results` of the sums in lane 0."""
    scale = turn(shared, reference[3], work, solved[16:20], rotation)
    for i in range(3):
        turned = 0.0
        for j in range(3):
            solved[3 * i + j] = rotation[i, j]
            turned += rotation[i, j] * reference[j]
        low = shared[LOW + 2, 0] if i == 2 else 0.0
        flip = -1.0 if i == 1 else 1.0
        first = float64(vertices[face, 0, i]) - low
        solved[10 + i] = first + shared[9 + i, 0] - flip * scale * turned
    solved[26] = 1.0 if scale > 0.0 else 0.0
    solved[9] = scale if scale > 0.0 else 1.0
    matrix_to_euler(rotation, solved[13:16])
    for i in range(13, 16):
        solved[i] *= DEGREES
    for i in range(3):
        solved[20 + i], solved[23 + i] = shared[LOW + i, 0], shared[HIGH + i, 0]
    for i in range(2):
        solved[27 + i], solved[29 + i] = shared[LOW + 3 + i, 0], shared[HIGH + 3 + i, 0]
    solved[31] = 0.0


@kernel(
    float32[:, :, ::1],
    int32,
    float64[::1],
    int32[::1],
    float32[:, :, ::1],
    float64[:, ::1],
    float32[:, :, ::1],
    threads=THREADS,
    grid="x: one block, y: faces",
)
def finish_faces(
    partial: Any,
    blocks: Any,
    reference: Any,
    landmarks: Any,
    vertices: Any,
    results: Any,
    points: Any,
) -> None:
    """Add up the blocks of a face, solve for its pose, and pick its landmarks.

    The solve is Horn's 4x4 eigenproblem by one thread in float64, its matrices in shared memory
    so that nothing is spilled; the block's other threads have picked the landmarks by then.

    Args:
        partial: `(B, blocks, SUMS)` float32, see `streamprn.kernels.cuda.sums`.
        blocks: how many blocks of `partial` count.
        reference: `(4,)` float64: the centre of the canonical shape and its spread.
        landmarks: `(68,)` int32 vertex indices.
        vertices: `(B, N, 3)` float32, z not yet shifted.
        results: `(B, 32)` float64 to fill, see the module.
        points: `(B, 68, 3)` float32 to fill: the landmarks, z shifted.
    """
    shared = cuda.shared.array((SUMS, THREADS), float64)
    work = cuda.shared.array((11, 4), float64)
    rotation = cuda.shared.array((3, 3), float64)
    solved = cuda.shared.array(RESULT_COLUMNS, float64)
    face, lane = cuda.blockIdx.y, cuda.threadIdx.x
    clear(shared, lane)
    add_blocks(shared, lane, partial, face, blocks)
    tree(shared, lane)
    low_z = float32(shared[14, 0])
    index = lane
    while index < LANDMARKS:
        n = landmarks[index]
        points[face, index, 0], points[face, index, 1] = vertices[face, n, 0], vertices[face, n, 1]
        points[face, index, 2] = vertices[face, n, 2] - low_z
        index += THREADS
    if lane == 0:
        solve(shared, reference, vertices, face, work, rotation, solved)
    cuda.syncthreads()
    if lane < RESULT_COLUMNS:
        results[face, lane] = solved[lane]


@maths
def low_of(results: Any, face: Any, axis: Any) -> Any:
    """The least settled coordinate of an axis; z starts at 0."""
    return float32(results[face, 20 + axis]) if axis < 2 else ZERO


@maths
def high_of(results: Any, face: Any, axis: Any) -> Any:
    """The greatest settled coordinate of an axis."""
    if axis < 2:
        return float32(results[face, 23 + axis])
    return float32(results[face, 25]) - float32(results[face, 22])


@kernel(
    float32[:, :, ::1],
    float64[:, ::1],
    boolean,
    int16[:, :, ::1],
    float32[:, :, ::1],
    threads=THREADS,
    grid="x: vertices, y: faces",
)
def settle_vertices(
    vertices: Any, results: Any, quantised: Any, steps: Any, scale_offset: Any
) -> None:
    """Shift z so that its minimum is 0, and quantise the vertices where asked.

    The minimum is known only after all blocks of `restore_*` are done, hence a launch of its own;
    its reads come from the second-level cache.

    Args:
        vertices: `(B, N, 3)` float32, z changed in place.
        results: `(B, 32)` float64 of `finish_faces`.
        quantised: whether to fill the other two.
        steps: `(B, N, 3)` int16, as `streamprn.kernels.quantise.quantise`.
        scale_offset: `(B, 2, 3)` float32: scale and offset of each axis.
    """
    face = cuda.blockIdx.y
    low_z = float32(results[face, 22])
    n = cuda.grid(1)
    if quantised and n < 3:
        low, high = low_of(results, face, n), high_of(results, face, n)
        scale_offset[face, 0, n] = scale_of_range(low, high)
        scale_offset[face, 1, n] = offset_of_range(low, high)
    while n < vertices.shape[1]:
        z = vertices[face, n, 2] - low_z
        vertices[face, n, 2] = z
        if quantised:
            for axis in range(3):
                low, high = low_of(results, face, axis), high_of(results, face, axis)
                value = z if axis == 2 else vertices[face, n, axis]
                steps[face, n, axis] = step_of(
                    value, scale_of_range(low, high), offset_of_range(low, high)
                )
        n += cuda.gridsize(1)
