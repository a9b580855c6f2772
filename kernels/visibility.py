"""Which vertices the camera sees: a z-buffer test and a facing test.

The face is drawn into a small image of its own box, whatever its place and size in the frame: a
part of the face outside the frame occludes as well as one inside, and the cost is constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.kernels import raster
from streamprn.kernels._jit import as_points, as_triangles, cpu_loop, inner, scratch
from streamprn.kernels.normals import vertex_normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Pixels of the longer side of the face's own image; finer than the mesh finds its gaps.
SIDE = 192
# As a part of that side: how far behind the surface a vertex may be and still be on it.
BIAS = 2.0 / 192.0
# Cosine to the camera below which a vertex looks away.
GRAZING = np.float32(0.05)


def visible_vertices(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    normals: NDArray[np.float32] | None = None,
    side: int = SIDE,
) -> NDArray[np.bool_]:
    """Whether each vertex faces the camera and nothing stands before it.

    Args:
        vertices: `(N, 3)` float32, frame pixels.
        triangles: `(T, 3)` int32, as in `normals.vertex_normals`.
        normals: `(N, 3)` float32 of `normals.vertex_normals`, where they are known already.
        side: pixels of the longer side of the face's own image; fewer suit a coarser mesh.

    Returns:
        `(N,)` bool; false for vertices that are not finite.
    """
    vertices, triangles = as_points(vertices), as_triangles(triangles)
    if normals is None:
        normals = vertex_normals(
            vertices, triangles, scratch("normals", vertices.shape, np.float32)
        )
    placed = place(vertices, side, scratch("placed", vertices.shape, np.float32))
    depth = scratch("visibility", (side, side), np.float32)
    raster.depth(placed, triangles, side, side, depth)
    return seen(placed, normals, depth)


def place(
    vertices: NDArray[np.float32], side: int, out: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Vertices `(N, 3)` moved into a square image of their own, `side` pixels; returns `out`."""
    _place(vertices, side, out)
    return out


def seen(
    placed: NDArray[np.float32], normals: NDArray[np.float32], depth: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """`(N,)` bool: whether vertices of `place` face the camera and are on the surface drawn.

    Args:
        placed: `(N, 3)` float32, pixels of `depth`.
        normals: `(N, 3)` float32 of `normals.vertex_normals`.
        depth: `(side, side)` float32 of `raster.depth`.
    """
    visible = np.empty(placed.shape[0], np.bool_)
    _visible(placed, normals, depth, np.float32(BIAS * depth.shape[0]), GRAZING, visible)
    return visible


def visible_landmarks(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    landmarks: NDArray[np.int32],
    normals: NDArray[np.float32] | None = None,
    side: int = SIDE,
) -> NDArray[np.bool_]:
    """`visible_vertices` of the landmark vertices `(68,)` int32 alone: `(68,)` bool."""
    return visible_vertices(vertices, triangles, normals, side)[landmarks]


@inner()
def _lowest_around(depth: Any, x: Any, y: Any) -> Any:
    """The lowest depth of the four pixels around; minus infinity where one is background.

    A slope rises by more than the bias within a pixel, and at the face's outline nothing tells
    how far it falls.
    """
    c, r = int(x), int(y)
    low = np.float32(np.inf)
    for dr in range(2):
        for dc in range(2):
            value = depth[r + dr, c + dc]
            if not (abs(value) < np.inf):
                return np.float32(-np.inf)
            low = min(low, value)
    return low


@cpu_loop()
def _place(vertices: Any, side: Any, placed: Any) -> None:
    """Scale and shift the finite vertices into an image of `side` pixels, a pixel from its edge."""
    low_x = low_y = np.float32(np.inf)
    high_x = high_y = np.float32(-np.inf)
    for n in range(vertices.shape[0]):
        x, y = vertices[n, 0], vertices[n, 1]
        if abs(x) < np.inf and abs(y) < np.inf:
            low_x, high_x = min(low_x, x), max(high_x, x)
            low_y, high_y = min(low_y, y), max(high_y, y)
    longer = max(np.float64(high_x) - low_x, np.float64(high_y) - low_y)
    scale = np.float32((side - 3) / longer) if 0.0 < longer < np.inf else np.float32(1.0)
    for n in range(vertices.shape[0]):
        placed[n, 0] = (vertices[n, 0] - low_x) * scale + np.float32(1.0)
        placed[n, 1] = (vertices[n, 1] - low_y) * scale + np.float32(1.0)
        placed[n, 2] = vertices[n, 2] * scale


@cpu_loop()
def _visible(placed: Any, normals: Any, depth: Any, bias: Any, grazing: Any, visible: Any) -> None:
    height, width = depth.shape
    for n in range(placed.shape[0]):
        x, y, z = placed[n, 0], placed[n, 1], placed[n, 2]
        seen = normals[n, 2] > grazing and 0 <= x < width - 1 and 0 <= y < height - 1
        if seen:
            seen = z + bias >= _lowest_around(depth, x, y)
        visible[n] = seen and abs(z) < np.inf
