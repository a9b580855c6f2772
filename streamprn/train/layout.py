"""The 468 points of Face Mesh: their rest shape, landmarks, and places in the UV plane.

A position map of the engine `facemesh` is linear in the 468 points of MediaPipe's Face Mesh. A
network that gives the points, as the engines of decoder "subdivision" do, gives the whole map.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.engines import registry
from streamprn.engines.topology import UV_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import Float32, Int32

POINTS = 468


@dataclass(frozen=True)
class Layout:
    """What the points mean.

    Attributes:
        dense: SciPy CSR `(N, 468)`, points to the vertices of the topology of `facemesh`.
        texel: `(N,)` int32, flat texel of each vertex in the 256 x 256 map.
        landmarks: `(68, 468)` float32, points to landmarks, iBUG/300-W order.
        landmark_vertices: `(68,)` int64, the vertices of the landmarks.
        canonical: `(468, 3)` float32 rest shape, x right, y up, z to the camera.
        places: `(468, 2)` float32, x right and y down in 0..1, where a point lies in the UV plane.
    """

    dense: Any
    texel: Int32
    landmarks: Float32
    landmark_vertices: NDArray[np.int64]
    canonical: Float32
    places: Float32

    @cached_property
    def mirror(self) -> Int32:
        """`(468,)` int32, the point at the mirrored place."""
        other = self.canonical * np.array([-1, 1, 1], np.float32)
        away = np.linalg.norm(other[:, None] - self.canonical[None], axis=2)
        return np.asarray(away.argmin(1), np.int32)

    @cached_property
    def weights(self) -> Float32:
        """`(468,)` float32, how much a point counts in a loss; their mean is 1.

        The points of the landmarks most, then eyes, nose and mouth, then the rest.
        """
        weights = np.ones(POINTS, np.float32)
        inner = self.landmarks[17:] @ self.places
        away = np.linalg.norm(self.places[:, None] - inner[None], axis=2).min(1)
        weights[away < 0.05] = 3
        weights[self.landmarks.argmax(1)] = 6
        return np.asarray(weights / weights.mean(), np.float32)

    def bilinear(self, size: int) -> tuple[Int32, Float32]:
        """Texels `(468, 4)` and weights that sample a map of `size` x `size` at the places."""
        xy = np.clip(self.places * size - 0.5, 0, size - 1 - 1e-4)
        low = xy.astype(np.int32)
        part = xy - low
        columns = np.stack([low[:, 0], low[:, 0] + 1] * 2, 1)
        rows = np.stack([low[:, 1]] * 2 + [low[:, 1] + 1] * 2, 1)
        x = np.stack([1 - part[:, 0], part[:, 0]] * 2, 1)
        y = np.stack([1 - part[:, 1]] * 2 + [part[:, 1]] * 2, 1)
        return (rows * size + columns).astype(np.int32), (x * y).astype(np.float32)


@lru_cache(maxsize=1)
def load_layout() -> Layout:
    """Read it out of the files of the engine `facemesh`."""
    from scipy import sparse

    bundle = registry.find("facemesh")
    topology = bundle.topology()
    subdivision = bundle.subdivision(topology)
    operator = subdivision.operator
    ends = np.append(subdivision.starts, len(subdivision.sources))
    correct = sparse.csr_matrix((subdivision.weights, subdivision.sources, ends))
    rows = len(operator.indptr1) - 1
    refine = sparse.csr_matrix(
        (operator.weights1, operator.indices1, operator.indptr1), shape=(rows, correct.shape[0])
    )
    count = len(operator.indices2)
    place = sparse.csr_matrix(
        (operator.weights2.ravel(), operator.indices2.ravel(), np.arange(0, 3 * count + 1, 3)),
        shape=(count, rows),
    )
    dense = (place @ refine @ correct).tocsr()
    normal = np.asarray((dense.T @ dense).todense(), np.float64)
    canonical = np.linalg.solve(normal, dense.T @ topology.canonical.astype(np.float64))
    best = topology.texel[np.asarray(dense.argmax(axis=0)).ravel()]
    row, column = np.divmod(best, UV_SIZE)
    places = (np.stack([column, row], 1) + 0.5) / UV_SIZE
    return Layout(
        dense,
        topology.texel,
        np.asarray(dense[topology.landmarks].todense(), np.float32),
        topology.landmarks.astype(np.int64),
        canonical.astype(np.float32),
        places.astype(np.float32),
    )
