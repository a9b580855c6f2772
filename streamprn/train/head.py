"""The whole head of a labelled face as triangles, with the mouth and the eyes closed by fans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from streamprn.records import Float32, Int32
    from streamprn.train.dataset import Dataset

# Points that move a vertex of the head, and how far from them it still follows, in head sizes.
_NEAREST, _REACH = 6, 0.15
# Corners of the openings that are closed: those of the neck have more, stray quads fewer.
_OPENING = (8, 200)


class HeadMesh:
    """Makes the heads of faces of a data set.

    Attributes:
        triangles: `(T, 3)` int32.
        back: `(V,)` bool, vertices of the back of the head and the neck.
        chin: the y of the model below which the neck begins.
    """

    def __init__(self, data: Dataset) -> None:
        model = data.model
        self._mean = model.mean.reshape(-1)
        self._basis = model.basis.reshape(len(model.basis), -1)
        self._count = len(model.mean)
        self._openings = _openings(model.quads[: model.face_quads].tolist(), model.mean)
        self._follow = _follow(model.mean, data.anchors)
        self.triangles = self._triangles(model.quads)
        face = np.zeros(self._count + len(self._openings), bool)
        face[model.quads[: model.face_quads]] = True
        face[self._count :] = True
        self.back = ~face
        self.chin = float(data.anchors[:, 1].min())

    def shapes(self, data: Dataset, index: Any) -> Float32:
        """Vertices `(n, V, 3)` of faces, model frame: the fitted head, bent to the teacher."""
        coefficients = data.coefficients[index]
        heads = (self._mean + coefficients @ self._basis).reshape(len(coefficients), -1, 3)
        offset = data.shape[index] - data.fitted[index]
        moved = self._follow @ offset.transpose(1, 0, 2).reshape(offset.shape[1], -1)
        heads += moved.reshape(self._count, -1, 3).transpose(1, 0, 2)
        middles = [heads[:, opening].mean(1, keepdims=True) for opening in self._openings]
        return np.asarray(np.concatenate([heads, *middles], 1), np.float32)

    def _triangles(self, quads: Int32) -> Int32:
        fans = [
            (a, b, self._count + number)
            for number, opening in enumerate(self._openings)
            for a, b in zip(opening, [*opening[1:], opening[0]], strict=True)
        ]
        both = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        flat = (both[:, 0] == both[:, 1]) | (both[:, 1] == both[:, 2]) | (both[:, 0] == both[:, 2])
        parts = [both[~flat], np.array(fans, np.int32).reshape(-1, 3)]
        return np.ascontiguousarray(np.concatenate(parts), np.int32)


def _openings(quads: list[list[int]], mean: Float32) -> list[list[int]]:
    """Loops of border vertices at the front: the eyes and the mouth."""
    edges = set()
    for quad in quads:
        corners = [corner for k, corner in enumerate(quad) if corner != quad[k - 1]]
        edges |= set(zip(corners, corners[1:] + corners[:1], strict=True))
    follows = {a: b for a, b in edges if (b, a) not in edges}
    middle = mean.mean(0)
    width = np.ptp(mean[:, 0])
    loops, seen = [], set[int]()
    for start in sorted(follows):
        loop: list[int] = []
        at = start
        while at in follows and at not in seen:
            seen.add(at)
            loop.append(at)
            at = follows[at]
        centre = mean[loop].mean(0) if loop else middle
        front = centre[2] > middle[2] and abs(centre[0] - middle[0]) < 0.35 * width
        if _OPENING[0] < len(loop) < _OPENING[1] and at == start and front:
            loops.append(loop)
    return loops


def _follow(mean: Float32, anchors: Float32) -> Any:
    """SciPy CSR `(V, 468)`: how the vertices of the head follow the points."""
    from scipy import sparse
    from scipy.spatial import cKDTree

    distance, near = cKDTree(anchors).query(mean, k=_NEAREST)
    size = float(np.ptp(anchors, axis=0)[:2].mean())
    weight = 1 / (distance + 1e-3 * size) ** 2
    weight /= weight.sum(1, keepdims=True)
    weight *= np.exp(-((distance[:, :1] / (_REACH * size)) ** 2))
    starts = np.arange(0, len(mean) * _NEAREST + 1, _NEAREST)
    shape = (len(mean), len(anchors))
    return sparse.csr_matrix((weight.ravel().astype(np.float32), near.ravel(), starts), shape)
