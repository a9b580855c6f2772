"""The authors' `Data/uv-data` folder as a topology.

| file | holds |
|---|---|
| `face_ind.txt` | N flat texel indices, `row * 256 + column`, the vertices |
| `uv_kpt_ind.txt` | `(2, 68)`: columns, then rows, of the 68 landmarks |
| `canonical_vertices.npy` | `(N, 3)` rest shape |
| `triangles.txt` | `(T, 3)` vertex indices; optional, see `triangulate` |
| `uv_face.png`, `uv_face_eyes.png` | optional; where they differ are the eyes |
| `uv_face_mask.png` | optional; non-zero on the face, without neck and ears |

The map is laid out as a frontal face is seen: rows grow downwards, columns to the right.
"""

from __future__ import annotations

import re
import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from streamprn.engines.topology import UV_SIZE, Topology
from streamprn.errors import EngineError
from streamprn.pixels import size_by_header

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Bool = NDArray[np.bool_]
    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]
    Int32 = NDArray[np.int32]

REQUIRED: Final = ("face_ind.txt", "uv_kpt_ind.txt", "canonical_vertices.npy")
TEXELS: Final = UV_SIZE * UV_SIZE
# Closed outlines in iBUG/300-W landmark numbers, and the margin around them in texels.
OUTLINES: Final[dict[str, tuple[tuple[tuple[int, ...], ...], int]]] = {
    "eyes": ((tuple(range(36, 42)), tuple(range(42, 48))), 4),
    "brows": ((tuple(range(17, 22)), tuple(range(22, 27))), 4),
    "nose": (((27, 31, 32, 33, 34, 35),), 4),
    "lips": ((tuple(range(48, 60)),), 2),
}


def find_folder(path: Path) -> Path:
    """The `uv-data` folder itself, given it, `Data`, or the authors' checkout.

    Raises:
        EngineError: a required file is missing; the message names all that are.
    """
    for folder in (path, path / "uv-data", path / "Data" / "uv-data"):
        if (folder / REQUIRED[0]).is_file():
            break
    else:
        raise EngineError(
            f"{path}: no {REQUIRED[0]} there", hint="give the authors' folder Data/uv-data"
        )
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
    if missing:
        raise EngineError(
            f"{folder}: missing {', '.join(missing)}", hint="copy the authors' Data/uv-data whole"
        )
    return folder


def read_topology(path: Path, *, licence: str, provenance: str) -> Topology:
    """The topology of the authors' data.

    Pose weights are uniform, as in the authors' own fit over all vertices. The mirror of a vertex
    is the one at, or nearest to, the texel in the mirrored column.

    Args:
        path: see `find_folder`.
        licence: stored with it.
        provenance: stored with it.

    Raises:
        EngineError: a file is missing, unreadable or of another shape; the message names it.
    """
    folder = find_folder(path)
    texel, order = _read_texels(folder / "face_ind.txt")
    landmarks = _read_landmarks(folder / "uv_kpt_ind.txt", texel)
    canonical = upright(_read_canonical(folder / "canonical_vertices.npy", order), landmarks)
    triangles = _read_triangles(folder / "triangles.txt", order)
    if triangles is None:
        triangles = triangulate(texel)
    topology = Topology(
        name="resfcn256",
        texel=texel,
        triangles=outward(triangles, canonical),
        canonical=canonical,
        landmarks=landmarks,
        pose_weights=np.ones(texel.size, np.float32),
        mirror=mirror(texel),
        parts=_parts(folder, texel, landmarks),
        licence=licence,
        provenance=provenance,
    )
    topology.check()
    return topology


# The authors' files


def _wrong(path: Path, what: str) -> EngineError:
    return EngineError(f"{path}: {what}", hint="copy the authors' Data/uv-data again")


def _numbers(path: Path) -> Float64:
    try:
        with path.open(encoding="ascii") as file, warnings.catch_warnings():
            # NumPy warns of an empty file; the checks that follow refuse it.
            warnings.simplefilter("ignore", UserWarning)
            return np.loadtxt(file, ndmin=2)
    except (OSError, ValueError) as error:
        reason = re.sub(r"\s+", " ", str(error))
        raise _wrong(path, f"not a table of numbers: {reason}") from error


def _indices(path: Path, values: Float64, below: int) -> Int32:
    if not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        raise _wrong(path, "expected whole numbers")
    if values.size == 0 or values.min() < 0 or values.max() >= below:
        raise _wrong(path, f"expected indices from 0 to {below - 1}")
    return np.asarray(values, np.int32)


def _read_texels(path: Path) -> tuple[Int32, Int32]:
    """Sorted texels `(N,)`, and the place `(N,)` in the file of each."""
    values = _numbers(path)
    if 1 not in values.shape:
        raise _wrong(path, f"expected one column, found shape {values.shape}")
    texel = _indices(path, values.ravel(), TEXELS)
    order = np.argsort(texel, kind="stable").astype(np.int32)
    texel = texel[order]
    if (np.diff(texel) == 0).any():
        raise _wrong(path, "a texel is listed twice")
    return texel, order


def _read_landmarks(path: Path, texel: Int32) -> Int32:
    values = _numbers(path)
    if values.shape != (2, 68):
        raise _wrong(path, f"expected shape (2, 68), found {values.shape}")
    columns, rows = _indices(path, values, UV_SIZE)
    flat = rows * UV_SIZE + columns
    found = np.searchsorted(texel, flat).clip(max=texel.size - 1)
    astray = np.flatnonzero(texel[found] != flat)
    if astray.size:
        raise _wrong(path, f"landmark {astray[0]} is not one of the texels of face_ind.txt")
    return np.asarray(found, np.int32)


def _read_canonical(path: Path, order: Int32) -> Float64:
    try:
        vertices = np.lib.format.read_array(BytesIO(path.read_bytes()), allow_pickle=False)
        vertices = np.asarray(vertices, np.float64)
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise _wrong(path, f"not a NumPy array of numbers: {error}") from error
    if vertices.shape != (order.size, 3):
        raise _wrong(path, f"expected shape {(order.size, 3)}, found {vertices.shape}")
    vertices = vertices[order]
    if not np.isfinite(vertices).all():
        raise _wrong(path, "holds NaN or infinity")
    return vertices


def _read_triangles(path: Path, order: Int32) -> Int32 | None:
    if not path.is_file():
        return None
    values = _numbers(path)
    if values.shape[1:] != (3,):
        raise _wrong(path, f"expected shape (T, 3), found {values.shape}")
    place = np.empty_like(order)
    place[order] = np.arange(order.size, dtype=np.int32)
    return np.asarray(place[_indices(path, values, order.size)], np.int32)


# From them


def upright(vertices: Float64, landmarks: Int32) -> Float32:
    """The rest shape with x right, y up, z towards the camera, its centre at the origin.

    The authors do not state their axes, so they are read off the landmarks: the jaw's right end
    (number 0) is left in the picture, the brows are above the chin, and the tip of the nose is
    nearer than the ends of the jaw.
    """
    points = vertices[landmarks]
    forward = np.array(
        [
            points[16, 0] - points[0, 0],
            points[17:27, 1].mean() - points[8, 1],
            points[30, 2] - points[[0, 16], 2].mean(),
        ]
    )
    signs = np.where(forward < 0, -1.0, 1.0)
    return np.asarray((vertices - vertices.mean(axis=0)) * signs, np.float32)


def triangulate(texel: Int32) -> Int32:
    """Triangles `(T, 3)` of the texel grid: two for a full 2x2 cell, one where three are set."""
    vertex = np.full(TEXELS, -1, np.int32)
    vertex[texel] = np.arange(texel.size, dtype=np.int32)
    grid = vertex.reshape(UV_SIZE, UV_SIZE)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
    full = (a >= 0) & (b >= 0) & (c >= 0) & (d >= 0)
    triangles = [_pick(full, a, c, b), _pick(full, b, c, d)]
    for lone, corners in ((d, (a, c, b)), (a, (b, c, d)), (c, (a, d, b)), (b, (a, c, d))):
        three = (lone < 0) & (corners[0] >= 0) & (corners[1] >= 0) & (corners[2] >= 0)
        triangles.append(_pick(three, *corners))
    return np.concatenate(triangles)


def _pick(where: Bool, *corners: Int32) -> Int32:
    return np.stack([corner[where] for corner in corners], axis=1)


def outward(triangles: Int32, canonical: Float32) -> Int32:
    """The same triangles, all turned over where they show their backs to the camera at rest."""
    a, b, c = (canonical[triangles[:, corner], :2].astype(np.float64) for corner in range(3))
    u, v = b - a, c - a
    facing = float((u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]).sum())
    return triangles if facing >= 0 else np.ascontiguousarray(triangles[:, ::-1])


def mirror(texel: Int32) -> Int32:
    """`(N,)` the vertex at the mirrored column, or the nearest one where there is none."""
    rows, columns = np.divmod(texel, UV_SIZE)
    wanted = rows * UV_SIZE + (UV_SIZE - 1 - columns)
    found = np.searchsorted(texel, wanted).clip(max=texel.size - 1)
    for i in np.flatnonzero(texel[found] != wanted):
        row, column = divmod(int(wanted[i]), UV_SIZE)
        found[i] = np.argmin((rows - row) ** 2 + (columns - column) ** 2)
    return np.asarray(found, np.int32)


def _parts(folder: Path, texel: Int32, landmarks: Int32) -> dict[str, Bool]:
    points = texel[landmarks]
    parts = {
        name: _filled(points, outlines, margin)[texel]
        for name, (outlines, margin) in OUTLINES.items()
    }
    plain, eyes = folder / "uv_face.png", folder / "uv_face_eyes.png"
    if plain.is_file() and eyes.is_file():
        parts["eyes"] = np.any(_read_picture(plain) != _read_picture(eyes), axis=1)[texel]
    face = folder / "uv_face_mask.png"
    parts["face"] = np.ones(texel.size, np.bool_)
    if face.is_file():
        parts["face"] = np.any(_read_picture(face), axis=1)[texel]
    return parts


def _filled(points: Int32, outlines: Sequence[Sequence[int]], margin: int) -> Bool:
    """`(65536,)` bool: the inside of the outlines through these texels, and the margin."""
    canvas = np.zeros((UV_SIZE, UV_SIZE), np.uint8)
    for outline in outlines:
        rows, columns = np.divmod(points[list(outline)], UV_SIZE)
        polygon = np.stack([columns, rows], axis=1).astype(np.int32)
        cv2.fillPoly(canvas, [polygon], 1)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return np.asarray(cv2.dilate(canvas, disk).ravel(), np.bool_)


def _read_picture(path: Path) -> NDArray[np.uint8]:
    """`(65536, 3)` uint8 colours."""
    data = np.fromfile(path, np.uint8)
    # By its header first, so that a picture of another size costs no memory.
    whole = size_by_header(data.tobytes()) == (UV_SIZE, UV_SIZE)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if whole else None
    if picture is None or picture.shape[:2] != (UV_SIZE, UV_SIZE):
        raise _wrong(path, f"expected a {UV_SIZE}x{UV_SIZE} picture")
    return np.asarray(picture, np.uint8).reshape(-1, 3)
