"""Head pose of a perspective camera from all vertices, in millimetres.

Minimises `sum w |p - pi(R X + T)|^2` over proper rotations R and places T by Gauss-Newton: X is the
canonical shape, pi the pinhole, p the vertices without lens distortion, both in units of the focal
length. It starts from the weak-perspective pose, turned by the angle under which the face is seen
(Hartley and Zisserman, Multiple View Geometry, 6.3 and A6; Lepetit et al., IJCV 2009 for PnP). Of
the vertices x and y count; how far the face is follows from its size, which the caller gives.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.camera import MetricPose
from streamprn.kernels._jit import as_points, cpu_loop, inner
from streamprn.kernels.maths.rotation import matrix_to_euler
from streamprn.kernels.pose import quaternion_from_rotation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.camera import Camera
    from streamprn.records import Pose

#: Early rounds look at one vertex in so many.
STRIDE = 16
ROUNDS = 12
UNDISTORT_ROUNDS = 8
#: Vertices per float32 partial sum; the partial sums are added in float64.
BLOCK = 512
#: Radians, and parts of the distance: after a smaller step the next one changes nothing.
SMALL = 1e-4


class MetricReference:
    """A canonical shape in millimetres, prepared for `refine`.

    Args:
        canonical: `(N, 3)` float32, x right, y up, z towards the camera, any unit.
        weights: `(N,)` >= 0.
        eyes: two lists of indices, the vertices around each eye.

    Attributes:
        used: `(M,)` int32, the vertices that count.
        shape: `(4, M)` float32: those, centred, and their weights, which sum to 1.
        centre: `(3,)` float64, what was taken away.
        eyes: `(3,)` float64, the middle between the eyes, canonical units.
        pupil_distance: canonical units, between the centres of the eyes.
    """

    def __init__(
        self,
        canonical: NDArray[np.float32],
        weights: NDArray[np.floating[Any]],
        eyes: tuple[NDArray[np.int32], NDArray[np.int32]],
    ) -> None:
        shape = as_points(canonical, "canonical").astype(np.float64)
        self.used = np.flatnonzero(weights > 0).astype(np.int32)
        w = weights[self.used] / weights[self.used].sum(dtype=np.float64)
        self.centre: NDArray[np.float64] = w @ shape[self.used]
        self.shape = np.ascontiguousarray(
            np.vstack([(shape[self.used] - self.centre).T, w]), np.float32
        )
        left, right = (shape[eye].mean(axis=0) for eye in eyes)
        self.eyes: NDArray[np.float64] = 0.5 * (left + right)
        self.pupil_distance = float(np.linalg.norm(left - right))


def refine(
    vertices: NDArray[np.float32], reference: MetricReference, camera: Camera, start: Pose
) -> MetricPose:
    """Pose of a face in the frame of a camera.

    Args:
        vertices: `(N, 3)` float32, frame pixels, y down; those that are not finite are left out.
        reference: the canonical shape of the same N vertices.
        camera: that took the frame.
        start: the weak-perspective pose of the same vertices.

    Returns:
        See `streamprn.camera.MetricPose`; NaN throughout where the vertices give no pose.
    """
    vertices = as_points(vertices)
    unit = camera.pupil_distance_mm / reference.pupil_distance
    lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy, *camera.distortion])
    state = np.empty(16)
    _begin(start.rotation, start.scale, start.translation, reference.centre, lens, unit, state)
    _refine(vertices, reference.used, reference.shape, lens, unit, state)
    rotation = state[:9].reshape(3, 3)
    middle = state[9:12]
    flip = np.array([1.0, -1.0, -1.0])
    yaw, pitch, roll = np.degrees(state[13:16]).tolist()
    return MetricPose(
        rotation=rotation,
        translation_mm=middle - unit * flip * (rotation @ reference.centre),
        eyes_mm=middle + unit * flip * (rotation @ (reference.eyes - reference.centre)),
        mm_per_unit=unit,
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        quaternion=quaternion_from_rotation(rotation),
        error_px=float(state[12]),
    )


@inner()
def _undistorted(x: Any, y: Any, lens: Any) -> Any:
    """A point in units of the focal length, as a lens without distortion would show it.

    The fixed-point iteration of OpenCV's `undistortPoints` (Brown 1966: k1, k2, p1, p2, k3).
    """
    k1, k2, p1, p2, k3 = lens[4], lens[5], lens[6], lens[7], lens[8]
    u, v = x, y
    for _ in range(UNDISTORT_ROUNDS):
        square = u * u + v * v
        radial = 1.0 + square * (k1 + square * (k2 + square * k3))
        du = 2.0 * p1 * u * v + p2 * (square + 2.0 * u * u)
        dv = p1 * (square + 2.0 * v * v) + 2.0 * p2 * u * v
        u, v = (x - du) / radial, (y - dv) / radial
    return u, v


@inner()
def _seen(x_px: Any, y_px: Any, lens: Any, bent: Any) -> Any:
    """Frame pixels in units of the focal length."""
    x, y = (x_px - lens[2]) / lens[0], (y_px - lens[3]) / lens[1]
    return _undistorted(x, y, lens) if bent else (x, y)


@inner()
def _is_bent(lens: Any) -> Any:
    bent = False
    for i in range(4, 9):
        bent |= lens[i] != 0.0
    return bent


@inner()
def _turn(omega: Any, rotation: Any) -> None:
    """`rotation` becomes exp(omega) rotation, y and z of `omega` in the camera's frame: down, away.

    Rodrigues' formula; flipping two axes of the frame flips two components of the vector.
    """
    x, y, z = omega[0], -omega[1], -omega[2]
    angle = math.sqrt(x * x + y * y + z * z)
    p = math.sin(angle) / angle if angle > 1e-12 else 1.0
    q = (1.0 - math.cos(angle)) / (angle * angle) if angle > 1e-6 else 0.5
    turn = np.array([
        [1.0 - q * (y * y + z * z), q * x * y - p * z, q * x * z + p * y],
        [q * x * y + p * z, 1.0 - q * (x * x + z * z), q * y * z - p * x],
        [q * x * z - p * y, q * y * z + p * x, 1.0 - q * (x * x + y * y)],
    ])  # fmt: skip
    old = rotation.copy()
    for i in range(3):
        a, b, c = turn[i]
        for j in range(3):
            rotation[i, j] = a * old[0, j] + b * old[1, j] + c * old[2, j]


@cpu_loop()
def _begin(
    rotation: Any, scale: Any, translation: Any, centre: Any, lens: Any, unit: Any, state: Any
) -> None:
    """The weak-perspective pose as one of the camera: on the ray of its middle, turned to it."""
    turned = state[:9].reshape(3, 3)
    middle = np.empty(2)
    for i in range(2):
        along = 0.0
        for j in range(3):
            along += rotation[i, j] * centre[j]
        middle[i] = translation[i] + (scale * along if i == 0 else -scale * along)
    for i in range(3):
        for j in range(3):
            turned[i, j] = rotation[i, j]
    x, y = _seen(middle[0], middle[1], lens, _is_bent(lens))
    away = 0.5 * (lens[0] + lens[1]) * unit / scale
    across = math.sqrt(x * x + y * y)
    angle = math.atan(across)
    state[9], state[10], state[11] = away * x, away * y, away
    omega = np.zeros(3)
    if across > 1e-12:
        # The axis that turns the optical axis (0, 0, 1) to the ray (x, y, 1).
        omega[0], omega[1] = -angle * y / across, angle * x / across
    _turn(omega, turned)


@inner()
def _look(vertices: Any, used: Any, shape: Any, lens: Any, seen: Any) -> None:
    """Fill `seen` `(3, M)`: the vertices in units of the focal length, and their weights."""
    bent = _is_bent(lens)
    for m in range(used.shape[0]):
        x, y = np.float64(vertices[used[m], 0]), np.float64(vertices[used[m], 1])
        finite = abs(x) < np.inf and abs(y) < np.inf
        a, b = _seen(x, y, lens, bent) if finite else (0.0, 0.0)
        seen[0, m], seen[1, m], seen[2, m] = a, b, shape[3, m] if finite else 0.0


@inner(fastmath=True)
def _add_block(shape: Any, seen: Any, start: Any, end: Any, stride: Any, m: Any, sums: Any) -> None:
    """Add some vertices to the sums of `_add`, in float32.

    Args:
        shape: `(4, M)`.
        seen: `(3, M)`.
        start: the first vertex.
        end: the one after the last.
        stride: one vertex in so many.
        m: `(12,)` float32: rows of the matrix from the shape to the camera, and the place.
        sums: `(27,)` float64.
    """
    zero = np.float32(0.0)
    s00 = s01 = s02 = s11 = s12 = s22 = zero
    s03 = s13 = s23 = s04 = s14 = s24 = s05 = s15 = s25 = zero
    s33 = s35 = s45 = s55 = zero
    r0 = r1 = r2 = r3 = r4 = r5 = zero
    square = weight = zero
    for n in range(start, end, stride):
        x, y, z, w = shape[0, n], shape[1, n], shape[2, n], seen[2, n]
        qx = m[0] * x + m[1] * y + m[2] * z
        qy = m[3] * x + m[4] * y + m[5] * z
        qz = m[6] * x + m[7] * y + m[8] * z
        inverse = np.float32(1.0) / (qz + m[11])
        u, v = (qx + m[9]) * inverse, (qy + m[10]) * inverse
        ru, rv = seen[0, n] - u, seen[1, n] - v
        # Rows of the Jacobian of u and v over `inverse`: by rotation, then (1, 0, -u), (0, 1, -v).
        e0, e1, e2 = -u * qy, qz + u * qx, -qy
        h0, h1, h2 = -v * qy - qz, v * qx, qx
        once = w * inverse
        twice = once * inverse
        s00 += twice * (e0 * e0 + h0 * h0)
        s01 += twice * (e0 * e1 + h0 * h1)
        s02 += twice * (e0 * e2 + h0 * h2)
        s11 += twice * (e1 * e1 + h1 * h1)
        s12 += twice * (e1 * e2 + h1 * h2)
        s22 += twice * (e2 * e2 + h2 * h2)
        s03 += twice * e0
        s13 += twice * e1
        s23 += twice * e2
        s04 += twice * h0
        s14 += twice * h1
        s24 += twice * h2
        s05 -= twice * (u * e0 + v * h0)
        s15 -= twice * (u * e1 + v * h1)
        s25 -= twice * (u * e2 + v * h2)
        s33 += twice
        s35 -= twice * u
        s45 -= twice * v
        s55 += twice * (u * u + v * v)
        r0 += once * (e0 * ru + h0 * rv)
        r1 += once * (e1 * ru + h1 * rv)
        r2 += once * (e2 * ru + h2 * rv)
        r3 += once * ru
        r4 += once * rv
        r5 -= once * (u * ru + v * rv)
        square += w * (ru * ru + rv * rv)
        weight += w
    here = (
        s00, s01, s02, s03, s04, s05, s11, s12, s13, s14, s15, s22, s23, s24, s25,
        s33, s35, s45, s55, r0, r1, r2, r3, r4, r5, square, weight,
    )  # fmt: skip
    for i in range(27):
        sums[i] += here[i]


@inner()
def _add(shape: Any, seen: Any, stride: Any, unit: Any, state: Any, matrix: Any) -> Any:
    """The normal equations `(6, 7)`: the upper half of the matrix, and the right side.

    Returns:
        The weighted mean square residual; NaN where no vertex counts.
    """
    m, sums = np.empty(12, np.float32), np.zeros(27)
    for i in range(9):
        m[i] = state[i] * (unit if i < 3 else -unit)
    for i in range(3):
        m[9 + i] = state[9 + i]
    count = shape.shape[1]
    for start in range(0, count, BLOCK * stride):
        _add_block(shape, seen, start, min(start + BLOCK * stride, count), stride, m, sums)
    weight = sums[26]
    if not weight > 0.0:
        return np.nan
    k = 0
    for i in range(6):
        for j in range(i, 6):
            if i == 3 and j == 4:
                matrix[i, j] = 0.0
            elif i == 4 and j == 4:
                matrix[i, j] = matrix[3, 3]
            else:
                matrix[i, j] = sums[k] / weight
                k += 1
        matrix[i, 6] = sums[19 + i] / weight
    return sums[25] / weight


@inner()
def _solve(matrix: Any, step: Any) -> Any:
    """Solve the normal equations by Cholesky's method; false where they have no solution."""
    lower = np.zeros((6, 6))
    for i in range(6):
        for j in range(i + 1):
            value = matrix[j, i]
            for k in range(j):
                value -= lower[i, k] * lower[j, k]
            if i == j:
                if not value > 1e-14 * matrix[i, i]:
                    return False
                lower[i, i] = math.sqrt(value)
            else:
                lower[i, j] = value / lower[j, j]
    for i in range(6):
        value = matrix[i, 6]
        for k in range(i):
            value -= lower[i, k] * step[k]
        step[i] = value / lower[i, i]
    for i in range(5, -1, -1):
        value = step[i]
        for k in range(i + 1, 6):
            value -= lower[k, i] * step[k]
        step[i] = value / lower[i, i]
    return True


@inner()
def _improve(shape: Any, seen: Any, stride: Any, lens: Any, unit: Any, state: Any) -> Any:
    """One step of Gauss-Newton.

    Returns:
        Its size, against the distance and in radians; NaN where there is none to be had.
    """
    matrix, step = np.empty((6, 7)), np.empty(6)
    square = _add(shape, seen, stride, unit, state, matrix)
    state[12] = 0.5 * (lens[0] + lens[1]) * math.sqrt(square)
    if not square < np.inf or not _solve(matrix, step):
        return np.nan
    _turn(step[:3], state[:9].reshape(3, 3))
    size = 0.0
    for i in range(3):
        size += abs(step[i]) + abs(step[3 + i] / state[11])
    for i in range(3):
        state[9 + i] += step[3 + i]
    return size if state[11] > 0.0 else np.nan


@cpu_loop()
def _refine(vertices: Any, used: Any, shape: Any, lens: Any, unit: Any, state: Any) -> None:
    seen = np.empty((3, used.shape[0]), np.float32)
    _look(vertices, used, shape, lens, seen)
    stride = STRIDE if used.shape[0] >= 100 * STRIDE else 1
    for _ in range(ROUNDS):
        size = _improve(shape, seen, stride, lens, unit, state)
        if not size < np.inf:
            state[:] = np.nan
            return
        if size < SMALL:
            break
    # The last step sees all: from so near it is the last one that is needed.
    if stride > 1 and not _improve(shape, seen, 1, lens, unit, state) < np.inf:
        state[:] = np.nan
        return
    matrix_to_euler(state[:9].reshape(3, 3), state[13:16])
