"""Vertex normals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.kernels._jit import as_points, as_triangles, cpu_loop, output
from streamprn.kernels.maths.triangle import normal_x, normal_y, normal_z

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
INFINITY = np.float32(np.inf)


def vertex_normals(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Unit normals of the vertices, the mean of their triangles' normals weighted by area.

    Args:
        vertices: `(N, 3)` float32, frame pixels (x right, y down, z towards the camera).
        triangles: `(T, 3)` int32, counter-clockwise seen from outside (y up).
        out: `(N, 3)` float32, C order, or None.

    Returns:
        `out`, outward unit vectors in the frame's axes; a vertex without area gets (0, 0, 1).
    """
    vertices, triangles = as_points(vertices), as_triangles(triangles)
    out = output(out, vertices.shape, np.float32)
    _vertex_normals(vertices, triangles, out)
    return out


@cpu_loop()
def _vertex_normals(vertices: Any, triangles: Any, out: Any) -> None:
    for n in range(out.shape[0]):
        out[n, 0] = out[n, 1] = out[n, 2] = ZERO
    for t in range(triangles.shape[0]):
        i, j, k = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        bx, by, bz = vertices[j, 0] - x, vertices[j, 1] - y, vertices[j, 2] - z
        cx, cy, cz = vertices[k, 0] - x, vertices[k, 1] - y, vertices[k, 2] - z
        nx = normal_x(bx, by, bz, cx, cy, cz)
        ny = normal_y(bx, by, bz, cx, cy, cz)
        nz = normal_z(bx, by, bz, cx, cy, cz)
        if not (abs(nx) + abs(ny) + abs(nz) < INFINITY):
            continue
        for corner in (i, j, k):
            out[corner, 0] += nx
            out[corner, 1] += ny
            out[corner, 2] += nz
    for n in range(out.shape[0]):
        nx, ny, nz = np.float64(out[n, 0]), np.float64(out[n, 1]), np.float64(out[n, 2])
        length = math.sqrt(nx * nx + ny * ny + nz * nz)
        if length > 0.0 and length < np.inf:
            out[n, 0], out[n, 1], out[n, 2] = nx / length, ny / length, nz / length
        else:
            out[n, 0], out[n, 1], out[n, 2] = ZERO, ZERO, ONE
