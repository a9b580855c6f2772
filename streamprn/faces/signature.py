"""What a face looks like, in a few numbers, so that it is known again without another network.

A signature holds the colours of the face at the points of a grid that lies on it: they follow from
the 68 landmarks as a thin plate follows its pins (Bookstein, PAMI 1989). It costs some tens of
microseconds, and serves within one stream: it is no recognition of people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamprn.kernels import looks, patches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.engines.score import Look
    from streamprn.records import FrameImage

    Float32 = NDArray[np.float32]

__all__ = ["Signature", "SignatureGrid"]

# Points along the side of the grid, before those beside the face are left out.
_SIDE = 18
# Half the side of the square that a colour is taken from, in distances between points.
_REACH = 0.4
# The grid reaches from the chin so far above the brows, as a part of the height between them.
_FOREHEAD = 0.45
# Points that are turned from the camera by more than the angle of this cosine count nothing.
_GRAZING = 0.25
# The least part of the face that must be seen.
_LEAST = 0.2
# Beyond this sine of the yaw a face is remembered by its side.
_SIDEWAYS = 0.35
# Two colours that differ by so many of 255 levels are not of the same skin in the same light.
_COLOUR_LEVELS = 30.0
# BT.601, levels of 0..255.
_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], np.float32
)

_NEUTRAL = np.array([[0], [128], [128]], np.float32)


@dataclass(frozen=True, slots=True)
class Signature:
    """The look of a face in one frame.

    Attributes:
        colours: `(3, N)` float32: luma, less its mean and over its deviation, and Cb and Cr in
            levels of 255.
        weights: `(N,)` float32, 0..1: how far each point faces the camera; 0 outside the frame.
        side: where the camera stands, seen from the head: -1 at its right, 0 before it, 1.
    """

    colours: Float32
    weights: Float32
    side: int

    def likeness(self, other: Signature) -> float:
        """How alike two faces are: near 1 for the same, -1 at the least.

        The weighted correlation of the luma of the points that both show, less the mean distance
        of their chroma, as a part of what tells two skins apart.
        """
        total, correlation, levels = looks.likeness(
            self.colours, self.weights, other.colours, other.weights
        )
        if total < _LEAST * self.weights.size * _GRAZING:
            return -1.0
        return max(correlation - levels / _COLOUR_LEVELS, -1.0)

    def mixed(self, other: Signature, part: float) -> Signature:
        """This one, moved towards another by a part."""
        step = np.float32(part)
        return Signature(
            self.colours + step * (other.colours - self.colours),
            self.weights + step * (other.weights - self.weights),
            self.side,
        )


class SignatureGrid:
    """Where on the face the colours are taken.

    Args:
        canonical: `(68, 3)` rest shape of the landmarks, x right, y up, z towards the camera.
    """

    def __init__(self, canonical: NDArray[np.floating]) -> None:
        pins = np.asarray(canonical, np.float64)
        jaw, brows = pins[8, 1], pins[17:27, 1].max()
        centre = np.array([pins[:, 0].mean(), jaw + 0.5 * (1 + _FOREHEAD) * (brows - jaw)])
        half = np.array([0.5 * np.ptp(pins[:, 0]), 0.5 * (1 + _FOREHEAD) * (brows - jaw)])
        steps = np.linspace(-1, 1, _SIDE)
        disc = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        disc = disc[(disc**2).sum(axis=1) <= 0.9]
        points = centre + half * disc
        self._carriers = np.ascontiguousarray(_thin_plate(pins[:, :2], points), np.float32)
        size = np.sqrt(((pins - pins.mean(axis=0)) ** 2).sum(axis=1).mean())
        self._reach = _REACH * 2 * float(half[1] / size) / (_SIDE - 1)
        self._normals = np.ascontiguousarray(_normals(pins, points, 0.01 * half[1]), np.float32)

    @property
    def count(self) -> int:
        """N."""
        return len(self._carriers)

    def take(self, image: FrameImage, frame_from_crop: Float32, look: Look) -> Signature | None:
        """The signature of a face.

        Args:
            image: the frame.
            frame_from_crop: `(2, 3)` float32, of the crop that the network saw.
            look: what the network said.

        Returns:
            None where too little of it is in the frame, or the frame's pixels are on a GPU.
        """
        points, weights, total = looks.place(
            self._carriers,
            self._normals,
            look.landmarks,
            look.fit.facing,
            frame_from_crop,
            (image.width, image.height),
            _GRAZING,
        )
        if not total > _LEAST * self.count:
            return None
        scale = float(np.hypot(frame_from_crop[0, 0], frame_from_crop[1, 0]))
        colours = _colours(image, points, self._reach * scale * look.fit.size)
        if colours is None:
            return None
        looks.normalise(colours[0], weights)
        x = look.fit.facing[0]
        return Signature(colours, weights, 0 if abs(x) < _SIDEWAYS else 1 if x > 0 else -1)


def _colours(image: FrameImage, points: Float32, reach_px: float) -> Float32 | None:
    """Y, Cb and Cr `(3, N)` float32 around points `(N, 2)`."""
    if image.has_rgb or (image.planes is None and image.device is None):
        rgb = patches.means_rgb(image.rgb, points, reach_px)
        return np.asarray(_YCBCR @ rgb + _NEUTRAL, np.float32)
    if image.planes is None:
        return None
    return np.asarray(patches.means_yuv(image.planes, points, reach_px), np.float32)


def _thin_plate(pins: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights `(N, P)` that carry values at pins `(P, 2)` to points `(N, 2)`."""
    count = len(pins)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _bend(pins, pins)
    system[:count, count] = 1
    system[:count, count + 1 :] = pins
    system[count:, :count] = system[:count, count:].T
    rows = np.hstack([_bend(points, pins), np.ones((len(points), 1)), points])
    # Landmarks of an engine may share a vertex: the system then is singular, its answer is not.
    return np.asarray(np.linalg.lstsq(system, rows.T, rcond=None)[0][:count].T, np.float64)


def _bend(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    square = ((one[:, None] - two[None]) ** 2).sum(axis=2)
    bend: NDArray[np.float64] = square * np.log(np.maximum(square, 1e-30))
    return bend


def _normals(
    pins: NDArray[np.float64], points: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """Unit normals `(N, 3)` of the plate through the pins `(P, 3)`, out of the face."""
    slopes = []
    for axis in range(2):
        shift = np.zeros(2)
        shift[axis] = step
        ahead, behind = (
            _thin_plate(pins[:, :2], points + sign * shift) @ pins[:, 2] for sign in (1, -1)
        )
        slopes.append((ahead - behind) / (2 * step))
    normals = np.stack([-slopes[0], -slopes[1], np.ones(len(points))], axis=1)
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True), np.float64)
