"""Synthetic face-like meshes with the layout of a position map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mesh:
    """Vertices `(N, 3)` (x right, y up, z towards the camera, unit radius), and their layout."""

    texel: NDArray[np.int32]
    triangles: NDArray[np.int32]
    canonical: NDArray[np.float32]
    size: int

    @property
    def uv(self) -> NDArray[np.float32]:
        row, column = np.divmod(self.texel, self.size)
        return np.stack([(column + 0.5) / self.size, 1.0 - (row + 0.5) / self.size], axis=1).astype(
            np.float32
        )

    def in_frame(self, cx: float, cy: float, width: float) -> NDArray[np.float32]:
        """Frame vertices: y down, z with minimum 0, `width` pixels wide."""
        vertices = self.canonical * np.float32(width / 2)
        vertices = vertices * np.array([1, -1, 1], np.float32)
        vertices += np.array([cx, cy, 0], np.float32)
        vertices[:, 2] -= vertices[:, 2].min()
        return np.ascontiguousarray(vertices, np.float32)


def grid_triangles(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Texels of a mask and two triangles per full cell, counter-clockwise with y up."""
    index = np.full(mask.shape, -1, np.int32)
    texel = np.flatnonzero(mask).astype(np.int32)
    index.flat[texel] = np.arange(len(texel), dtype=np.int32)
    a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    c, d = index[1:, :-1].ravel(), index[1:, 1:].ravel()
    cells = np.stack([np.stack([a, c, b], 1), np.stack([b, c, d], 1)], 1).reshape(-1, 3)
    return texel, np.ascontiguousarray(cells[(cells >= 0).all(axis=1)])


def face_mesh(size: int = 256, fill: float = 0.93) -> Mesh:
    """An elliptic mask on a `size` x `size` map, bulging to about half a sphere, with a nose."""
    row, column = np.mgrid[:size, :size]
    half = (size - 1) / 2
    x, y = (column - half) / half, (half - row) / half
    radius2 = x * x + (y * y) * 1.02
    texel, triangles = grid_triangles(radius2 <= fill * fill)
    x, y = x.ravel()[texel], y.ravel()[texel]
    r = np.sqrt(x * x + y * y) / fill
    bend = np.sin(np.minimum(r, 1.0) * (np.pi / 2)) / np.maximum(r * fill, 1e-9)
    nose = 0.35 * np.exp(-((x / 0.12) ** 2 + ((y + 0.1) / 0.2) ** 2))
    z = 0.8 * np.cos(np.minimum(r, 1.0) * (np.pi / 2)) + nose
    canonical = np.stack([0.75 * x * bend, y * bend, z], axis=1).astype(np.float32)
    return Mesh(texel, triangles, canonical, size)


def sphere_mesh(
    rings: int = 48, sectors: int = 96
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Closed unit sphere, y up, triangles counter-clockwise seen from outside."""
    polar = np.linspace(0, np.pi, rings + 1)[1:-1]
    azimuth = np.linspace(0, 2 * np.pi, sectors, endpoint=False)
    p, a = np.meshgrid(polar, azimuth, indexing="ij")
    body = np.stack([np.sin(p) * np.sin(a), np.cos(p), np.sin(p) * np.cos(a)], -1).reshape(-1, 3)
    vertices = np.vstack([body, [[0, 1, 0], [0, -1, 0]]]).astype(np.float32)
    north, south = len(body), len(body) + 1
    triangles = []
    for s in range(sectors):
        n = (s + 1) % sectors
        triangles.append((north, s, n))
        last = (rings - 2) * sectors
        triangles.append((south, last + n, last + s))
        for r in range(rings - 2):
            i, j = r * sectors + s, r * sectors + n
            k, m = i + sectors, j + sectors
            triangles += [(i, k, j), (j, k, m)]
    return vertices, np.array(triangles, np.int32)
