"""NumPy twins of the kernels: slow, plain, float64, written from the definitions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def sample(image: NDArray[np.uint8], x: Array, y: Array, border: str) -> Array:
    """Bilinear samples `(..., channels)` of `(H, W, channels)` at x, y of any shape."""
    height, width = image.shape[:2]
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    total = np.zeros((*x.shape, image.shape[2]))
    for dy in (0, 1):
        for dx in (0, 1):
            column, row = x0 + dx, y0 + dy
            weight = (1 - np.abs(x - column)) * (1 - np.abs(y - row))
            if border == "zero":
                weight = weight * ((column >= 0) & (column < width) & (row >= 0) & (row < height))
            value = image[row.clip(0, height - 1), column.clip(0, width - 1)]
            total += weight[..., None] * value
    return total


def taps(step: float) -> int:
    """Samples per pixel for a step of so many input pixels."""
    return 1 if step <= 1.5 else int(np.clip(np.ceil(step / 2), 2, 4))


def warp(image: NDArray[np.uint8], matrix: Array, size: int, border: str) -> Array:
    """`(S, S, channels)` crop in grey levels, box filtered."""
    matrix = np.asarray(matrix, np.float64)
    across = taps(float(np.hypot(*matrix[:, 0])))
    down = taps(float(np.hypot(*matrix[:, 1])))
    rows, columns = np.mgrid[:size, :size].astype(float)
    total = np.zeros((size, size, image.shape[2]))
    for i in range(across):
        for j in range(down):
            u, v = columns + (i + 0.5) / across - 0.5, rows + (j + 0.5) / down - 0.5
            x = matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]
            y = matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]
            total += sample(image, x, y, border)
    return total / (across * down)


def restore(position_map: Array, texel: NDArray[np.int32], matrix: Array) -> Array:
    """Frame vertices of a map in crop pixels."""
    points = np.asarray(position_map, np.float64).reshape(-1, 3)[texel]
    points = np.where(np.isfinite(points), points, 0.0)
    xy = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    z = points[:, 2] * np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    return np.column_stack([xy, z - z.min()])


def pose(vertices: Array, canonical: Array, weights: Array) -> tuple[Array, float, Array]:
    """Rotation, scale and translation (y up) by the singular value decomposition (Umeyama)."""
    y = np.asarray(vertices, np.float64) * [1, -1, 1]
    x = np.asarray(canonical, np.float64)
    w = weights / weights.sum()
    mean_x, mean_y = w @ x, w @ y
    covariance = (y - mean_y).T @ ((x - mean_x) * w[:, None])
    u, d, vt = np.linalg.svd(covariance)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = float((d * np.diag(sign)).sum() / (w @ ((x - mean_x) ** 2).sum(1)))
    return rotation, scale, mean_y - scale * rotation @ mean_x


def rasterise(
    vertices: Array, triangles: NDArray[np.int32], height: int, width: int
) -> tuple[Array, NDArray[np.int32], Array]:
    """Depth, triangle and barycentric coordinates, by trying every pixel of every triangle."""
    depth = np.full((height, width), np.nan)
    owner = np.full((height, width), -1, np.int32)
    weights = np.zeros((height, width, 2))
    rows, columns = np.mgrid[:height, :width].astype(float)
    for t, corners in enumerate(np.asarray(vertices, np.float64)[triangles]):
        if not np.isfinite(corners).all():
            continue
        d = corners[:, None, None, :2] - np.stack([columns, rows], -1)
        e = np.stack(
            [
                d[(k + 1) % 3, ..., 0] * d[(k + 2) % 3, ..., 1]
                - d[(k + 2) % 3, ..., 0] * d[(k + 1) % 3, ..., 1]
                for k in range(3)
            ]
        )
        total = e.sum(0)
        inside = ((e >= 0).all(0) | (e <= 0).all(0)) & (total != 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            b = e / total
        z = np.tensordot(corners[:, 2], np.nan_to_num(b), 1)
        wins = inside & ~(depth >= z)
        depth[wins], owner[wins] = z[wins], t
        weights[wins] = np.moveaxis(b[:2], 0, -1)[wins]
    return depth, owner, weights


def vertex_normals(vertices: Array, triangles: NDArray[np.int32]) -> Array:
    """Outward area-weighted unit normals in frame axes."""
    up = np.asarray(vertices, np.float64) * [1, -1, 1]
    a, b, c = (up[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    normals = np.zeros_like(up)
    for k in range(3):
        np.add.at(normals, triangles[:, k], face)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return normals * [1, -1, 1]


def rgb_from_yuv(y: Array, u: Array, v: Array, *, full_range: bool, bt709: bool) -> Array:
    """`(..., 3)` RGB grey levels of Y, U, V grey levels (ITU-R BT.601 or BT.709)."""
    kr, kb = (0.2126, 0.0722) if bt709 else (0.299, 0.114)
    if full_range:
        luma, cb, cr = y / 255, (u - 128) / 255, (v - 128) / 255
    else:
        luma, cb, cr = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    red = luma + 2 * (1 - kr) * cr
    blue = luma + 2 * (1 - kb) * cb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return 255 * np.stack([red, green, blue], -1).clip(0, 1)
