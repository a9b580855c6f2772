"""What a face shows besides its shape: coefficients of expressions, and where its eyes look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BLENDSHAPES", "Eye", "Gaze"]

#: Names of the coefficients of `Face.blendshapes`, in their order: the 52 of ARKit, with the
#: subject's left and right.
BLENDSHAPES = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight",
    "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft",
    "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight",
    "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight",
    "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
    "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft",
    "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft",
    "noseSneerRight", "tongueOut",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Eye:
    """Where one eye looks, and how far it is open; NaN where its points are not finite.

    Attributes:
        direction: `(3,)` float32, a unit vector in the axes of `Pose`: x right in the picture, y
            up, z towards the camera. `(0, 0, 1)` looks into the camera.
        yaw: degrees, 0 into the camera; the sign of a head's yaw, as is that of `pitch`.
        pitch: degrees, positive where it looks up.
        openness: the distance of the lids over that of the corners: about 0.3 for an open eye,
            below 0.12 for a closed one.
    """

    direction: NDArray[np.float32]
    yaw: float
    pitch: float
    openness: float


@dataclass(frozen=True, slots=True)
class Gaze:
    """Both eyes; left and right are the subject's."""

    right: Eye
    left: Eye
