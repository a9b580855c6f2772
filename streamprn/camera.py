"""A camera, and where in space it sees a face."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Millimetres between the pupils of adults on average (Dodgson, SPIE 2004: 63.36, rounded).
PUPIL_DISTANCE_MM = 63.0


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole with lens distortion, and the size of the faces before it.

    Attributes:
        fx: focal length, pixels, horizontally.
        fy: the same vertically.
        cx: the principal point, pixels; pixel centres are at integers.
        cy: the same vertically.
        distortion: k1, k2, p1, p2, k3, as OpenCV has them.
        pupil_distance_mm: between the pupils of a face: what turns its size into a distance.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    pupil_distance_mm: float = PUPIL_DISTANCE_MM

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.distortion, self.pupil_distance_mm)
        positive = min(self.fx, self.fy, self.pupil_distance_mm) > 0
        if not (positive and len(self.distortion) == 5 and all(map(math.isfinite, numbers))):
            raise ValueError("a camera has finite numbers, focal lengths > 0, five distortions")

    @classmethod
    def of_view(
        cls, hfov: float, width: int, height: int, pupil_distance_mm: float = PUPIL_DISTANCE_MM
    ) -> Camera:
        """A camera without distortion whose optical axis goes through the middle of the picture.

        Args:
            hfov: horizontal field of view, degrees, between 0 and 180.
            width: of the picture, pixels.
            height: of the picture, pixels.
            pupil_distance_mm: see `Camera`.
        """
        if not 0 < hfov < 180:
            raise ValueError(f"a field of view of {hfov} degrees is not between 0 and 180")
        focal = 0.5 * width / math.tan(math.radians(0.5 * hfov))
        centre = 0.5 * (width - 1), 0.5 * (height - 1)
        return cls(focal, focal, *centre, pupil_distance_mm=pupil_distance_mm)

    def cropped(self, x: int, y: int) -> Camera:
        """The camera of a part of the picture whose first pixel is (x, y)."""
        return replace(self, cx=self.cx - x, cy=self.cy - y)


@dataclass(frozen=True, slots=True)
class MetricPose:
    """Where a head is in the frame of its camera, and how it is turned there.

    A vertex X of the canonical shape (y up, z towards the camera) is at
    `diag(1, -1, -1) @ (mm_per_unit * rotation @ X) + translation_mm`. NaN throughout where the
    vertices give no pose.

    Attributes:
        rotation: `(3, 3)` float64, proper, in the axes of the canonical shape: the identity is a
            face that looks along the optical axis towards the camera.
        translation_mm: `(3,)` float64: x right, y down, z away from the camera.
        eyes_mm: `(3,)` float64, the middle between the eyes, likewise.
        mm_per_unit: size of the face: millimetres per canonical unit.
        yaw: degrees, AFLW2000-3D sign convention, as are pitch and roll.
        pitch: degrees.
        roll: degrees.
        quaternion: `(4,)` float64, w x y z, w >= 0.
        error_px: RMS of the vertices' distances from where this pose puts them, pixels.
    """

    rotation: NDArray[np.float64]
    translation_mm: NDArray[np.float64]
    eyes_mm: NDArray[np.float64]
    mm_per_unit: float
    yaw: float
    pitch: float
    roll: float
    quaternion: NDArray[np.float64]
    error_px: float
