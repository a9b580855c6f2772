"""From a network's points to position maps, and from a map to vertices in the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.kernels._jit import as_points, driver, output, scratch
from streamprn.kernels.maths.affine import LIMIT, apply_row, finite_affine, finite_or_zero, scale_of
from streamprn.kernels.maths.quantise import from_level, step_of, to_level

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
        weights2: `(N, 3)` float32.
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
        """Raise `ValueError` where an index would read or write outside an array."""
        m, n = self.control_count, self.texel.shape[0]
        good = (
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
        if not good:
            raise ValueError("the arrays of the subdivision operator contradict each other")


def subdivide(
    points: NDArray[np.float32], operator: Operator, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Position maps of a network's points.

    Args:
        points: `(B, P, 3)` float32.
        operator: see `Operator`; call its `check` once after loading.
        out: `(B, 256, 256, 3)` float32, C order, or None.

    Returns:
        `out`, texels outside the mask 0.
    """
    points = np.ascontiguousarray(points, np.float32)
    if points.ndim != 3 or points.shape[2] != 3 or points.shape[1] < operator.point_count:
        raise ValueError(f"points must be (B, {operator.point_count}, 3), not {points.shape}")
    out = output(out, (points.shape[0], UV_SIZE, UV_SIZE, 3), np.float32)
    control = scratch("control", (operator.control_count, 3), np.float32)
    flat = out.reshape(points.shape[0], UV_SIZE * UV_SIZE, 3)
    _subdivide(
        points,
        operator.indptr1,
        operator.indices1,
        operator.weights1,
        operator.indices2,
        operator.weights2,
        operator.texel,
        control,
        flat,
    )
    return out


@driver(fastmath=True)
def _subdivide(
    points: Any,
    indptr1: Any,
    indices1: Any,
    weights1: Any,
    indices2: Any,
    weights2: Any,
    texel: Any,
    control: Any,
    maps: Any,
) -> None:
    for b in range(points.shape[0]):
        for row in range(indptr1.shape[0] - 1):
            x = y = z = ZERO
            for k in range(indptr1[row], indptr1[row + 1]):
                source, weight = np.uint32(indices1[k]), weights1[k]
                x += weight * points[b, source, 0]
                y += weight * points[b, source, 1]
                z += weight * points[b, source, 2]
            control[row, 0], control[row, 1], control[row, 2] = x, y, z
        place = 0
        for n in range(texel.shape[0]):
            end = texel[n]
            for gap in range(place, end):
                maps[b, gap, 0] = maps[b, gap, 1] = maps[b, gap, 2] = ZERO
            p, q, r = (
                np.uint32(indices2[n, 0]),
                np.uint32(indices2[n, 1]),
                np.uint32(indices2[n, 2]),
            )
            u, v, w = weights2[n, 0], weights2[n, 1], weights2[n, 2]
            for axis in range(3):
                maps[b, end, axis] = (
                    u * control[p, axis] + v * control[q, axis] + w * control[r, axis]
                )
            place = end + 1
        for gap in range(place, maps.shape[1]):
            maps[b, gap, 0] = maps[b, gap, 1] = maps[b, gap, 2] = ZERO


def restore(
    position_map: NDArray[np.float32],
    texel: NDArray[np.int32],
    frame_from_crop: NDArray[np.float32],
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Vertices in the frame from a position map in crop pixels.

    Args:
        position_map: `(256, 256, 3)` float32 crop pixels, z towards the camera.
        texel: `(N,)` int32 flat indices of the vertices.
        frame_from_crop: `(2, 3)` similarity; z is multiplied by its scale.
        out: `(N, 3)` float32, C order, or None.

    Returns:
        `out`, frame pixels, z with minimum 0. Entries that are not finite count as 0.
    """
    return restore_with_bounds(position_map, texel, frame_from_crop, out)[0]


def restore_with_bounds(
    position_map: NDArray[np.float32],
    texel: NDArray[np.int32],
    frame_from_crop: NDArray[np.float32],
    out: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`restore` and `bounds` in one pass: vertices `(N, 3)` and box `(4,)` xyxy."""
    flat = np.ascontiguousarray(position_map, np.float32).reshape(-1, 3)
    matrix = np.ascontiguousarray(frame_from_crop, np.float32).reshape(1, 2, 3)
    out = output(out, (texel.shape[0], 3), np.float32)
    box = np.empty(4, np.float32)
    _restore(flat, texel, matrix, out, box)
    return out, box


@driver(fastmath=True)
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


@driver()
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


def quantise(
    vertices: NDArray[np.float32],
) -> tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.float32]]:
    """Vertices as int16 levels: `vertex = level * scale + offset`, each axis of its own.

    Args:
        vertices: `(N, 3)` float32. Entries that are not finite become the offset.

    Returns:
        Levels `(N, 3)` int16, scale `(3,)` and offset `(3,)` float32; the error of an entry is at
        most half its scale, plus the rounding of float32.
    """
    vertices = as_points(vertices)
    levels = np.empty(vertices.shape, np.int16)
    scale, offset = np.empty(3, np.float32), np.empty(3, np.float32)
    _quantise(vertices, levels, scale, offset)
    return levels, scale, offset


@driver()
def _quantise(vertices: Any, levels: Any, scale: Any, offset: Any) -> None:
    for axis in range(3):
        low, high = np.inf, -np.inf
        for n in range(vertices.shape[0]):
            value = np.float64(vertices[n, axis])
            if abs(value) < np.inf:
                low, high = min(low, value), max(high, value)
        if low > high:
            low = high = 0.0
        scale[axis] = step_of(low, high)
        offset[axis] = 0.5 * (low + high)
        inverse, middle = 1.0 / np.float64(scale[axis]), np.float64(offset[axis])
        for n in range(vertices.shape[0]):
            levels[n, axis] = to_level(np.float64(vertices[n, axis]), inverse, middle)


def dequantise(
    levels: NDArray[np.int16],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """The vertices `(N, 3)` float32 of `quantise`."""
    levels = np.ascontiguousarray(levels, np.int16)
    out = output(out, (levels.shape[0], 3), np.float32)
    _dequantise(levels, scale, offset, out)
    return out


@driver(fastmath=True)
def _dequantise(levels: Any, scale: Any, offset: Any, out: Any) -> None:
    for n in range(levels.shape[0]):
        for axis in range(3):
            out[n, axis] = from_level(np.float32(levels[n, axis]), scale[axis], offset[axis])
