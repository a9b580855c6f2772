"""Values at vertices, interpolated over what `kernels.raster` has drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.kernels._jit import as_triangles, cpu_loop, output

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.kernels.raster import Raster


def interpolate(
    raster: Raster,
    triangles: NDArray[np.int32],
    values: NDArray[np.float32],
    fill: float,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """An image of values that vary linearly over each triangle.

    Args:
        raster: see `streamprn.kernels.raster.rasterise`, `(H, W)`.
        triangles: `(T, 3)` int32, those that were drawn.
        values: `(N, C)` float32, of the vertices.
        fill: where there is no surface.
        out: `(H, W, C)` float32, C order, or None.

    Returns:
        `out`.
    """
    triangles = as_triangles(triangles)
    values = np.ascontiguousarray(values, np.float32)
    if values.ndim != 2 or (triangles.size and int(triangles.max()) >= len(values)):
        raise ValueError(f"values {values.shape} are not those of the triangles' vertices")
    height, width = raster.triangle.shape
    out = output(out, (height, width, values.shape[1]), np.float32)
    _interpolate(raster.triangle, raster.barycentric, triangles, values, np.float32(fill), out)
    return out


@cpu_loop()
def _interpolate(
    owner: Any, barycentric: Any, triangles: Any, values: Any, fill: Any, out: Any
) -> None:
    """`w0 v0 + w1 v1 + (1 - w0 - w1) v2` at each pixel of a triangle, `fill` elsewhere."""
    for row in range(owner.shape[0]):
        for column in range(owner.shape[1]):
            t = owner[row, column]
            if t < 0:
                for channel in range(out.shape[2]):
                    out[row, column, channel] = fill
                continue
            w0, w1 = barycentric[row, column, 0], barycentric[row, column, 1]
            w2 = np.float32(1) - w0 - w1
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            for channel in range(out.shape[2]):
                out[row, column, channel] = (
                    w0 * values[i, channel] + w1 * values[j, channel] + w2 * values[k, channel]
                )
