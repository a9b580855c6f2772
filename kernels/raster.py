"""Drawing triangles: depth images, and which triangle is seen at each pixel.

The camera is weakly perspective: vertices are frame pixels already, and the nearest surface is the
one of largest z. Both sides of a triangle are drawn. See `maths.triangle` for the coverage rule.
Most triangles of a dense face are about a pixel in size, so one triangle at a time, in the order
of the mesh, beats tiles; the vertices it needs are in the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamprn.kernels._jit import as_points, as_triangles, driver, output
from streamprn.kernels.maths.triangle import (
    edge,
    first_pixel,
    inside,
    interpolate,
    last_pixel,
    usable,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Raster(NamedTuple):
    """What `rasterise` draws.

    Attributes:
        depth: `(H, W)` float32, z of the nearest surface, NaN where there is none.
        triangle: `(H, W)` int32, its triangle, -1 where there is none.
        barycentric: `(H, W, 2)` float32, weights of the triangle's first and second corner.
    """

    depth: NDArray[np.float32]
    triangle: NDArray[np.int32]
    barycentric: NDArray[np.float32]


def depth(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    height: int,
    width: int,
    out: NDArray[np.float32] | None = None,
    *,
    merge: bool = False,
) -> NDArray[np.float32]:
    """Depth image: z of the nearest surface at each pixel centre.

    Args:
        vertices: `(N, 3)` float32, frame pixels. Triangles with a corner that is not finite are
            left out.
        triangles: `(T, 3)` int32, indices below N.
        height: H, pixels.
        width: W, pixels.
        out: `(H, W)` float32, C order, or None.
        merge: draw into what `out` holds already, as for a further face of the same frame.

    Returns:
        `out`, NaN where there is no surface.
    """
    vertices, triangles = as_points(vertices), as_triangles(triangles)
    fresh = out is None
    out = output(out, (height, width), np.float32)
    if fresh or not merge:
        out.fill(np.nan)
    _depth(vertices, triangles, out)
    return out


def rasterise(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    height: int,
    width: int,
    out: Raster | None = None,
    *,
    merge: bool = False,
) -> Raster:
    """Depth, triangle and barycentric coordinates of the nearest surface at each pixel centre.

    Args:
        vertices: as in `depth`, as are `triangles`, `height` and `width`.
        triangles: `(T, 3)` int32.
        height: H, pixels.
        width: W, pixels.
        out: arrays to draw into, or None.
        merge: draw into what `out` holds already.
    """
    vertices, triangles = as_points(vertices), as_triangles(triangles)
    fresh = out is None
    given = (None, None, None) if out is None else out
    raster = Raster(
        output(given[0], (height, width), np.float32, "out.depth"),
        output(given[1], (height, width), np.int32, "out.triangle"),
        output(given[2], (height, width, 2), np.float32, "out.barycentric"),
    )
    if fresh or not merge:
        raster.depth.fill(np.nan)
        raster.triangle.fill(-1)
        raster.barycentric.fill(0.0)
    _rasterise(vertices, triangles, raster.depth, raster.triangle, raster.barycentric)
    return raster


@driver()
def _depth(vertices: Any, triangles: Any, out: Any) -> None:
    height, width = out.shape
    for t in range(triangles.shape[0]):
        i, j, k = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
        x0, y0, z0 = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        x1, y1, z1 = vertices[j, 0], vertices[j, 1], vertices[j, 2]
        x2, y2, z2 = vertices[k, 0], vertices[k, 1], vertices[k, 2]
        if not usable(x0, y0, z0, x1, y1, z1, x2, y2, z2):
            continue
        left = first_pixel(min(x0, x1, x2))
        right = last_pixel(max(x0, x1, x2), width)
        top = first_pixel(min(y0, y1, y2))
        bottom = last_pixel(max(y0, y1, y2), height)
        for r in range(top, bottom + 1):
            py = np.float32(r)
            ay, by, cy = y0 - py, y1 - py, y2 - py
            for c in range(left, right + 1):
                px = np.float32(c)
                ax, bx, cx = x0 - px, x1 - px, x2 - px
                e0, e1, e2 = edge(bx, by, cx, cy), edge(cx, cy, ax, ay), edge(ax, ay, bx, by)
                if inside(e0, e1, e2):
                    z = interpolate(e0, e1, e2, z0, z1, z2)
                    if not (out[r, c] >= z):
                        out[r, c] = z


@driver()
def _rasterise(vertices: Any, triangles: Any, out: Any, owner: Any, weights: Any) -> None:
    height, width = out.shape
    for t in range(triangles.shape[0]):
        i, j, k = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
        x0, y0, z0 = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        x1, y1, z1 = vertices[j, 0], vertices[j, 1], vertices[j, 2]
        x2, y2, z2 = vertices[k, 0], vertices[k, 1], vertices[k, 2]
        if not usable(x0, y0, z0, x1, y1, z1, x2, y2, z2):
            continue
        left = first_pixel(min(x0, x1, x2))
        right = last_pixel(max(x0, x1, x2), width)
        top = first_pixel(min(y0, y1, y2))
        bottom = last_pixel(max(y0, y1, y2), height)
        for r in range(top, bottom + 1):
            py = np.float32(r)
            ay, by, cy = y0 - py, y1 - py, y2 - py
            for c in range(left, right + 1):
                px = np.float32(c)
                ax, bx, cx = x0 - px, x1 - px, x2 - px
                e0, e1, e2 = edge(bx, by, cx, cy), edge(cx, cy, ax, ay), edge(ax, ay, bx, by)
                if inside(e0, e1, e2):
                    z = interpolate(e0, e1, e2, z0, z1, z2)
                    if not (out[r, c] >= z):
                        out[r, c] = z
                        owner[r, c] = t
                        total = e0 + e1 + e2
                        weights[r, c, 0] = e0 / total
                        weights[r, c, 1] = e1 / total
