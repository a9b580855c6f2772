"""A linear head model fitted to the 468 points of many faces at once.

Identity, expression (none below zero) and pose in turn, with a prior on the coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import Float32
    from streamprn.train.linear_model import LinearModel

# From the axes of pictures (x right, y down, z to the camera) to those of models (y up).
FLIP = np.array([1, -1, 1], np.float32)
_MOST_EXPRESSION = 1.2
_SWEEPS = 12
# Neighbouring points err together: they carry this part of what independent ones would.
_INDEPENDENT = 1 / 6
#: Standard error of a point, in parts of the head's size, and the priors' strengths.
_ERROR, _IDENTITY_PRIOR, _EXPRESSION_PRIOR = 0.0125, 0.24, 0.6


@dataclass(frozen=True)
class Fit:
    """N fitted faces; model axes have y up.

    Attributes:
        coefficients: `(N, K)` float32.
        scale: `(N,)` float32, pixels a unit of the model.
        rotation: `(N, 3, 3)` float32.
        translation: `(N, 3)` float32, pixels, y up.
        shape: `(N, 468, 3)` the points as the model has them, its frame.
        teacher: `(N, 468, 3)` the points as the teacher has them, in the model's frame.
    """

    coefficients: Float32
    scale: Float32
    rotation: Float32
    translation: Float32
    shape: Float32
    teacher: Float32

    @property
    def angles(self) -> Float32:
        """`(N, 3)` degrees: pitch, yaw, roll."""
        turn = self.rotation
        pitch = np.arctan2(turn[:, 1, 2], turn[:, 2, 2])
        yaw = np.arcsin(np.clip(-turn[:, 0, 2], -1, 1))
        roll = np.arctan2(turn[:, 0, 1], turn[:, 0, 0])
        return np.asarray(np.degrees(np.stack([pitch, yaw, roll], 1)), np.float32)

    def residual(self, points: Float32) -> Float32:
        """`(N,)` mean 2D distance of model and teacher, percent of the face's size."""
        away = np.einsum("nij,nmj->nmi", self.rotation, self.shape - self.teacher)
        pixels = np.linalg.norm(away[:, :, :2], axis=2) * self.scale[:, None]
        extent = np.ptp(points[:, :, :2], axis=1)
        return np.asarray(pixels.mean(1) / np.sqrt(extent.prod(1)) * 100, np.float32)


class LinearFit:
    """Fits faces to a model.

    Args:
        model: of the head.
        rows: `(468, V)` float32, see `correspondence`.
        weights: `(468,)` float32, of the points.
    """

    def __init__(self, model: LinearModel, rows: Float32, weights: Float32) -> None:
        self._mean = rows @ model.mean
        basis = np.einsum("mv,kvd->kmd", rows, model.basis).astype(np.float32)
        self._count, self._identities = len(basis), model.identities
        self._basis = basis.reshape(self._count, -1)
        self._weights = weights / weights.sum()
        size = float(np.ptp(self._mean, axis=0)[:2].mean())
        precision = np.repeat(weights / (_ERROR * size) ** 2 * _INDEPENDENT, 3)
        self._weighted = self._basis * precision
        prior = np.full(self._count, _EXPRESSION_PRIOR, np.float32)
        prior[: model.identities] = _IDENTITY_PRIOR
        self._normal = self._weighted @ self._basis.T + np.diag(prior)
        self._inverse = np.linalg.inv(self._normal.astype(np.float64)).astype(np.float32)

    def __call__(self, points: Float32, rounds: int = 4) -> Fit:
        """Fit `(N, 468, 3)` points: pixels, x right, y down, z to the camera."""
        target = points.astype(np.float32) * FLIP
        found = np.zeros((len(points), self._count), np.float32)
        for step in range(rounds):
            scale, turn, shift = self._pose(self._shape(found), target)
            own = self._in_frame(target, scale, turn, shift)
            wanted = (own - self._mean).reshape(len(points), -1) @ self._weighted.T
            found = self._solve(found, wanted) if step else self._first(wanted)
        shape = self._shape(found)
        scale, turn, shift = self._pose(shape, target)
        own = self._in_frame(target, scale, turn, shift)
        return Fit(found, scale, turn, shift, shape, own)

    def _shape(self, coefficients: Float32) -> Float32:
        return np.asarray(
            self._mean + (coefficients @ self._basis).reshape(len(coefficients), -1, 3), np.float32
        )

    def _first(self, wanted: NDArray[Any]) -> Float32:
        found = wanted @ self._inverse
        k = self._identities
        found[:, k:] = found[:, k:].clip(0, _MOST_EXPRESSION)
        return np.asarray(found, np.float32)

    def _solve(self, found: Float32, wanted: NDArray[Any]) -> Float32:
        """Coordinate descent, as expressions are bounded."""
        for _ in range(_SWEEPS):
            for k in range(self._count):
                row = self._normal[k]
                value = found[:, k] + (wanted[:, k] - found @ row) / row[k]
                found[:, k] = value.clip(0, _MOST_EXPRESSION) if k >= self._identities else value
        return found

    def _pose(self, shape: Float32, target: Float32) -> tuple[Float32, Float32, Float32]:
        """Scale, rotation and translation of each shape onto its target."""
        weights = self._weights
        from_mean = np.einsum("m,nmd->nd", weights, shape)
        to_mean = np.einsum("m,nmd->nd", weights, target)
        source, goal = shape - from_mean[:, None], target - to_mean[:, None]
        cross = np.einsum("nmi,nmj->nij", goal * weights[:, None], source)
        left, singular, right = np.linalg.svd(cross)
        signs = np.ones_like(singular)
        signs[:, 2] = np.sign(np.linalg.det(left @ right))
        turn = (left * signs[:, None]) @ right
        spread = np.einsum("m,nmd,nmd->n", weights, source, source)
        scale = (singular * signs).sum(1) / spread
        shift = to_mean - scale[:, None] * np.einsum("nij,nj->ni", turn, from_mean)
        return scale.astype(np.float32), turn.astype(np.float32), shift.astype(np.float32)

    @staticmethod
    def _in_frame(target: Float32, scale: Float32, turn: Float32, shift: Float32) -> Float32:
        """Points of pictures in the frame of the model."""
        own = np.einsum("nji,nmj->nmi", turn, target - shift[:, None])
        return np.asarray(own / scale[:, None, None], np.float32)
