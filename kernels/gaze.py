"""Where the eyes look, and how far they are open, from MediaPipe's 478 points.

An eye is a sphere that lies behind its corners and turns about its centre E; its iris is seen at
the point I of its surface. With the axes of `streamprn.records.Pose` (x right, y up, z towards the
camera), R the head's rotation, C the middle of the two corners and w their distance (the mean of
both eyes, which a turned head foreshortens less):

    E = C + w R (0, RAISED, -DEPTH)
    g_xy = (I - E)_xy / (RADIUS w),  g_z = sqrt(1 - |g_xy|^2)

The network's z of an iris is not used: it is too flat to tell a direction. The constants come from
the eye's anatomy over a palpebral fissure of 26.6 mm, which is the distance of these corners in
MediaPipe's canonical face: the iris lies 10.5 mm before the centre of a globe of 12 mm radius
(sqrt(12^2 - 5.85^2), with an iris of 11.7 mm), and the centre 6.7 mm behind the corners and 1.3 mm
above them. A camera near the face sees it under an angle that this weak-perspective model leaves
out.

Openness is the mean distance of three pairs of points of the lids over w of the eye itself, the
"eye aspect ratio" (Soukupova and Cech, "Real-Time Eye Blink Detection using Facial Landmarks",
2016), here in three dimensions.

A face has some twenty numbers of this: NumPy takes less time than the call of a compiled loop.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from streamprn.records import Eye, Gaze

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["POINTS", "estimate"]

POINTS = 478

#: Of the distance of an eye's corners.
RADIUS, DEPTH, RAISED = 0.395, 0.25, 0.05

# The subject's right eye first. Corners; upper and lower lid, from the outer side; the iris.
_CORNERS = np.array([(33, 133), (263, 362)])
_UPPER = np.array([(160, 159, 158), (387, 386, 385)])
_LOWER = np.array([(144, 145, 153), (373, 374, 380)])
_IRIS = np.array([468, 473])
_AXES = np.array([1.0, -1.0, 1.0])


def estimate(xyz_px: NDArray[np.float32], rotation: NDArray[np.float64]) -> Gaze:
    """Where the eyes look.

    Args:
        xyz_px: `(478, 3)` float32, see `streamprn.records.MeshPoints`.
        rotation: `(3, 3)` float64, of the head, see `streamprn.records.Pose`.

    Returns:
        Both eyes; NaN where the points are not finite or an eye has no width.
    """
    if len(xyz_px) < POINTS:
        raise ValueError(f"points must be ({POINTS}, 3), not {xyz_px.shape}")
    with np.errstate(all="ignore"):
        corners, upper, lower = (xyz_px[indices] * _AXES for indices in (_CORNERS, _UPPER, _LOWER))
        widths = np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1)
        width = widths.mean()
        centres = corners.mean(axis=1) + width * (rotation @ (0.0, RAISED, -DEPTH))
        across = (xyz_px[_IRIS] * _AXES - centres)[:, :2] / (RADIUS * width)
        # An iris beyond the sphere's outline lies on it.
        across /= np.maximum(1.0, np.linalg.norm(across, axis=1))[:, None]
        gaps = np.linalg.norm(upper - lower, axis=2).mean(axis=1) / widths
    right, left = (
        _eye(float(x), float(y), float(gap)) for (x, y), gap in zip(across, gaps, strict=True)
    )
    return Gaze(right, left)


def _eye(x: float, y: float, openness: float) -> Eye:
    z = math.sqrt(max(0.0, 1.0 - x * x - y * y)) if math.isfinite(x + y) else math.nan
    direction = np.array([x, y, z], np.float32)
    direction.flags.writeable = False
    if not math.isfinite(z):
        return Eye(direction, math.nan, math.nan, openness)
    # The signs of a head that faces there, whose rotation has the direction as its third column.
    yaw = math.degrees(math.asin(max(-1.0, min(1.0, -x))))
    return Eye(direction, yaw, math.degrees(math.atan2(y, z)), openness)
