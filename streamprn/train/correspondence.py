"""Where the 468 points of Face Mesh lie on a linear head model.

The canonical face is laid onto the model's mean by its landmarks, bent until it lies on the
surface, and each point tied to the nearest place of a quad. What the labels then say on average
against the fitted model moves the points along the surface (`corrected`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.train.layout import POINTS, load_layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import Float32
    from streamprn.train.linear_model import LinearModel

#: Points of the outline of the face, which slide along it and so say little.
# fmt: off
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
# fmt: on
_STEPS = 5
_ROUNDS = 5


def similarity(
    source: NDArray[Any], target: NDArray[Any], weights: NDArray[Any] | None = None
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Scale, rotation and translation of `(n, 3)` points onto others, by least squares (Umeyama).

    Returns:
        s, R `(3, 3)`, t `(3,)` of `target = s R source + t`.
    """
    weight = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    weight = weight / weight.sum()
    from_mean, to_mean = weight @ source, weight @ target
    cross = ((target - to_mean) * weight[:, None]).T @ (source - from_mean)
    left, singular, right = np.linalg.svd(cross)
    signs = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    turn = left @ np.diag(signs) @ right
    scale = float((singular * signs).sum() / (weight @ ((source - from_mean) ** 2).sum(1)))
    return scale, turn, to_mean - scale * turn @ from_mean


class Surface:
    """Places on the quads of a model's face: `STEPS` x `STEPS` in each."""

    def __init__(self, model: LinearModel) -> None:
        from scipy.spatial import cKDTree

        steps = np.linspace(0, 1, _STEPS)
        u, v = (part.ravel() for part in np.meshgrid(steps, steps))
        self._mix = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], 1)
        self._quads = model.quads[: model.face_quads]
        self._count = len(model.mean)
        corners = model.mean[self._quads].astype(np.float64)
        self.places = np.einsum("kc,fcd->fkd", self._mix, corners).reshape(-1, 3)
        self._tree = cKDTree(self.places)

    def nearest(self, points: NDArray[Any]) -> NDArray[Any]:
        """Index of the place that is nearest to each point `(n, 3)`."""
        return np.asarray(self._tree.query(points)[1])

    def rows(self, places: NDArray[Any]) -> Float32:
        """Rows `(n, V)` that make these places of the model's vertices."""
        quad, step = np.divmod(places, _STEPS * _STEPS)
        rows = np.zeros((len(places), self._count), np.float32)
        index = np.arange(len(places))[:, None]
        np.add.at(rows, (index, self._quads[quad]), self._mix[step].astype(np.float32))
        return rows


def first_guess(model: LinearModel, surface: Surface) -> Float32:
    """`(468, V)` float32: the points as mixes of the model's vertices, by shape alone."""
    from scipy.interpolate import RBFInterpolator

    layout = load_layout()
    inner = layout.landmarks[17:].astype(np.float64)
    targets = model.mean[model.landmarks[17:]].astype(np.float64)
    canonical = layout.canonical.astype(np.float64)
    scale, turn, shift = similarity(inner @ canonical, targets)
    points = scale * canonical @ turn.T + shift
    for smoothing in (0.02, *(0.05,) * _ROUNDS):
        ends = inner @ points
        points += RBFInterpolator(ends, targets - ends, kernel="linear", smoothing=smoothing)(
            points
        )
        away = surface.places[surface.nearest(points)] - points
        points += 0.8 * RBFInterpolator(points, away, kernel="linear", smoothing=3)(points)
    return surface.rows(surface.nearest(points))


def corrected(rows: Float32, model: LinearModel, surface: Surface, offset: NDArray[Any]) -> Float32:
    """The rows moved along the surface by what labels say, but for the outline.

    Args:
        rows: `(468, V)`, as of `first_guess`.
        model: of the head.
        surface: its.
        offset: `(468, 3)`, how far labels lie from the fitted model on average, its units.
    """
    moved = surface.rows(surface.nearest(rows @ model.mean + offset))
    moved[list(OVAL)] = rows[list(OVAL)]
    return moved


def point_weights() -> Float32:
    """`(468,)` float32, how much a point counts in the fit."""
    weights = np.ones(POINTS, np.float32)
    weights[list(OVAL)] = 0.3
    return weights
