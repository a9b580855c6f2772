"""Head pose from all vertices: weighted least squares against the canonical shape.

Minimises `sum w |Y - (s R X + t)|^2` over proper rotations R, scales s and translations t, X the
canonical shape and Y the vertices with y up (Horn 1987, Umeyama 1991). The rotation is a unit
quaternion throughout, so that mirrored input cannot produce a reflection.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.kernels._jit import as_points, cpu_loop, inner, maths
from streamprn.kernels._lanes import LANES, add4, lane4, load4, multiply4, spread4
from streamprn.kernels.maths.rotation import (
    euler_to_matrix,
    horn_matrix,
    largest_eigenpair,
    matrix_to_euler,
    quaternion_to_matrix,
)
from streamprn.records import Pose

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZERO = np.float32(0.0)
# Vertices per float32 partial sum; the partial sums are added in float64.
BLOCK = 512
# Against the product of the two shapes' sizes: below, the vertices have no extent to turn.
FLAT = 1e-9


class Reference:
    """A canonical shape prepared for `estimate`.

    Args:
        canonical: `(N, 3)` float32, x right, y up, z towards the camera, any unit.
        weights: `(N,)` >= 0, or None for equal weights.

    Attributes:
        table: `(4, N)` float32: the weight times the centred shape, and the weight, where the
            weights sum to 1.
        rows: `(N, 4)` float32, the same the other way round.
        centre: `(3,)` float64, the weighted mean of the shape.
        spread: the weighted mean square distance from it.
    """

    def __init__(
        self, canonical: NDArray[np.float32], weights: NDArray[np.floating[Any]] | None = None
    ) -> None:
        shape = as_points(canonical, "canonical").astype(np.float64)
        w = np.ones(len(shape)) if weights is None else np.asarray(weights, np.float64)
        if w.shape != (len(shape),) or not (np.isfinite(w).all() and (w >= 0).all() and w.sum()):
            raise ValueError("weights must be (N,), >= 0, with a positive sum")
        w = w / w.sum()
        self.centre: NDArray[np.float64] = w @ shape
        centred = shape - self.centre
        self.spread = float(w @ (centred * centred).sum(axis=1))
        if not self.spread > 0.0:
            raise ValueError("the canonical shape must be finite and have an extent")
        self.table: NDArray[np.float32] = np.ascontiguousarray(
            np.vstack([w * centred.T, w]), np.float32
        )
        self.rows: NDArray[np.float32] = np.ascontiguousarray(self.table.T)


def estimate(vertices: NDArray[np.float32], reference: Reference) -> Pose:
    """Pose of a face.

    Args:
        vertices: `(N, 3)` float32, frame pixels, y down, z towards the camera. Vertices that are
            not finite are left out.
        reference: the canonical shape of the same N vertices.

    Returns:
        See `streamprn.records.Pose`. Vertices without extent give the identity rotation, scale 1
        and their centre as translation.
    """
    vertices = as_points(vertices)
    if vertices.shape[0] != reference.table.shape[1]:
        raise ValueError(
            f"{vertices.shape[0]} vertices do not fit a reference of {reference.table.shape[1]}"
        )
    result = np.empty(20)
    _estimate(vertices, reference.table, reference.rows, reference.centre, reference.spread, result)
    yaw, pitch, roll = result[13:16].tolist()
    return Pose(
        rotation=result[:9].reshape(3, 3),
        scale=float(result[9]),
        translation=result[10:13],
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        quaternion=result[16:20],
    )


@maths
def _add_block(sums: Any, axis: Any, block: Any) -> None:
    for row in range(LANES):
        sums[row, axis] += lane4(block, row)


@inner(fastmath=True)
def _moments(vertices: Any, rows: Any, moments: Any) -> None:
    """Sums `(4, 3)` of table row times vertex, relative to a vertex, in float64 by blocks."""
    ox, oy, oz = vertices[0, 0], vertices[0, 1], vertices[0, 2]
    for i in range(LANES):
        for j in range(3):
            moments[i, j] = 0.0
    for start in range(0, vertices.shape[0], BLOCK):
        xs = ys = zs = spread4(ZERO)
        for n in range(start, min(start + BLOCK, vertices.shape[0])):
            row = load4(rows, LANES * n)
            xs = add4(xs, multiply4(row, spread4(vertices[n, 0] - ox)))
            ys = add4(ys, multiply4(row, spread4(vertices[n, 1] - oy)))
            zs = add4(zs, multiply4(row, spread4(vertices[n, 2] - oz)))
        _add_block(moments, 0, xs)
        _add_block(moments, 1, ys)
        _add_block(moments, 2, zs)
    moments[3, 0] += ox
    moments[3, 1] += oy
    moments[3, 2] += oz


@inner()
def _finite(vertex: Any) -> Any:
    return abs(vertex[0]) < np.inf and abs(vertex[1]) < np.inf and abs(vertex[2]) < np.inf


@inner()
def _robust_means(vertices: Any, table: Any, moments: Any, mean: Any) -> Any:
    """Means over the finite vertices: of the vertices to `moments[3]`, of the shape to `mean`.

    Returns:
        The sum of their weights.
    """
    weight = 0.0
    for i in range(3):
        mean[i] = moments[3, i] = 0.0
    for n in range(vertices.shape[0]):
        if _finite(vertices[n]):
            weight += table[3, n]
            for i in range(3):
                mean[i] += table[i, n]
                moments[3, i] += np.float64(table[3, n]) * np.float64(vertices[n, i])
    for i in range(3):
        mean[i] = mean[i] / weight if weight > 0.0 else 0.0
        moments[3, i] = moments[3, i] / weight if weight > 0.0 else 0.0
    return weight


@inner()
def _robust_moments(vertices: Any, table: Any, moments: Any, mean: Any) -> Any:
    """As `_moments`, over the finite vertices alone.

    Args:
        vertices: `(N, 3)`.
        table: `(4, N)`, see `Reference`.
        moments: `(4, 3)` to fill.
        mean: `(3,)` to fill: the mean of their canonical positions, against that of all.

    Returns:
        The spread of their canonical positions.
    """
    weight = _robust_means(vertices, table, moments, mean)
    moments[:3] = 0.0
    spread = 0.0
    for n in range(vertices.shape[0]):
        w = np.float64(table[3, n])
        if _finite(vertices[n]) and w > 0.0:
            for i in range(3):
                centred = table[i, n] / w - mean[i]
                spread += w * centred * centred / weight
                for j in range(3):
                    moments[i, j] += w * centred * (vertices[n, j] - moments[3, j]) / weight
    return spread


@inner()
def _solve(moments: Any, spread: Any, result: Any) -> Any:
    """Rotation, quaternion and scale of the moments; false without extent."""
    cross, matrix, vectors = np.empty((3, 3)), np.empty((4, 4)), np.empty((4, 4))
    largest = 0.0
    for i in range(3):
        for j in range(3):
            largest = max(largest, abs(moments[i, j]))
    rotation, quaternion = result[:9].reshape(3, 3), result[16:20]
    extent = largest > FLAT * spread
    for i in range(3):
        for j in range(3):
            value = moments[i, j] / largest if extent else (1.0 if i == j else 0.0)
            cross[i, j] = -value if (j == 1 and extent) else value
    horn_matrix(cross, matrix)
    eigenvalue = largest_eigenpair(matrix, vectors, quaternion)
    quaternion_to_matrix(quaternion, rotation)
    result[9] = eigenvalue * largest / spread if extent else 1.0
    return extent


@cpu_loop()
def _estimate(vertices: Any, table: Any, rows: Any, centre: Any, spread: Any, result: Any) -> None:
    moments = np.zeros((4, 3))
    middle = centre.copy()
    if vertices.shape[0] > 0:
        _moments(vertices, rows, moments)
    total = 0.0
    for i in range(4):
        for j in range(3):
            total += abs(moments[i, j])
    if not total < np.inf:
        mean = np.empty(3)
        spread = _robust_moments(vertices, table, moments, mean)
        middle += mean
    extent = _solve(moments, spread, result)
    rotation, scale = result[:9].reshape(3, 3), result[9]
    for i in range(3):
        turned = (
            rotation[i, 0] * middle[0] + rotation[i, 1] * middle[1] + rotation[i, 2] * middle[2]
        )
        flip = -1.0 if i == 1 else 1.0
        result[10 + i] = moments[3, i] - (flip * scale * turned if extent else 0.0)
    matrix_to_euler(rotation, result[13:16])
    for i in range(13, 16):
        result[i] *= 180.0 / np.pi


def euler_from_rotation(rotation: NDArray[np.float64]) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees of `(3, 3)`, signs of AFLW2000-3D, pitch in -90..90.

    Yaw runs over -180..180: past +-90 the face looks away from the camera.
    """
    angles = np.empty(3)
    _euler_from_rotation(np.ascontiguousarray(rotation, np.float64), angles)
    yaw, pitch, roll = np.degrees(angles).tolist()
    return yaw, pitch, roll


def rotation_from_euler(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """`(3, 3)` float64 of angles in degrees, the inverse of `euler_from_rotation`."""
    rotation = np.empty((3, 3))
    _rotation_from_euler(math.radians(yaw), math.radians(pitch), math.radians(roll), rotation)
    return rotation


def quaternion_from_rotation(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternion `(4,)` w, x, y, z with w >= 0 of the proper rotation nearest `(3, 3)`."""
    quaternion = np.empty(4)
    # A rotation is its own cross-covariance, transposed, with an isotropic shape.
    _quaternion_from_cross(np.ascontiguousarray(np.transpose(rotation), np.float64), quaternion)
    return quaternion


def project(pose: Pose, points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Canonical points `(K, 3)`, y up, as the pose puts them in the frame.

    Returns:
        `(K, 3)` float64, frame pixels, y down.
    """
    turned = pose.scale * (np.asarray(points, np.float64) @ pose.rotation.T)
    flipped: NDArray[np.float64] = turned * (1.0, -1.0, 1.0) + pose.translation
    return flipped


@cpu_loop()
def _euler_from_rotation(rotation: Any, angles: Any) -> None:
    matrix_to_euler(rotation, angles)


@cpu_loop()
def _rotation_from_euler(yaw: Any, pitch: Any, roll: Any, rotation: Any) -> None:
    euler_to_matrix(yaw, pitch, roll, rotation)


@cpu_loop()
def _quaternion_from_cross(cross: Any, quaternion: Any) -> None:
    matrix, vectors = np.empty((4, 4)), np.empty((4, 4))
    horn_matrix(cross, matrix)
    largest_eigenpair(matrix, vectors, quaternion)
