"""Loop subdivision, UV layout and rasterisation of a triangle mesh, as sparse operators.

Loop: "Smooth Subdivision Surfaces Based on Triangles", C. Loop, 1987, with Warren's weights
(3/16 for valence 3, else 3/(8 n)) and cubic B-spline rules on the boundary.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from numpy.typing import NDArray

Faces = NDArray[np.int64]
Points = NDArray[np.float64]


def _edges(faces: Faces) -> dict[tuple[int, int], list[int]]:
    """Undirected edges in order of first use, each with the corners opposite to it."""
    edges: dict[tuple[int, int], list[int]] = defaultdict(list)
    for face in faces.tolist():
        for i in range(3):
            a, b, c = face[i], face[(i + 1) % 3], face[(i + 2) % 3]
            edges[min(a, b), max(a, b)].append(c)
    return edges


def _neighbours(
    edges: dict[tuple[int, int], list[int]],
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Neighbours of every vertex, and those along the boundary of every boundary vertex."""
    every: dict[int, list[int]] = defaultdict(list)
    rim: dict[int, list[int]] = defaultdict(list)
    for (a, b), opposite in edges.items():
        every[a].append(b)
        every[b].append(a)
        if len(opposite) == 1:
            rim[a].append(b)
            rim[b].append(a)
    return every, rim


def _beta(valence: int) -> float:
    return 3 / 16 if valence == 3 else 3 / (8 * valence)


def _csr(rows: list[dict[int, float]], columns: int) -> sp.csr_matrix:
    index = [(i, j, value) for i, row in enumerate(rows) for j, value in row.items()]
    i, j, values = (np.array(part) for part in zip(*index, strict=True))
    return sp.csr_matrix((values, (i, j)), (len(rows), columns))


def loop_step(faces: Faces, count: int) -> tuple[sp.csr_matrix, Faces]:
    """One Loop step: the operator on vertices and the refined faces; old vertices come first."""
    edges = _edges(faces)
    every, rim = _neighbours(edges)
    rows: list[dict[int, float]] = []
    for vertex in range(count):
        if vertex in rim:
            rows.append({vertex: 0.75, rim[vertex][0]: 0.125, rim[vertex][1]: 0.125})
            continue
        ring = every[vertex]
        beta = _beta(len(ring))
        rows.append({vertex: 1 - len(ring) * beta, **dict.fromkeys(ring, beta)})
    for (a, b), opposite in edges.items():
        if len(opposite) == 2:
            rows.append({a: 3 / 8, b: 3 / 8, opposite[0]: 1 / 8, opposite[1]: 1 / 8})
        else:
            rows.append({a: 0.5, b: 0.5})
    middle = {edge: count + i for i, edge in enumerate(edges)}
    refined = []
    for a, b, c in faces.tolist():
        ab, bc, ca = (middle[min(e), max(e)] for e in ((a, b), (b, c), (c, a)))
        refined += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    return _csr(rows, count), np.array(refined, np.int64)


def loop_limit(faces: Faces, count: int) -> sp.csr_matrix:
    """The operator that moves every vertex to its place on the limit surface."""
    every, rim = _neighbours(_edges(faces))
    rows: list[dict[int, float]] = []
    for vertex in range(count):
        if vertex in rim:
            rows.append({vertex: 2 / 3, rim[vertex][0]: 1 / 6, rim[vertex][1]: 1 / 6})
            continue
        ring = every[vertex]
        weight = 1 / (len(ring) + 3 / (8 * _beta(len(ring))))
        rows.append({vertex: 1 - len(ring) * weight, **dict.fromkeys(ring, weight)})
    return _csr(rows, count)


def loop_operator(faces: Faces, count: int, levels: int) -> tuple[sp.csr_matrix, Faces]:
    """Points on the limit surface at the vertices of `levels` subdivisions, and the faces."""
    operator = sp.identity(count, format="csr")
    for _ in range(levels):
        step, faces = loop_step(faces, operator.shape[0])
        operator = step @ operator
    return (loop_limit(faces, operator.shape[0]) @ operator).tocsr(), faces


def boundary_loop(faces: Faces) -> list[int]:
    """The boundary of a disk in the direction of its faces."""
    edges = _edges(faces)
    following = {
        face[i]: face[(i + 1) % 3]
        for face in faces.tolist()
        for i in range(3)
        if len(edges[min(face[i], face[(i + 1) % 3]), max(face[i], face[(i + 1) % 3])]) == 1
    }
    loop = [min(following)]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    return loop


def areas(points: Points, faces: Faces) -> NDArray[np.float64]:
    """Area of every triangle, points `(n, 2 or 3)`."""
    if points.shape[1] == 2:
        points = np.pad(points, ((0, 0), (0, 1)))
    a, b, c = (points[faces[:, i]] for i in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)


# -- UV layout


def superellipse_rim(
    vertices: Points, loop: list[int], top: int, exponent: float, margin: float
) -> Points:
    """UV of the boundary loop on |x|^p + |y|^p = r^p, spaced by 3D arc length from `top`."""
    start = loop.index(top)
    order = np.roll(loop, -start)
    segment = np.linalg.norm(np.roll(vertices[order], -1, 0) - vertices[order], axis=1)
    place = np.concatenate([[0], np.cumsum(segment)[:-1]]) / segment.sum()
    t = np.linspace(0, 2 * np.pi, 20001)
    x = np.sign(np.sin(t)) * np.abs(np.sin(t)) ** (2 / exponent)
    y = -np.sign(np.cos(t)) * np.abs(np.cos(t)) ** (2 / exponent)
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    length /= length[-1]
    side = 1 if vertices[order[1], 0] > 0 else -1
    rim = np.stack([side * np.interp(place, length, x), np.interp(place, length, y)], 1)
    return np.roll(rim * (0.5 - margin) + 0.5, start, 0)


def mean_value_weights(vertices: Points, faces: Faces) -> sp.csr_matrix:
    """Floater's mean value coordinates as edge weights."""
    weights: Counter[tuple[int, int]] = Counter()
    for face in faces.tolist():
        for i in range(3):
            a, b, c = face[i], face[(i + 1) % 3], face[(i + 2) % 3]
            u, v = vertices[b] - vertices[a], vertices[c] - vertices[a]
            lu, lv = np.linalg.norm(u), np.linalg.norm(v)
            tangent = np.tan(np.arccos(np.clip(u @ v / lu / lv, -1, 1)) / 2)
            weights[a, b] += tangent / lu
            weights[a, c] += tangent / lv
    i, j = np.array(list(weights)).T
    return sp.csr_matrix((list(weights.values()), (i, j)), (len(vertices),) * 2)


def tutte(weights: sp.csr_matrix, rim: NDArray[np.int64], rim_uv: Points) -> Points:
    """The embedding in which every inner vertex is the weighted mean of its neighbours."""
    count = weights.shape[0]
    laplacian = (sp.diags(np.asarray(weights.sum(1)).ravel()) - weights).tocsr()
    inner = np.setdiff1d(np.arange(count), rim)
    uv = np.zeros((count, 2))
    uv[rim] = rim_uv
    system = laplacian[inner][:, inner].tocsc()
    uv[inner] = spl.spsolve(system, -(laplacian[inner][:, rim] @ rim_uv))
    return uv


def balanced_layout(
    vertices: Points,
    faces: Faces,
    mirror: NDArray[np.int64],
    top: int,
    *,
    exponent: float = 3.0,
    margin: float = 2 / 256,
    rounds: int = 30,
    step: float = 1.0,
) -> Points:
    """A flip-free, symmetric UV layout whose texel density follows the 3D area.

    Tutte's embedding stays bijective for any positive weights, so the mean value weights are
    rescaled round by round by the local stretch (after Yoshizawa, Belyaev and Seidel, "A fast and
    simple stretch-minimizing mesh parameterization", 2004); the round with the best first
    percentile of area ratio wins.
    """
    rim = np.array(boundary_loop(faces))
    rim_uv = superellipse_rim(vertices, rim.tolist(), top, exponent, margin)
    weights = mean_value_weights(vertices, faces)
    area = areas(vertices, faces)
    area = area / area.sum()
    best: tuple[float, Points] | None = None
    for _ in range(rounds):
        uv = tutte(weights, rim, rim_uv)
        uv = 0.5 * (uv + (uv[mirror] * [-1, 1] + [1, 0]))
        flat = areas(uv, faces)
        flat = flat / flat.sum()
        score = float(np.quantile(flat / area, 0.01))
        if best is None or score > best[0]:
            best = (score, uv)
        stretch = np.zeros(len(vertices))
        total = np.zeros(len(vertices))
        ratio = np.sqrt(area / np.maximum(flat, 1e-9))
        for j in range(3):
            np.add.at(stretch, faces[:, j], ratio * area)
            np.add.at(total, faces[:, j], area)
        weights = sp.csr_matrix(weights @ sp.diags((stretch / total) ** -step))
    assert best is not None
    return best[1]


# -- Rasterisation


def rasterise(uv: Points, faces: Faces, size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Face index (-1: none) and barycentric weights at the centre of every texel."""
    index = np.full((size, size), -1, np.int64)
    weights = np.zeros((size, size, 3))
    tolerance = 1e-9
    for number, face in enumerate(faces.tolist()):
        a, b, c = uv[face] * size - 0.5
        d = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(d) < 1e-12:
            continue
        low = np.ceil(np.min([a, b, c], axis=0) - tolerance).astype(int).clip(0, size - 1)
        high = np.floor(np.max([a, b, c], axis=0) + tolerance).astype(int).clip(0, size - 1)
        x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
        w1 = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / d
        w2 = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / d
        found = np.stack([1 - w1 - w2, w1, w2], -1)
        inside = found.min(-1) >= -tolerance
        index[y[inside], x[inside]] = number
        weights[y[inside], x[inside]] = found[inside]
    return index, weights
