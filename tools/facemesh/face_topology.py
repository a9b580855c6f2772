"""The meaning of every texel of the `facemesh` engine: layout, operator, landmarks, masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import surface
from canonical_mesh import CanonicalMesh
from numpy.typing import NDArray

from streamprn.engines.topology import UV_SIZE, Topology

LEVELS = 2
TOP_VERTEX = 10

# MediaPipe vertices at the 68 places of the iBUG/300-W mark-up. Jaw: 17, brows: 5 + 5, nose: 4 + 5,
# eyes: 6 + 6, outer lips: 12, inner lips: 8, each in the order of the mark-up.
LANDMARKS = (
    *(127, 234, 132, 58, 172, 150, 176, 148, 152, 377, 400, 379, 397, 288, 361, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 6, 195, 4, 98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)

# Outlines of the parts on the subject's right side or across the middle; the other side mirrors.
# The eye is the second ring of MediaPipe's eye contour, so that it holds the lids; the brow and
# the lips are MediaPipe's own contours; the nose runs from the bridge along the wings.
OUTLINES = {
    "eyes": (130, 25, 110, 24, 23, 22, 26, 112, 243, 190, 56, 28, 27, 29, 30, 247),
    "brows": (46, 53, 52, 65, 55, 107, 66, 105, 63, 70),
    "lips": (
        *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375),
        *(291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
    ),
    "nose": (
        *(168, 193, 245, 188, 174, 236, 198, 129, 64, 98, 97, 2),
        *(326, 327, 294, 358, 420, 456, 399, 412, 465, 417),
    ),
}


@dataclass(frozen=True)
class Operator:
    """The sparse stages from 468 points to N texels.

    Attributes:
        correction: `(468, 468)` CSR float32, moves the points so that the limit surface passes
            near them, see `control_correction`.
        stage1: `(M, 468)` CSR float32, points of the Loop limit surface.
        indices2: `(N, 3)` int32, the corners of each texel's triangle among the M points.
        weights2: `(N, 3)` float32, its barycentric weights.
        texel: `(N,)` int32, flat texel indices, increasing.
    """

    correction: sp.csr_matrix
    stage1: sp.csr_matrix
    indices2: NDArray[np.int32]
    weights2: NDArray[np.float32]
    texel: NDArray[np.int32]

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(468, k)` to `(N, k)` in float64."""
        control = self.correction.astype(np.float64) @ points
        fine = self.stage1.astype(np.float64) @ control
        return np.einsum("nj,njk->nk", self.weights2.astype(np.float64), fine[self.indices2])


def mirror_map(vertices: NDArray[np.float64]) -> NDArray[np.int64]:
    """The vertex at (-x, y, z) of every vertex; the canonical face is exactly symmetric."""
    distance = np.linalg.norm(vertices[None] * [-1, 1, 1] - vertices[:, None], axis=2)
    mirror = distance.argmin(1)
    if distance.min(1).max() > 1e-6 or (mirror[mirror] != np.arange(len(vertices))).any():
        raise ValueError("the canonical face is not symmetric")
    return mirror


def build(
    mesh: CanonicalMesh, *, licence: str, provenance: str
) -> tuple[Topology, Operator, NDArray[np.float64]]:
    """The topology, the operator, and the UV position of the 468 points on the limit surface."""
    mirror = mirror_map(mesh.vertices)
    layout = surface.balanced_layout(mesh.vertices, mesh.faces, mirror, TOP_VERTEX)
    stage1, fine_faces = surface.loop_operator(mesh.faces, len(mesh.vertices), LEVELS)
    fine_uv = stage1 @ layout
    index, barycentric = surface.rasterise(fine_uv, fine_faces, UV_SIZE)
    used = _meshable(index >= 0)
    _check_symmetry(index, barycentric, used, fine_faces, fine_uv)
    texel = np.flatnonzero(used)
    operator = Operator(
        correction=control_correction(stage1[: len(mesh.vertices)]).astype(np.float32),
        stage1=stage1.astype(np.float32),
        indices2=fine_faces[index[used]].astype(np.int32),
        weights2=barycentric[used].astype(np.float32),
        texel=texel.astype(np.int32),
    )
    canonical = operator.apply(mesh.vertices)
    texel_mirror = _texel_mirror(texel)
    canonical = 0.5 * (canonical + canonical[texel_mirror] * [-1, 1, 1])
    triangles = grid_triangles(used, canonical)
    point_uv = fine_uv[: len(mesh.vertices)]
    landmarks = nearest_texels(point_uv[list(LANDMARKS)], texel)
    parts = part_masks(point_uv, texel, texel_mirror)
    topology = Topology(
        name="facemesh",
        texel=operator.texel,
        triangles=triangles,
        canonical=canonical.astype(np.float32),
        landmarks=landmarks,
        pose_weights=pose_weights(canonical, triangles, mesh, texel_mirror, parts["lips"]),
        mirror=texel_mirror.astype(np.int32),
        parts=parts,
        licence=licence,
        provenance=provenance,
    )
    topology.check()
    return topology, operator, point_uv


def control_correction(limit: sp.csr_matrix) -> sp.csr_matrix:
    """Two Jacobi steps towards the inverse of `limit`, the rows of the points themselves.

    A Loop surface shrinks from its control points: by 0.6 % of the face's size in the mean and
    1.5 % at the eyelids, which narrows the eyes. The exact inverse would interpolate the points
    but amplifies their noise into ripples; two steps leave 0.16 % and a smooth surface.
    """
    rest = sp.identity(limit.shape[0], format="csr") - limit
    correction = (sp.identity(limit.shape[0], format="csr") + rest + rest @ rest).tocsr()
    correction.sort_indices()
    return correction


def _meshable(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The texels that are corners of at least one grid triangle, symmetric about the middle."""
    mask = mask & mask[:, ::-1]
    count = sum(
        mask[r : r + UV_SIZE - 1, c : c + UV_SIZE - 1].astype(int) for r in (0, 1) for c in (0, 1)
    )
    block = count >= 3
    used = np.zeros_like(mask)
    for r in (0, 1):
        for c in (0, 1):
            used[r : r + UV_SIZE - 1, c : c + UV_SIZE - 1] |= block
    return used & mask


def _check_symmetry(
    index: NDArray[np.int64],
    barycentric: NDArray[np.float64],
    used: NDArray[np.bool_],
    faces: NDArray[np.int64],
    uv: NDArray[np.float64],
) -> None:
    """Raise `ValueError` unless mirrored texels sit at mirrored places, to rounding."""
    place = np.einsum("rcj,rcjk->rck", barycentric, uv[faces[index]])
    error = np.abs(place + place[:, ::-1] * [1, -1] - [1, 0])[used]
    if error.max() > 1e-9:
        raise ValueError(f"the layout is asymmetric by {error.max()}")


def _texel_mirror(texel: NDArray[np.int64]) -> NDArray[np.int64]:
    row, column = np.divmod(texel, UV_SIZE)
    return np.searchsorted(texel, row * UV_SIZE + (UV_SIZE - 1 - column))


def grid_triangles(mask: NDArray[np.bool_], canonical: NDArray[np.float64]) -> NDArray[np.int32]:
    """Two triangles for each 2x2 block of texels, one where only three of them exist.

    The diagonal is the shorter one on the canonical face, so that the triangulation is symmetric
    (but for the column across the middle, where no diagonal is); the block with three texels cuts
    the corner and thus smooths the rim. Corners run counter-clockwise seen with y up.
    """
    number = np.full(mask.shape, -1, np.int64)
    number[mask] = np.arange(mask.sum())
    a, b = number[:-1, :-1].ravel(), number[:-1, 1:].ravel()  # top left, top right
    c, d = number[1:, :-1].ravel(), number[1:, 1:].ravel()  # bottom left, bottom right
    full = (np.stack([a, b, c, d]) >= 0).all(0)
    falling = np.linalg.norm(canonical[a] - canonical[d], axis=1)
    rising = np.linalg.norm(canonical[b] - canonical[c], axis=1)
    down = full & (falling <= rising + 1e-9)
    up = full & ~down
    groups = [
        (down, (a, c, d)),
        (down, (a, d, b)),
        (up, (a, c, b)),
        (up, (b, c, d)),
        ((a < 0) & (np.minimum(np.minimum(b, c), d) >= 0), (b, c, d)),
        ((b < 0) & (np.minimum(np.minimum(a, c), d) >= 0), (a, c, d)),
        ((c < 0) & (np.minimum(np.minimum(a, b), d) >= 0), (a, d, b)),
        ((d < 0) & (np.minimum(np.minimum(a, b), c) >= 0), (a, c, b)),
    ]
    triangles = np.concatenate([np.stack(corners, 1)[chosen] for chosen, corners in groups])
    # By first texel: neighbours in memory are neighbours on the face.
    return triangles[np.lexsort(triangles.T[::-1])].astype(np.int32)


def nearest_texels(uv: NDArray[np.float64], texel: NDArray[np.int64]) -> NDArray[np.int32]:
    """The vertex whose texel centre lies nearest to each `(k, 2)` UV position."""
    row, column = np.divmod(texel, UV_SIZE)
    place = uv * UV_SIZE - 0.5
    distance = np.hypot(column[None] - place[:, :1], row[None] - place[:, 1:])
    return distance.argmin(1).astype(np.int32)


def part_masks(
    point_uv: NDArray[np.float64], texel: NDArray[np.int64], mirror: NDArray[np.int64]
) -> dict[str, NDArray[np.bool_]]:
    """`(N,)` bool per part: inside its outline, or inside the mirrored one."""
    row, column = np.divmod(texel, UV_SIZE)
    centres = (np.stack([column, row], 1) + 0.5) / UV_SIZE
    parts = {"face": np.ones(len(texel), bool)}
    for name, outline in OUTLINES.items():
        inside = _inside(centres, point_uv[list(outline)])
        parts[name] = inside | inside[mirror]
    return parts


def _inside(points: NDArray[np.float64], polygon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Even-odd rule."""
    x, y = points.T
    inside = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


def pose_weights(
    canonical: NDArray[np.float64],
    triangles: NDArray[np.int32],
    mesh: CanonicalMesh,
    mirror: NDArray[np.int64],
    lips: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """How much a vertex counts in the pose: area times rigidity, with mean 1.

    area: a third of the triangles around the vertex on the canonical face. rigidity: 0.05 + the
    square root (for a wider base) of the sum over MediaPipe's 33 weighted Procrustes points p_k of
    b_k exp(-|x - p_k|^2 / (2 s^2)), s = 2 cm, divided by its largest value; times a fall from 1 at
    the base of the nose to 0.1 at the chin, because the jaw opens; times 0.1 on the lips.
    """
    area = np.zeros(len(canonical))
    third = surface.areas(canonical, triangles.astype(np.int64)) / 3
    for j in range(3):
        np.add.at(area, triangles[:, j], third)
    rigidity = np.zeros(len(canonical))
    for index, weight in zip(mesh.pose_points, mesh.pose_point_weights, strict=True):
        squared = ((canonical - mesh.vertices[index]) ** 2).sum(1)
        rigidity += weight * np.exp(-squared / (2 * 2.0**2))
    rigidity = 0.05 + np.sqrt(rigidity / rigidity.max())
    base, chin = mesh.vertices[2, 1], mesh.vertices[152, 1]
    rigidity *= np.clip((canonical[:, 1] - chin) / (base - chin), 0.1, 1.0)
    rigidity[lips] *= 0.1
    weights = area * rigidity
    weights = 0.5 * (weights + weights[mirror])
    return (weights / weights.mean()).astype(np.float32)
