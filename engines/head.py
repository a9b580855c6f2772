"""The roll of a head, and how well a head explains the points that were found of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamprn.kernels import pose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.engines.topology import Topology

    Float32 = NDArray[np.float32]

# Outer corners of the subject's right and left eye, iBUG/300-W order.
OUTER_EYE_CORNERS = (36, 45)


@dataclass(frozen=True, slots=True)
class HeadFit:
    """The canonical head brought over 68 points.

    Attributes:
        turn: the head's roll, radians, clockwise on the screen.
        size: root mean square distance of the head's 68 points from their mean, in the unit of the
            points.
        yaw: how far the head is turned from the camera to either side, degrees, 0..180.
        residual: root mean square distance between the head and the points, over `size`.
        facing: the direction to the camera in the axes of the head: x to its left, y up, z out of
            the face.
    """

    turn: float
    size: float
    yaw: float
    residual: float
    facing: tuple[float, float, float] = (0.0, 0.0, 1.0)


class HeadShape:
    """The 68 points of a topology's rest shape, which tell the roll of any head.

    Args:
        topology: of the engine.
    """

    def __init__(self, topology: Topology) -> None:
        canonical = np.ascontiguousarray(topology.canonical[topology.landmarks])
        self._reference = pose.Reference(canonical)
        right, left = (canonical[corner] for corner in OUTER_EYE_CORNERS)
        self._eyes = max(float(np.linalg.norm(left - right)), 1e-9)

    def fit(self, landmarks: Float32) -> HeadFit:
        """The head that fits best.

        The roll is that of the line between the eyes as far as this is seen in its full length, and
        of the head's own up axis as far as it is foreshortened: in profile the corners of the eyes
        lie on each other, and the line between them has no direction. In front of the camera it is
        the line of the eyes alone.

        Args:
            landmarks: `(68, 3)` float32, x right, y down, z towards the camera, in one unit.
        """
        found = pose.estimate(landmarks, self._reference)
        rotation, scale = found.rotation.tolist(), max(found.scale, 1e-9)
        right, left = OUTER_EYE_CORNERS
        x, y = ((landmarks[left, :2] - landmarks[right, :2]) / (scale * self._eyes)).tolist()
        hidden = max(0.0, 1.0 - x * x - y * y)
        turn = math.atan2(y + hidden * rotation[0][1], x + hidden * rotation[1][1])
        yaw = math.degrees(math.atan2(abs(rotation[0][2]), rotation[2][2]))
        # Of the best similarity, what is left is what the points have more than the head.
        spread, count = scale * scale * self._reference.spread, len(landmarks)
        centred = landmarks - landmarks.sum(axis=0) / np.float32(count)
        rest = max(float(np.vdot(centred, centred)) / count - spread, 0.0)
        residual = math.sqrt(rest / max(spread, 1e-18))
        return HeadFit(turn, math.sqrt(spread), yaw, residual, tuple(rotation[2]))
