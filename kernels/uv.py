"""From a network's points to position maps, and from a map to vertices in the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.kernels._jit import as_points, cpu_loop, maths, output, scratch
from streamprn.kernels._lanes import (
    LANES,
    add4,
    lane4,
    load4,
    max4,
    min4,
    multiply4,
    spread4,
    store3,
    store4,
)
from streamprn.kernels.maths.affine import LIMIT, apply_row, finite_affine, finite_or_zero, scale_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZERO = np.float32(0.0)
UV_SIZE = 256


@dataclass(frozen=True)
class Operator:
    """A fixed linear map from P points to N texels, in two sparse stages.

    Stage 1 makes M control points as rows in CSR form (Loop subdivision to its limit surface);
    stage 2 makes each texel from three of them (barycentric).

    Attributes:
        indptr1: `(M + 1,)` int32.
        indices1: `(nnz,)` int32, below P.
        weights1: `(nnz,)` float32.
        indices2: `(N, 3)` int32, below M.
        weights2: `(N, 3)` float32, each row with the sum 1.
        texel: `(N,)` int32, flat index into the 256 x 256 map, strictly increasing.
    """

    indptr1: NDArray[np.int32]
    indices1: NDArray[np.int32]
    weights1: NDArray[np.float32]
    indices2: NDArray[np.int32]
    weights2: NDArray[np.float32]
    texel: NDArray[np.int32]

    @property
    def control_count(self) -> int:
        """M."""
        return int(self.indptr1.shape[0]) - 1

    @property
    def point_count(self) -> int:
        """The least P that it can be applied to."""
        return int(self.indices1.max()) + 1

    def check(self) -> None:
        """Raise `ValueError` where an index would leave an array, or weights are no means."""
        m, n = self.control_count, self.texel.shape[0]
        finite = bool(np.isfinite(self.weights1).all() and np.isfinite(self.weights2).all())
        good = (
            finite
            and bool(np.allclose(self.weights2.sum(axis=1, dtype=float), 1.0, atol=1e-3))
            and (
                self.indptr1[0] == 0
                and self.indptr1[-1] == self.indices1.shape[0] == self.weights1.shape[0]
                and bool((np.diff(self.indptr1) >= 0).all())
                and int(self.indices1.min()) >= 0
                and self.indices2.shape == self.weights2.shape == (n, 3)
                and int(self.indices2.min()) >= 0
                and int(self.indices2.max()) < m
                and bool((np.diff(self.texel) > 0).all())
                and int(self.texel[0]) >= 0
                and int(self.texel[-1]) < UV_SIZE * UV_SIZE
            )
        )
        if not good:
            raise ValueError("the arrays of the subdivision operator contradict each other")


def combine(
    points: NDArray[np.float32],
    starts: NDArray[np.int32],
    sources: NDArray[np.int32],
    weights: NDArray[np.float32],
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Weighted sums of points: a sparse matrix of R rows (CSR) times each face's points.

    Args:
        points: `(B, P, 3)` or, as this function gives them, `(B, P, 4)` float32.
        starts: `(R + 1,)` int32, the first entry of each row.
        sources: `(K,)` int32, below P.
        weights: `(K,)` float32.
        out: `(B, R, 4)` float32, C order, or None.

    Returns:
        `out`: x, y, z and a lane of zeros, for the vector registers of what comes next.
    """
    points = np.ascontiguousarray(points, np.float32)
    if points.ndim != 3 or points.shape[2] not in (3, LANES):
        raise ValueError(f"points must be (B, P, 3) or (B, P, {LANES}), not {points.shape}")
    out = output(out, (points.shape[0], starts.shape[0] - 1, LANES), np.float32)
    lanes = scratch("lanes", (points.shape[1], LANES), np.float32)
    for face, row in zip(points, out, strict=True):
        _combine(face, lanes, starts, sources, weights, row)
    return out


@cpu_loop(fastmath=True)
def _combine(points: Any, lanes: Any, starts: Any, sources: Any, weights: Any, out: Any) -> None:
    for p in range(points.shape[0]):
        lanes[p, 0], lanes[p, 1], lanes[p, 2] = points[p, 0], points[p, 1], points[p, 2]
        lanes[p, 3] = ZERO
    for row in range(starts.shape[0] - 1):
        total = spread4(ZERO)
        for k in range(starts[row], starts[row + 1]):
            point = load4(lanes, LANES * np.intp(sources[k]))
            total = add4(total, multiply4(spread4(weights[k]), point))
        store4(out, LANES * row, total)


def control_points(
    points: NDArray[np.float32], operator: Operator, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Control points of faces: the first stage of the operator.

    Args:
        points: `(B, P, 3)` or `(B, P, 4)` float32.
        operator: see `Operator`; call its `check` once after loading.
        out: `(B, M, 4)` float32, C order, or None.

    Returns:
        `out`, as of `combine`.
    """
    if points.ndim != 3 or points.shape[1] < operator.point_count:
        raise ValueError(f"points must be (B, {operator.point_count}, 3), not {points.shape}")
    return combine(points, operator.indptr1, operator.indices1, operator.weights1, out)


def position_map_of(
    control: NDArray[np.float32], operator: Operator, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """The position map of one face's control points: the second stage of the operator.

    Args:
        control: `(M, 4)` float32 of `control_points`.
        operator: the same.
        out: `(256, 256, 3)` float32, C order, or None.

    Returns:
        `out`, texels outside the mask 0.
    """
    out = output(out, (UV_SIZE, UV_SIZE, 3), np.float32)
    control = _checked_control(control, operator)
    flat = out.reshape(-1)
    _position_map(control, operator.indices2, operator.weights2, operator.texel, flat)
    return out


def _checked_control(control: NDArray[np.float32], operator: Operator) -> NDArray[np.float32]:
    """The array itself, where compiled loops stay inside it."""
    return output(control, (operator.control_count, LANES), np.float32, "control")  # type: ignore[no-any-return]


@maths
def _texel(control: Any, indices: Any, weights: Any, n: Any) -> Any:
    """Texel `n` in four lanes: the mean of its three control points."""
    p = load4(control, LANES * np.intp(indices[n, 0]))
    q = load4(control, LANES * np.intp(indices[n, 1]))
    r = load4(control, LANES * np.intp(indices[n, 2]))
    two = add4(multiply4(spread4(weights[n, 0]), p), multiply4(spread4(weights[n, 1]), q))
    return add4(two, multiply4(spread4(weights[n, 2]), r))


@cpu_loop(fastmath=True)
def _position_map(control: Any, indices: Any, weights: Any, texel: Any, flat: Any) -> None:
    """Fill `flat` `(256 * 256 * 3,)`; each store overruns into the next texel, written after."""
    place: Any = 0
    last = texel.shape[0] - 1
    for n in range(texel.shape[0]):
        at = 3 * np.intp(texel[n])
        for gap in range(place, at):
            flat[gap] = ZERO
        if n < last:
            store4(flat, at, _texel(control, indices, weights, n))
        else:
            store3(flat, at, _texel(control, indices, weights, n))
        place = at + 3
    for gap in range(place, flat.shape[0]):
        flat[gap] = ZERO


def outline(
    control: NDArray[np.float32], indices: NDArray[np.int32], weights: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bounds of a face, and some of its vertices, without making all of them.

    Args:
        control: `(M, 4)` float32 of `control_points`.
        indices: `(K, 3)` int32, rows of an operator's second stage.
        weights: `(K, 3)` float32, the same rows.

    Returns:
        Box `(4,)` float32 x0, y0, x1, y1 of the control points, between which all vertices lie;
        and the vertices of the rows, `(K, 3)` float32.
    """
    box, points = np.empty(4, np.float32), np.empty((indices.shape[0], 3), np.float32)
    _bounds(control, box)
    _some(control, indices, weights, points)
    return box, points


@cpu_loop(fastmath=True)
def _some(control: Any, indices: Any, weights: Any, points: Any) -> None:
    for n in range(points.shape[0]):
        for axis in range(3):
            points[n, axis] = (
                weights[n, 0] * control[indices[n, 0], axis]
                + weights[n, 1] * control[indices[n, 1], axis]
                + weights[n, 2] * control[indices[n, 2], axis]
            )


def restore_control(
    control: NDArray[np.float32],
    operator: Operator,
    frame_from_crop: NDArray[np.float32],
    out: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`restore_with_bounds` of `position_map_of`, without writing the map.

    The control points are moved into the frame first: there are eight times fewer of them, and a
    mean with weights that sum to 1 commutes with an affine map.

    Args:
        control: `(M, 4)` float32 of `control_points`, crop pixels. Entries that are not finite
            count as 0.
        operator: the same.
        frame_from_crop: `(2, 3)` similarity; z is multiplied by its scale.
        out: `(N, 3)` float32, C order, or None.

    Returns:
        Vertices `(N, 3)`, frame pixels, z with minimum 0, and their box `(4,)` xyxy.
    """
    control = _checked_control(control, operator)
    matrix = np.ascontiguousarray(frame_from_crop, np.float32).reshape(1, 2, 3)
    out = output(out, (operator.texel.shape[0], 3), np.float32)
    placed = scratch("placed control", control.shape, np.float32)
    box = np.empty(4, np.float32)
    _place(control, matrix, placed)
    _restore_control(placed, operator.indices2, operator.weights2, out.reshape(-1), box)
    return out, box


@cpu_loop(fastmath=True)
def _place(control: Any, matrix: Any, placed: Any) -> None:
    """Control points in the frame, four lanes each."""
    a, b, c = matrix[0, 0, 0], matrix[0, 0, 1], matrix[0, 0, 2]
    d, e, f = matrix[0, 1, 0], matrix[0, 1, 1], matrix[0, 1, 2]
    if not finite_affine(matrix, 0):
        a = b = c = d = e = f = ZERO
    scale = scale_of(a, b, d, e)
    for m in range(control.shape[0]):
        u, v = finite_or_zero(control[m, 0]), finite_or_zero(control[m, 1])
        placed[m, 0] = finite_or_zero(apply_row(a, b, c, u, v))
        placed[m, 1] = finite_or_zero(apply_row(d, e, f, u, v))
        placed[m, 2] = finite_or_zero(scale * finite_or_zero(control[m, 2]))
        placed[m, 3] = ZERO


@cpu_loop(fastmath=True)
def _restore_control(placed: Any, indices: Any, weights: Any, flat: Any, box: Any) -> None:
    """Fill `flat` `(3 N,)`; each store overruns into the next vertex, written after."""
    low, high = spread4(LIMIT), spread4(-LIMIT)
    last = indices.shape[0] - 1
    for n in range(last):
        vertex = _texel(placed, indices, weights, n)
        low, high = min4(vertex, low), max4(vertex, high)
        store4(flat, 3 * n, vertex)
    if last >= 0:
        vertex = _texel(placed, indices, weights, last)
        low, high = min4(vertex, low), max4(vertex, high)
        store3(flat, 3 * last, vertex)
    else:
        low = high = spread4(ZERO)
    low_z = lane4(low, 2)
    for n in range(indices.shape[0]):
        flat[3 * n + 2] -= low_z
    box[0], box[1], box[2], box[3] = lane4(low, 0), lane4(low, 1), lane4(high, 0), lane4(high, 1)


def restore_with_bounds(
    position_map: NDArray[np.float32],
    texel: NDArray[np.int32],
    frame_from_crop: NDArray[np.float32],
    out: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vertices in the frame from a position map in crop pixels, and their `bounds`, in one pass.

    Args:
        position_map: `(256, 256, 3)` float32 crop pixels, z towards the camera.
        texel: `(N,)` int32 flat indices of the vertices.
        frame_from_crop: `(2, 3)` similarity; z is multiplied by its scale.
        out: `(N, 3)` float32, C order, or None.

    Returns:
        Vertices `(N, 3)`, frame pixels, z with minimum 0, and their box `(4,)` xyxy. Entries that
        are not finite count as 0.
    """
    flat = np.ascontiguousarray(position_map, np.float32).reshape(-1, 3)
    matrix = np.ascontiguousarray(frame_from_crop, np.float32).reshape(1, 2, 3)
    out = output(out, (texel.shape[0], 3), np.float32)
    box = np.empty(4, np.float32)
    _restore(flat, texel, matrix, out, box)
    return out, box


@cpu_loop(fastmath=True)
def _restore(flat: Any, texel: Any, matrix: Any, out: Any, box: Any) -> None:
    a, b, c = matrix[0, 0, 0], matrix[0, 0, 1], matrix[0, 0, 2]
    d, e, f = matrix[0, 1, 0], matrix[0, 1, 1], matrix[0, 1, 2]
    if not finite_affine(matrix, 0):
        a = b = c = d = e = f = ZERO
    scale = scale_of(a, b, d, e)
    low_x = low_y = low_z = LIMIT
    high_x = high_y = -LIMIT
    for n in range(texel.shape[0]):
        place = np.uint32(texel[n])
        u, v = finite_or_zero(flat[place, 0]), finite_or_zero(flat[place, 1])
        x = finite_or_zero(apply_row(a, b, c, u, v))
        y = finite_or_zero(apply_row(d, e, f, u, v))
        z = finite_or_zero(scale * finite_or_zero(flat[place, 2]))
        low_x, high_x = min(low_x, x), max(high_x, x)
        low_y, high_y = min(low_y, y), max(high_y, y)
        low_z = min(low_z, z)
        out[n, 0], out[n, 1], out[n, 2] = x, y, z
    for n in range(texel.shape[0]):
        out[n, 2] -= low_z
    if texel.shape[0] == 0:
        low_x = low_y = high_x = high_y = ZERO
    box[0], box[1], box[2], box[3] = low_x, low_y, high_x, high_y


def scatter(
    values: NDArray[np.float32], texel: NDArray[np.int32], out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Vertex values `(N, 3)` back into a map `(256, 256, 3)`, 0 outside the mask."""
    out = output(out, (UV_SIZE, UV_SIZE, 3), np.float32)
    flat = out.reshape(-1, 3)
    flat[:] = 0.0
    flat[texel] = values
    return out


def bounds(vertices: NDArray[np.float32]) -> NDArray[np.float32]:
    """Box `(4,)` float32 x0, y0, x1, y1 of the finite vertices `(N, 3)`; zeros without any."""
    box = np.empty(4, np.float32)
    _bounds(as_points(vertices), box)
    return box


@cpu_loop()
def _bounds(vertices: Any, box: Any) -> None:
    low_x = low_y = np.float32(np.inf)
    high_x = high_y = np.float32(-np.inf)
    for n in range(vertices.shape[0]):
        x, y = vertices[n, 0], vertices[n, 1]
        if abs(x) < np.inf and abs(y) < np.inf:
            low_x, high_x = min(low_x, x), max(high_x, x)
            low_y, high_y = min(low_y, y), max(high_y, y)
    if low_x > high_x:
        low_x = low_y = high_x = high_y = ZERO
    box[0], box[1], box[2], box[3] = low_x, low_y, high_x, high_y
