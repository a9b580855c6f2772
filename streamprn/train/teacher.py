"""The teacher: what `facemesh2` says of a face, averaged over several looks at it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.engines.detectors import open_detector
from streamprn.engines.engine import open_engine
from streamprn.engines.head import HeadShape
from streamprn.engines.protocol import CropRule
from streamprn.kernels import warp
from streamprn.records import FrameImage, Roi
from streamprn.train.layout import POINTS, load_layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import Float32, UInt8

#: Side of the pictures in the data set; they show 2.1 times the face.
CROP = 192
CROP_RULE = CropRule(CROP, CROP, box_scale=2.1, track_scale=2.1, square="max")
# Pixels a face's box must have at least.
_LEAST_BOX = 48
# Outer corners of the subject's right and left eye among the 468 points.
_EYES = (33, 263)


@dataclass(frozen=True)
class Taught:
    """One labelled face.

    Attributes:
        crop: `(192, 192, 4)` uint8 RGB and whether the picture reaches there (255).
        points: `(468, 3)` float32 pixels of the crop, x right, y down, z to the camera, mean 0.
        spread: how far the looks differ, in parts of the face.
    """

    crop: UInt8
    points: Float32
    spread: float


class Teacher:
    """Labels pictures; one object serves one thread.

    Args:
        looks: how often the network sees each face; every second look is mirrored.
    """

    def __init__(self, looks: int = 6) -> None:
        self._looks = looks
        self._engine = open_engine("facemesh2", threads=1, max_batch=1)
        self._head = HeadShape(self._engine.topology)
        self._detector = open_detector("short", threads=1)
        self._mirror = load_layout().mirror

    def close(self) -> None:
        """Free what the networks hold."""
        self._engine.close()
        self._detector.close()

    def teach(self, rgb: UInt8, rng: np.random.Generator) -> Taught | str:
        """Label the face nearest to the middle of a picture.

        Args:
            rgb: `(H, W, 3)` uint8.
            rng: draws the looks.

        Returns:
            The label, or why there is none: "no face", "small".
        """
        height, width = rgb.shape[:2]
        image = FrameImage.from_rgb(rgb)
        found = self._detector.detect(image) or self._detector.detect_tiled(image)
        if not found:
            return "no face"
        middle = np.array([width, height]) / 2

        def importance(box: NDArray[Any]) -> float:
            off = np.linalg.norm((box[:2] + box[2:]) / 2 - middle) / max(width, height)
            return float((box[2] - box[0]) * (1 - 0.7 * off))

        best = max(found, key=lambda one: importance(one.box_xyxy))
        if best.box_xyxy[2] - best.box_xyxy[0] < _LEAST_BOX:
            return "small"
        roi = self._next(rgb, self._engine.crop.roi_from_detection(best))
        roi = self._next(rgb, roi)
        points, spread = self._average(rgb, roi, rng)
        return Taught(*_cut(rgb, points), spread)

    def _next(self, rgb: UInt8, roi: Roi) -> Roi:
        crop = warp.warp_rgb(rgb, self._engine.crop.frame_from_crop(roi), self._engine.crop.size)
        (surface,) = self._engine.infer(crop).surfaces
        box, landmarks = surface.outline()
        turn = self._head.fit(landmarks).turn
        return self._engine.crop.next_roi(roi, box, landmarks, turn)

    def _look(self, rgb: UInt8, roi: Roi) -> Float32:
        """`(468, 3)` pixels of the picture, z of mean 0."""
        rule = self._engine.crop
        matrix = rule.frame_from_crop(roi)
        crop = warp.warp_rgb(rgb, matrix, rule.size, border="replicate")
        (surface,) = self._engine.infer(crop).surfaces
        points: Float32 = surface.points[:POINTS]  # type: ignore[attr-defined]
        flat = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        depth = (points[:, 2] - points[:, 2].mean()) * rule.depth_scale(roi)
        return np.column_stack([flat, depth]).astype(np.float32)

    def _average(self, rgb: UInt8, roi: Roi, rng: np.random.Generator) -> tuple[Float32, float]:
        last = rgb.shape[1] - 1
        mirrored = np.ascontiguousarray(rgb[:, ::-1])
        looks = []
        for look in range(self._looks):
            jittered = roi if look == 0 else _jitter(roi, rng)
            if look % 2:
                other = replace(jittered, cx=last - jittered.cx, roll=-jittered.roll)
                points = self._look(mirrored, other)[self._mirror]
                points[:, 0] = last - points[:, 0]
            else:
                points = self._look(rgb, jittered)
            looks.append(points)
        mean = np.mean(looks, axis=0)
        away = (np.array(looks) - mean)[:, :, :2]
        spread = math.sqrt(float((away**2).sum(2).mean())) / roi.side * 1.5
        return mean.astype(np.float32), spread


def _jitter(roi: Roi, rng: np.random.Generator) -> Roi:
    dx, dy = rng.normal(0, 0.03, 2) * roi.side
    return Roi(
        roi.cx + dx,
        roi.cy + dy,
        roi.side * math.exp(rng.normal(0, 0.05)),
        roi.roll + rng.normal(0, 0.08),
    )


def _cut(rgb: UInt8, points: Float32) -> tuple[UInt8, Float32]:
    """The crop around a face, upright, and its points in it."""
    right, left = points[_EYES[0]], points[_EYES[1]]
    roll = math.atan2(float(left[1] - right[1]), float(left[0] - right[0]))
    cos, sin = math.cos(roll), math.sin(roll)
    upright = points[:, :2] @ np.array([[cos, -sin], [sin, cos]])
    low, high = upright.min(0), upright.max(0)
    centre = np.array([[cos, -sin], [sin, cos]]) @ ((low + high) / 2)
    side = CROP_RULE.track_scale * float((high - low).max())
    roi = Roi(float(centre[0]), float(centre[1]), side, roll)
    matrix = CROP_RULE.frame_from_crop(roi)
    crop = np.empty((CROP, CROP, 4), np.uint8)
    crop[:, :, :3] = np.rint(warp.warp_rgb(rgb, matrix, CROP, scale=1.0)[0])
    column, row = np.meshgrid(np.arange(CROP), np.arange(CROP))
    at = np.stack([column, row], 2) @ matrix[:, :2].T + matrix[:, 2]
    inside = (at > -0.5).all(2) & (at < (rgb.shape[1] - 0.5, rgb.shape[0] - 0.5)).all(2)
    crop[:, :, 3] = 255 * inside
    back = CROP_RULE.crop_from_frame(roi)
    flat = points[:, :2] @ back[:, :2].T + back[:, 2]
    depth = points[:, 2] / CROP_RULE.depth_scale(roi)
    return crop, np.column_stack([flat, depth]).astype(np.float32)
