"""Drawing triangles: depth images, and which triangle is seen at each pixel.

The camera is weakly perspective: vertices are frame pixels already, and the nearest surface is the
one of largest z. Both sides of a triangle are drawn. See `maths.triangle` for the coverage rule.

Most triangles of a dense face are about a pixel in size, where the cost is not arithmetic but
branches that no processor can predict: has the triangle a pixel at all, is the pixel inside, is
it nearer. So small triangles are cut into blocks of 2 x 2 pixels and queued; a full queue is
evaluated without a branch, eight blocks at a time in vector registers, and then merged into the
image by selects. That halves the time of the plain loop, which remains for large triangles.

With several threads each draws all triangles into a band of rows of its own. A pixel's winner is
the nearest triangle, and of equals the first, whatever the order in which they come: the image is
the same, bit for bit, for any number of bands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamprn.kernels._bands import MAX_THREADS, in_bands, processors
from streamprn.kernels._jit import as_points, as_triangles, cpu_loop, inner, output, scratch
from streamprn.kernels.maths.triangle import (
    edge,
    first_pixel,
    inside,
    interpolate,
    last_pixel,
    nearer,
    usable,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["Raster", "band_edges", "depth", "processors", "rasterise"]

ZERO = np.float32(0.0)
TWO = np.float32(2.0)
NOWHERE = np.float32(-np.inf)
NO_OWNER = np.empty((0, 0), np.int32)
# Blocks that are evaluated at once: the queue (34 KB) stays in the first-level cache.
QUEUE = 512
# Pixels; triangles as wide or high are drawn row by row.
LARGEST = 16
# Vertices from which the bands are chosen, so that all have about as many triangles.
SAMPLES = 2048


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
    threads: int = 1,
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
        threads: how many work at once, 1 to 16; the result does not depend on it. One where other
            threads are busy, as in the pipeline.

    Returns:
        `out`, NaN where there is no surface.
    """
    vertices, triangles = as_points(vertices), as_triangles(triangles)
    fresh = out is None
    out = output(out, (height, width), np.float32)

    def draw(first: int, end: int) -> None:
        if fresh or not merge:
            out[first:end].fill(np.nan)
        _draw(vertices, triangles, out, NO_OWNER, first, end, *_work_space())

    in_bands(draw, band_edges(vertices, height, threads))
    return out


def rasterise(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    height: int,
    width: int,
    out: Raster | None = None,
    *,
    merge: bool = False,
    threads: int = 1,
) -> Raster:
    """Depth, triangle and barycentric coordinates of the nearest surface at each pixel centre.

    Args:
        vertices: as in `depth`, as are `triangles`, `height` and `width`.
        triangles: `(T, 3)` int32.
        height: H, pixels.
        width: W, pixels.
        out: arrays to draw into, or None.
        merge: draw into what `out` holds already.
        threads: as in `depth`.
    """
    vertices, triangles = as_points(vertices), as_triangles(triangles)
    if out is not None and merge:
        drawn = rasterise(vertices, triangles, height, width, threads=threads)
        _combine(*drawn, *_checked(out, height, width))
        return out
    raster = _checked(out, height, width)

    def draw(first: int, end: int) -> None:
        raster.depth[first:end].fill(np.nan)
        raster.triangle[first:end].fill(-1)
        _draw(vertices, triangles, raster.depth, raster.triangle, first, end, *_work_space())
        _barycentric(vertices, triangles, raster.triangle, raster.barycentric, first, end)

    in_bands(draw, band_edges(vertices, height, threads))
    return raster


def band_edges(vertices: NDArray[np.float32], height: int, count: int) -> list[int]:
    """Rows at which `count` bands with about as many vertices each begin, and `height`.

    Args:
        vertices: `(N, 3)` float32, frame pixels.
        height: rows of the image.
        count: of bands; fewer where there are not enough rows.

    Returns:
        Increasing, the first 0, the last `height`.

    Raises:
        ValueError: `count` is not in 1..16.
    """
    if not 1 <= count <= MAX_THREADS:
        raise ValueError(f"threads must be in 1..{MAX_THREADS}, not {count}")
    if count == 1:
        return [0, height]
    rows = vertices[:: max(len(vertices) // SAMPLES, 1), 1]
    rows = np.sort(rows[(rows >= ZERO) & (rows <= np.float32(height - 1))])
    inner = [int(rows[len(rows) * n // count]) for n in range(1, count)] if rows.size else []
    return sorted({0, height, *(row for row in inner if 0 < row < height)})


def _checked(out: Raster | None, height: int, width: int) -> Raster:
    given = (None, None, None) if out is None else out
    return Raster(
        output(given[0], (height, width), np.float32, "out.depth"),
        output(given[1], (height, width), np.int32, "out.triangle"),
        output(given[2], (height, width, 2), np.float32, "out.barycentric"),
    )


def _work_space() -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    return scratch("raster", (15, QUEUE), np.float32), scratch(
        "raster places", (2, QUEUE), np.int32
    )


@cpu_loop()
def _combine(
    depth: Any, owner: Any, weights: Any, out: Any, out_owner: Any, out_weights: Any
) -> None:
    """Take over every pixel of the first raster that is nearer than the second's."""
    for r in range(depth.shape[0]):
        for c in range(depth.shape[1]):
            if owner[r, c] >= 0 and not (out[r, c] >= depth[r, c]):
                out[r, c], out_owner[r, c] = depth[r, c], owner[r, c]
                out_weights[r, c, 0] = weights[r, c, 0]
                out_weights[r, c, 1] = weights[r, c, 1]


@cpu_loop()
def _draw(
    vertices: Any,
    triangles: Any,
    out: Any,
    owner: Any,
    first_row: Any,
    end_row: Any,
    queue: Any,
    places: Any,
) -> None:
    """Draw into rows of `out` `(H, W)` and, where `owner` has its shape, note the triangle there.

    Args:
        vertices: `(N, 3)`.
        triangles: `(T, 3)`.
        out: `(H, W)` float32 depth.
        owner: `(H, W)` int32, or `(0, 0)`.
        first_row: of the band to draw.
        end_row: the row after its last.
        queue: `(15, Q)` float32 work space: nine corner coordinates, column and row of the
            block's first pixel, and the depths found at its four pixels.
        places: `(2, Q)` int32 work space: flat index of the block's first pixel, and triangle.
    """
    width = out.shape[1]
    inner_right, inner_bottom = np.float32(width - 2), np.float32(end_row - 2)
    band_top, band_bottom = np.float32(first_row), np.float32(end_row - 1)
    room = queue.shape[1] - LARGEST * LARGEST // 4
    # Of a type, not a literal, for which Numba would compile what it is given to once more.
    count = np.int64(0)
    for t in range(triangles.shape[0]):
        i, j, k = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
        y0, y1, y2 = vertices[i, 1], vertices[j, 1], vertices[k, 1]
        low_y, high_y = min(y0, y1, y2), max(y0, y1, y2)
        if (high_y < band_top) | (low_y > band_bottom):
            continue
        x0, z0 = vertices[i, 0], vertices[i, 2]
        x1, z1 = vertices[j, 0], vertices[j, 2]
        x2, z2 = vertices[k, 0], vertices[k, 2]
        left, top = np.ceil(min(x0, x1, x2)), np.ceil(low_y)
        wide, tall = max(x0, x1, x2) - left, high_y - top
        inner = (left >= ZERO) & (top >= band_top) & (left <= inner_right) & (top <= inner_bottom)
        if inner & (wide < TWO) & (tall < TWO):
            queue[0, count], queue[1, count], queue[2, count] = x0, y0, z0
            queue[3, count], queue[4, count], queue[5, count] = x1, y1, z1
            queue[6, count], queue[7, count], queue[8, count] = x2, y2, z2
            queue[9, count], queue[10, count] = left, top
            places[0, count] = np.int32(top) * np.int32(width) + np.int32(left)
            places[1, count] = t
            count += 1 if (wide >= ZERO) & (tall >= ZERO) else 0
        elif not usable(x0, y0, z0, x1, y1, z1, x2, y2, z2):
            continue
        elif (
            inner
            & (wide < np.float32(LARGEST))
            & (tall < np.float32(LARGEST))
            & (left + wide <= inner_right)
            & (top + tall <= inner_bottom)
        ):
            for r in range(0, np.int64(tall) + 1 if tall >= ZERO else 0, 2):
                oy = top + np.float32(r)
                for c in range(0, np.int64(wide) + 1 if wide >= ZERO else 0, 2):
                    ox = left + np.float32(c)
                    queue[0, count], queue[1, count], queue[2, count] = x0, y0, z0
                    queue[3, count], queue[4, count], queue[5, count] = x1, y1, z1
                    queue[6, count], queue[7, count], queue[8, count] = x2, y2, z2
                    queue[9, count], queue[10, count] = ox, oy
                    places[0, count] = np.int32(oy) * np.int32(width) + np.int32(ox)
                    places[1, count] = t
                    count += 1
        else:
            _draw_large(vertices, triangles, t, out, owner, first_row, end_row)
        if count > room:
            _flush(queue, places, count, out, owner)
            count = np.int64(0)
    _flush(queue, places, count, out, owner)


@inner()
def _flush(queue: Any, places: Any, count: Any, out: Any, owner: Any) -> None:
    """Evaluate the queued blocks, then merge them into the image."""
    for pixel in range(4):
        _evaluate(queue, np.float32(pixel & 1), np.float32(pixel >> 1), 11 + pixel, count)
    if owner.size:
        _merge_owner(queue, places, count, out, owner)
    else:
        _merge(queue, places, count, out)


@inner()
def _evaluate(queue: Any, px: Any, py: Any, row: Any, count: Any) -> None:
    """Depth of every block's pixel `(px, py)` to `queue[row]`, minus infinity outside."""
    for n in range(count):
        x, y = queue[9, n] + px, queue[10, n] + py
        ax, bx, cx = queue[0, n] - x, queue[3, n] - x, queue[6, n] - x
        ay, by, cy = queue[1, n] - y, queue[4, n] - y, queue[7, n] - y
        z0, z1, z2 = queue[2, n], queue[5, n], queue[8, n]
        e0, e1, e2 = edge(bx, by, cx, cy), edge(cx, cy, ax, ay), edge(ax, ay, bx, by)
        z = interpolate(e0, e1, e2, z0, z1, z2)
        drawn = inside(e0, e1, e2) & usable(ax, ay, z0, bx, by, z1, cx, cy, z2)
        queue[row, n] = z if drawn else NOWHERE


@inner()
def _merge(queue: Any, places: Any, count: Any, out: Any) -> None:
    flat = out.reshape(-1)
    width = np.uint64(out.shape[1])
    for n in range(count):
        place = np.uint64(places[0, n])
        for pixel in range(4):
            at = place + np.uint64(pixel & 1) + (width if pixel > 1 else np.uint64(0))
            z, old = queue[11 + pixel, n], flat[at]
            # A NaN background loses to any depth, and minus infinity is no depth.
            flat[at] = z if (not (old >= z)) & (z > NOWHERE) else old


@inner()
def _merge_owner(queue: Any, places: Any, count: Any, out: Any, owner: Any) -> None:
    flat, flat_owner = out.reshape(-1), owner.reshape(-1)
    width = np.uint64(out.shape[1])
    for n in range(count):
        place, t = np.uint64(places[0, n]), places[1, n]
        for pixel in range(4):
            at = place + np.uint64(pixel & 1) + (width if pixel > 1 else np.uint64(0))
            z, old, old_t = queue[11 + pixel, n], flat[at], flat_owner[at]
            wins = nearer(z, t, old, old_t) & (z > NOWHERE)
            flat[at] = z if wins else old
            flat_owner[at] = t if wins else old_t


@inner()
def _draw_large(
    vertices: Any, triangles: Any, t: Any, out: Any, owner: Any, first_row: Any, end_row: Any
) -> None:
    """Draw one triangle row by row, clipped to the rows."""
    width = out.shape[1]
    i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    x0, y0, z0 = vertices[i, 0], vertices[i, 1], vertices[i, 2]
    x1, y1, z1 = vertices[j, 0], vertices[j, 1], vertices[j, 2]
    x2, y2, z2 = vertices[k, 0], vertices[k, 1], vertices[k, 2]
    left = first_pixel(min(x0, x1, x2))
    right = last_pixel(max(x0, x1, x2), width)
    top = max(first_pixel(min(y0, y1, y2)), first_row)
    for r in range(top, last_pixel(max(y0, y1, y2), end_row) + 1):
        py = np.float32(r)
        ay, by, cy = y0 - py, y1 - py, y2 - py
        for c in range(left, right + 1):
            px = np.float32(c)
            ax, bx, cx = x0 - px, x1 - px, x2 - px
            e0, e1, e2 = edge(bx, by, cx, cy), edge(cx, cy, ax, ay), edge(ax, ay, bx, by)
            if inside(e0, e1, e2):
                z = interpolate(e0, e1, e2, z0, z1, z2)
                if owner.size:
                    if nearer(z, t, out[r, c], owner[r, c]):
                        out[r, c] = z
                        owner[r, c] = t
                elif not (out[r, c] >= z):
                    out[r, c] = z


@cpu_loop()
def _barycentric(
    vertices: Any, triangles: Any, owner: Any, weights: Any, first_row: Any, end_row: Any
) -> None:
    """Corner weights at each pixel of the rows that has a triangle, 0 elsewhere."""
    for r in range(first_row, end_row):
        for c in range(owner.shape[1]):
            t = owner[r, c]
            weights[r, c, 0] = weights[r, c, 1] = ZERO
            if t < 0:
                continue
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            px, py = np.float32(c), np.float32(r)
            ax, bx, cx = vertices[i, 0] - px, vertices[j, 0] - px, vertices[k, 0] - px
            ay, by, cy = vertices[i, 1] - py, vertices[j, 1] - py, vertices[k, 1] - py
            e0, e1, e2 = edge(bx, by, cx, cy), edge(cx, cy, ax, ay), edge(ax, ay, bx, by)
            total = e0 + e1 + e2
            weights[r, c, 0] = e0 / total
            weights[r, c, 1] = e1 / total
