"""Rotations: from correspondences (Horn's quaternion method), to and from Euler angles.

Euler angles follow 300W-LP and AFLW2000-3D: `R = Rx(pitch) Ry(yaw) Rz(roll)` with
`R[0] = (cos y cos r, cos y sin r, -sin y)` and `R[:, 2] = (-sin y, sin p cos y, cos p cos y)`.
"""

from __future__ import annotations

import math

from streamprn.kernels._jit import maths
from streamprn.kernels.maths import Array, Integer, Real

SWEEPS = 12
# An off-diagonal part this small against the diagonal no longer turns a float64 eigenvector.
CONVERGED = 1e-30
# cos(yaw) below which pitch and roll turn about the same axis, and the rounding of float32 vertices
# would turn both by any angle.
GIMBAL = 1e-5


@maths
def horn_matrix(cross: Array, matrix: Array) -> None:
    """Horn's symmetric 4x4 matrix N of a 3x3 cross-covariance.

    Horn, "Closed-form solution of absolute orientation using unit quaternions", JOSA A 4(4), 1987.

    Args:
        cross: `(3, 3)`, `cross[i, j] = sum w X_i Y_j`, X the model and Y what was observed.
        matrix: `(4, 4)` to fill; its eigenvector of the largest eigenvalue is the quaternion
            w, x, y, z of the rotation that takes X to Y.
    """
    xx, xy, xz = cross[0, 0], cross[0, 1], cross[0, 2]
    yx, yy, yz = cross[1, 0], cross[1, 1], cross[1, 2]
    zx, zy, zz = cross[2, 0], cross[2, 1], cross[2, 2]
    matrix[0, 0] = xx + yy + zz
    matrix[1, 1] = xx - yy - zz
    matrix[2, 2] = yy - xx - zz
    matrix[3, 3] = zz - xx - yy
    matrix[0, 1] = matrix[1, 0] = yz - zy
    matrix[0, 2] = matrix[2, 0] = zx - xz
    matrix[0, 3] = matrix[3, 0] = xy - yx
    matrix[1, 2] = matrix[2, 1] = xy + yx
    matrix[1, 3] = matrix[3, 1] = zx + xz
    matrix[2, 3] = matrix[3, 2] = yz + zy


@maths
def jacobi_rotate(matrix: Array, vectors: Array, p: Integer, q: Integer) -> None:
    """One Jacobi rotation that makes `matrix[p, q]` zero; `vectors` gathers the rotations."""
    apq = matrix[p, q]
    if apq != 0.0:
        theta = 0.5 * (matrix[q, q] - matrix[p, p]) / apq
        t = 1.0 / (abs(theta) + math.sqrt(theta * theta + 1.0))
        if theta < 0.0:
            t = -t
        c = 1.0 / math.sqrt(t * t + 1.0)
        s = t * c
        for k in range(4):
            akp, akq = matrix[k, p], matrix[k, q]
            matrix[k, p], matrix[k, q] = c * akp - s * akq, s * akp + c * akq
        for k in range(4):
            apk, aqk = matrix[p, k], matrix[q, k]
            matrix[p, k], matrix[q, k] = c * apk - s * aqk, s * apk + c * aqk
        for k in range(4):
            vkp, vkq = vectors[k, p], vectors[k, q]
            vectors[k, p], vectors[k, q] = c * vkp - s * vkq, s * vkp + c * vkq


@maths
def set_identity(matrix: Array) -> None:
    """Fill `(4, 4)` with the identity."""
    for i in range(4):
        for j in range(4):
            matrix[i, j] = 1.0 if i == j else 0.0


@maths
def is_diagonal(matrix: Array) -> bool:
    """Whether the lower triangle of `(4, 4)` has vanished against the diagonal; true for NaN."""
    off = diagonal = 0.0
    for i in range(4):
        diagonal += matrix[i, i] * matrix[i, i]
        for j in range(i):
            off += matrix[i, j] * matrix[i, j]
    return not (off > CONVERGED * diagonal)


@maths
def largest_eigenpair(matrix: Array, vectors: Array, quaternion: Array) -> Real:
    """Largest eigenvalue of a symmetric 4x4 matrix; its unit eigenvector goes to `quaternion`.

    Cyclic Jacobi: slower than the characteristic quartic, but exact for equal eigenvalues.

    Args:
        matrix: `(4, 4)` float64, overwritten.
        vectors: `(4, 4)` float64 work space.
        quaternion: `(4,)` float64 to fill, first component >= 0.
    """
    set_identity(vectors)
    for _ in range(SWEEPS):
        if is_diagonal(matrix):
            break
        for p in range(3):
            for q in range(p + 1, 4):
                jacobi_rotate(matrix, vectors, p, q)
    best = 0
    for i in range(1, 4):
        if matrix[i, i] > matrix[best, best]:
            best = i
    sign = -1.0 if vectors[0, best] < 0.0 else 1.0
    for i in range(4):
        quaternion[i] = sign * vectors[i, best]
    return matrix[best, best]


@maths
def quaternion_to_matrix(quaternion: Array, rotation: Array) -> None:
    """Fill `(3, 3)` with the rotation of a unit quaternion w, x, y, z."""
    w, x, y, z = quaternion[0], quaternion[1], quaternion[2], quaternion[3]
    rotation[0, 0] = 1.0 - 2.0 * (y * y + z * z)
    rotation[0, 1] = 2.0 * (x * y - w * z)
    rotation[0, 2] = 2.0 * (x * z + w * y)
    rotation[1, 0] = 2.0 * (x * y + w * z)
    rotation[1, 1] = 1.0 - 2.0 * (x * x + z * z)
    rotation[1, 2] = 2.0 * (y * z - w * x)
    rotation[2, 0] = 2.0 * (x * z - w * y)
    rotation[2, 1] = 2.0 * (y * z + w * x)
    rotation[2, 2] = 1.0 - 2.0 * (x * x + y * y)


@maths
def matrix_to_euler(rotation: Array, angles: Array) -> None:
    """Fill `(3,)` with yaw, pitch, roll in radians.

    Every rotation has two triples; this is the one with pitch in -90..90 degrees, so that yaw
    goes on past +-90 (the face looks away) where the usual choice flips pitch and roll by 180.
    At a yaw of exactly +-90 only a sum of pitch and roll is defined: pitch is 0 there.
    """
    sine = -rotation[0, 2]
    cosine = math.sqrt(rotation[1, 2] * rotation[1, 2] + rotation[2, 2] * rotation[2, 2])
    if cosine < GIMBAL:
        angles[0] = math.atan2(sine, cosine)
        angles[1] = 0.0
        angles[2] = math.atan2(-rotation[1, 0], rotation[1, 1])
    else:
        side = -1.0 if rotation[2, 2] < 0.0 else 1.0
        angles[0] = math.atan2(sine, side * cosine)
        angles[1] = math.atan2(side * rotation[1, 2], side * rotation[2, 2])
        angles[2] = math.atan2(side * rotation[0, 1], side * rotation[0, 0])


@maths
def euler_to_matrix(yaw: Real, pitch: Real, roll: Real, rotation: Array) -> None:
    """Fill `(3, 3)` with `Rx(pitch) Ry(yaw) Rz(roll)`, radians, signs as in `matrix_to_euler`."""
    cp, sp = math.cos(pitch), math.sin(pitch)
    cy, sy = math.cos(yaw), math.sin(yaw)
    cr, sr = math.cos(roll), math.sin(roll)
    rotation[0, 0] = cy * cr
    rotation[0, 1] = cy * sr
    rotation[0, 2] = -sy
    rotation[1, 0] = sp * sy * cr - cp * sr
    rotation[1, 1] = sp * sy * sr + cp * cr
    rotation[1, 2] = sp * cy
    rotation[2, 0] = cp * sy * cr + sp * sr
    rotation[2, 1] = cp * sy * sr - sp * cr
    rotation[2, 2] = cp * cy
