"""The surface of faces: depth images, visibility of landmarks, and textures.

A raster is an array of keys `(K, H, W)` int64, depth and triangle packed so that the greatest key
is the nearest (`streamprn.kernels.maths.triangle.pack`): threads draw triangles in any order with
one atomic maximum, and the result does not depend on the order. `target[face]` says into which of
the K images a face is drawn.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import boolean, float32, float64, int32, int64, uint8

from streamprn.kernels._jit import maths
from streamprn.kernels.cuda.bits import bits_float, float_bits
from streamprn.kernels.cuda.faces import high_of, low_of
from streamprn.kernels.cuda.kernel import cuda, kernel
from streamprn.kernels.cuda.warp import frame_rgb
from streamprn.kernels.maths.sample import to_byte
from streamprn.kernels.maths.triangle import (
    edge,
    first_pixel,
    inside,
    interpolate,
    last_pixel,
    normal_x,
    normal_y,
    normal_z,
    pack,
    packed_depth,
    sortable_depth,
    usable,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

# No surface: less than the key of any depth.
EMPTY = -(2**63)
# As in `streamprn.kernels.visibility`.
SIDE = 192
BIAS = np.float32(2.0)
GRAZING = np.float32(0.05)

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
NAN = np.float32(np.nan)
INFINITY = np.float32(np.inf)


def adjacency(
    triangles: NDArray[np.int32], vertex_count: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The other two corners of each vertex's triangles, for `vertex_normal`.

    Args:
        triangles: `(T, 3)` int32.
        vertex_count: N.

    Returns:
        `(N + 1,)` int32, where each vertex's rows start, and `(3 T, 2)` int32, the next and the
        next but one corner of each triangle, in the order of the triangles.
    """
    corner = triangles.reshape(-1)
    order = np.argsort(corner, kind="stable")
    others = np.stack([np.roll(triangles, -1, 1), np.roll(triangles, -2, 1)], axis=2)
    start = np.zeros(vertex_count + 1, np.int32)
    np.cumsum(np.bincount(corner, minlength=vertex_count), out=start[1:])
    return start, np.ascontiguousarray(others.reshape(-1, 2)[order], np.int32)


@maths
def view_scale(results: Any, face: Any, boxed: Any) -> Any:
    """Pixels of a face's own image per frame pixel; 1 where the image is the frame."""
    longer = max(
        float64(high_of(results, face, 0)) - float64(low_of(results, face, 0)),
        float64(high_of(results, face, 1)) - float64(low_of(results, face, 1)),
    )
    return float32((SIDE - 3) / longer) if boxed and longer > 0.0 else ONE


@maths
def view_low(results: Any, face: Any, boxed: Any, axis: Any) -> Any:
    """The frame coordinate that stands at pixel 1 of the face's own image, or 0."""
    return low_of(results, face, axis) if boxed else ZERO


@maths
def view(value: Any, low: Any, scale: Any, boxed: Any) -> Any:
    """A frame coordinate in the face's own image, or itself."""
    return (value - low) * scale + ONE if boxed else value


@maths
def edges(ax: Any, ay: Any, bx: Any, by: Any, cx: Any, cy: Any) -> Any:
    """Edge functions opposite the corners a, b, c, given relative to the pixel.

    In float64 the products of float32 values are exact, so that neighbouring triangles get exactly
    opposite values also where the compiler contracts into fused multiply-adds.
    """
    ax, ay, bx, by = float64(ax), float64(ay), float64(bx), float64(by)
    cx, cy = float64(cx), float64(cy)
    return edge(bx, by, cx, cy), edge(cx, cy, ax, ay), edge(ax, ay, bx, by)


@kernel(int64[::1], threads=256, grid="x: pixels")
def clear_keys(keys: Any) -> None:
    """Empty the images: `keys` flat int64."""
    place = cuda.grid(1)
    while place < keys.shape[0]:
        keys[place] = EMPTY
        place += cuda.gridsize(1)


@kernel(
    float32[:, :, ::1],
    int32[:, ::1],
    float64[:, ::1],
    int32[::1],
    boolean,
    int64[:, :, ::1],
    threads=128,
    grid="x: triangles, y: faces",
)
def draw_triangles(
    vertices: Any, triangles: Any, results: Any, target: Any, boxed: Any, keys: Any
) -> None:
    """Draw faces by an atomic maximum of depth and triangle at each covered pixel.

    A thread draws one triangle: those of a dense face cover about a pixel, so that lists of tiles
    would cost more than they save. Coverage and depth are those of `streamprn.kernels.raster`.

    Args:
        vertices: `(B, N, 3)` float32, frame pixels.
        triangles: `(T, 3)` int32.
        results: `(B, 32)` float64 of `finish_faces`, for the box of a face.
        target: `(B,)` int32, the image of each face, negative for none.
        boxed: draw each face into `SIDE` pixels of its own box, for visibility.
        keys: `(K, H, W)` int64; the triangle of a key is `face * T + triangle`.
    """
    face = cuda.blockIdx.y
    image = target[face]
    if image < 0:
        return
    height, width = keys.shape[1], keys.shape[2]
    scale = view_scale(results, face, boxed)
    low_x, low_y = view_low(results, face, boxed, 0), view_low(results, face, boxed, 1)
    t = cuda.grid(1)
    while t < triangles.shape[0]:
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0 = view(vertices[face, i, 0], low_x, scale, boxed)
        y0 = view(vertices[face, i, 1], low_y, scale, boxed)
        x1 = view(vertices[face, j, 0], low_x, scale, boxed)
        y1 = view(vertices[face, j, 1], low_y, scale, boxed)
        x2 = view(vertices[face, k, 0], low_x, scale, boxed)
        y2 = view(vertices[face, k, 1], low_y, scale, boxed)
        z0, z1, z2 = vertices[face, i, 2], vertices[face, j, 2], vertices[face, k, 2]
        z0, z1, z2 = z0 * scale, z1 * scale, z2 * scale
        if usable(x0, y0, z0, x1, y1, z1, x2, y2, z2):
            left, right = first_pixel(min(x0, x1, x2)), last_pixel(max(x0, x1, x2), width)
            top, bottom = first_pixel(min(y0, y1, y2)), last_pixel(max(y0, y1, y2), height)
            for r in range(top, bottom + 1):
                py = np.float32(r)
                for c in range(left, right + 1):
                    px = np.float32(c)
                    e0, e1, e2 = edges(x0 - px, y0 - py, x1 - px, y1 - py, x2 - px, y2 - py)
                    if inside(e0, e1, e2):
                        z = float32(interpolate(e0, e1, e2, z0, z1, z2))
                        bits = sortable_depth(float_bits(z))
                        key = pack(bits, face * triangles.shape[0] + t)
                        cuda.atomic.max(keys, (image, r, c), key)
        t += cuda.gridsize(1)


@kernel(int64[::1], float32[::1], threads=256, grid="x: pixels")
def resolve_depth(keys: Any, depth: Any) -> None:
    """Depth of the keys: both flat, `depth` float32, NaN where there is no surface."""
    place = cuda.grid(1)
    while place < keys.shape[0]:
        key = keys[place]
        bits = np.int32(sortable_depth(np.int32(packed_depth(key))))
        depth[place] = NAN if key == EMPTY else bits_float(bits)
        place += cuda.gridsize(1)


@maths
def vertex_normal(vertices: Any, face: Any, n: Any, start: Any, others: Any) -> Any:
    """Unit normal of a vertex from its own triangles; towards the camera where they have none."""
    x, y, z = vertices[face, n, 0], vertices[face, n, 1], vertices[face, n, 2]
    nx = ny = nz = ZERO
    for entry in range(start[n], start[n + 1]):
        j, k = others[entry, 0], others[entry, 1]
        bx, by = vertices[face, j, 0] - x, vertices[face, j, 1] - y
        cx, cy = vertices[face, k, 0] - x, vertices[face, k, 1] - y
        bz, cz = vertices[face, j, 2] - z, vertices[face, k, 2] - z
        mx = normal_x(bx, by, bz, cx, cy, cz)
        my = normal_y(bx, by, bz, cx, cy, cz)
        mz = normal_z(bx, by, bz, cx, cy, cz)
        if usable(mx, my, mz, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO):
            nx, ny, nz = nx + mx, ny + my, nz + mz
    square = nx * nx + ny * ny + nz * nz
    if square > ZERO and square < INFINITY:
        inverse = ONE / math.sqrt(square)
        nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
    else:
        nx, ny, nz = ZERO, ZERO, ONE
    return nx, ny, nz


@maths
def depth_at(keys: Any, face: Any, r: Any, c: Any) -> Any:
    """Depth of a pixel; minus infinity, before which everything is, where there is no surface."""
    key = keys[face, r, c]
    bits = np.int32(sortable_depth(np.int32(packed_depth(key))))
    return -INFINITY if key == EMPTY else bits_float(bits)


@maths
def unhidden(vertices: Any, results: Any, keys: Any, face: Any, n: Any, facing: Any) -> Any:
    """Whether a vertex with the normal's z `facing` faces the camera with nothing before it."""
    scale = view_scale(results, face, True)
    x = view(vertices[face, n, 0], view_low(results, face, True, 0), scale, True)
    y = view(vertices[face, n, 1], view_low(results, face, True, 1), scale, True)
    z = vertices[face, n, 2] * scale
    last = np.float32(SIDE - 1)
    seen = False
    if facing > GRAZING and x >= ZERO and y >= ZERO and x < last and y < last:
        c, r = np.int32(x), np.int32(y)
        low = min(depth_at(keys, face, r, c), depth_at(keys, face, r, c + 1))
        low = min(low, depth_at(keys, face, r + 1, c))
        low = min(low, depth_at(keys, face, r + 1, c + 1))
        seen = z + BIAS >= low and abs(z) < INFINITY
    return seen


@kernel(
    float32[:, :, ::1],
    int32[::1],
    int32[::1],
    int32[:, ::1],
    float64[:, ::1],
    int64[:, :, ::1],
    uint8[:, ::1],
    threads=128,
    grid="x: landmarks, y: faces",
)
def visible_landmarks(
    vertices: Any, landmarks: Any, start: Any, others: Any, results: Any, keys: Any, visible: Any
) -> None:
    """Which landmarks face the camera and have nothing before them.

    Args:
        vertices: `(B, N, 3)` float32, frame pixels.
        landmarks: `(L,)` int32 vertex indices.
        start: `(N + 1,)` int32 of `adjacency`.
        others: `(3 T, 2)` int32 of `adjacency`.
        results: `(B, 32)` float64 of `finish_faces`.
        keys: `(B, SIDE, SIDE)` int64, each face drawn with `boxed`.
        visible: `(B, L)` uint8 to fill, 0 or 1, as `streamprn.kernels.visibility`.
    """
    face = cuda.blockIdx.y
    index = cuda.grid(1)
    while index < landmarks.shape[0]:
        n = landmarks[index]
        _, _, facing = vertex_normal(vertices, face, n, start, others)
        visible[face, index] = 1 if unhidden(vertices, results, keys, face, n, facing) else 0
        index += cuda.gridsize(1)


@kernel(
    uint8[::1],
    int32[:, ::1],
    float32[:, ::1],
    int32[::1],
    float32[:, :, ::1],
    int32[:, ::1],
    int32[:, ::1],
    float32[:, :, ::1],
    uint8[:, :, :, ::1],
    threads=128,
    grid="x: texels, y: faces",
)
def face_textures(
    pool: Any,
    frames: Any,
    colours: Any,
    owner: Any,
    vertices: Any,
    triangles: Any,
    chart: Any,
    weights: Any,
    out: Any,
) -> None:
    """UV textures: at each texel, the frame under its point of the surface.

    Args:
        pool: flat uint8, see `streamprn.kernels.cuda.warp`, as are the next two.
        frames: `(F, 9)` int32.
        colours: `(F, 7)` float32.
        owner: `(B,)` int32, the frame of each face, negative for none.
        vertices: `(B, N, 3)` float32.
        triangles: `(T, 3)` int32.
        chart: `(S, S)` int32 triangle of each texel, -1 for none: `sampling.Chart`.
        weights: `(S, S, 2)` float32 of its first and second corner.
        out: `(B, S, S, 3)` uint8 RGB to fill, black outside the chart.
    """
    face = cuda.blockIdx.y
    frame = owner[face]
    if frame < 0:
        return
    size = chart.shape[1]
    place = cuda.grid(1)
    while place < chart.shape[0] * size:
        r, c = place // size, place % size
        t = chart[r, c]
        red = green = blue = ZERO
        if t >= 0:
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            a, b = weights[r, c, 0], weights[r, c, 1]
            last = ONE - a - b
            x = a * vertices[face, i, 0] + b * vertices[face, j, 0] + last * vertices[face, k, 0]
            y = a * vertices[face, i, 1] + b * vertices[face, j, 1] + last * vertices[face, k, 1]
            red, green, blue = frame_rgb(pool, frames, colours, frame, x, y)
        out[face, r, c, 0], out[face, r, c, 1] = to_byte(red), to_byte(green)
        out[face, r, c, 2] = to_byte(blue)
        place += cuda.gridsize(1)
