"""Errors of an engine on the pictures of a dataset.

The normalised mean error (NME) is the mean distance of the points over `sqrt(width * height)` of
the box around the true 68 points, in percent (Zhu et al., 2016). In 3D the depths are compared
relative to their means, as the projection leaves their origin open. The datasets of 300-W divide
by the distance of the outer corners of the eyes instead.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamprn.apps import images
from streamprn.engines.head import OUTER_EYE_CORNERS, HeadShape
from streamprn.errors import InputError, StreamPRNError
from streamprn.records import Roi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from streamprn.apps.datasets import Truth
    from streamprn.apps.reconstruction import Reconstruction, Reconstructor
    from streamprn.engines.protocol import CropRule
    from streamprn.engines.topology import Topology
    from streamprn.records import Float32, Float64, UInt8

YAW_BINS = ((0, 30), (30, 60), (60, 90))
# Feng et al., "Joint 3D Face Reconstruction and Dense Alignment with Position Map Regression
# Network", ECCV 2018: 68 points, 2D, by yaw and the mean of the three bins, percent.
PRN_PAPER_NME = (2.75, 3.51, 4.61, 3.62)
# The literature leaves out images with an angle beyond this, 31 of the 2,000.
LARGEST_ANGLE = 99.0
#: The 68 points without the jaw.
INNER = slice(17, 68)
#: As many yaws, without their sign, have a group of their own; more are grouped by `YAW_BINS`.
MAX_YAW_GROUPS = 8
_LEAST_OVERLAP = 0.1
# The 68 points end at the brows; a face's box does not.
_FOREHEAD = 0.25


def normalised_error(found: Float32, true: Float32, size: float, dimensions: int) -> float:
    """NME in percent of points `(K, 3)`; in 3D up to a shift in depth."""
    difference = (found[:, :dimensions] - true[:, :dimensions]).astype(np.float64)
    if dimensions == 3:
        difference[:, 2] -= difference[:, 2].mean()
    return float(100.0 * np.linalg.norm(difference, axis=1).mean() / size)


def angle_error(found: float, true: float) -> float:
    """Absolute difference of two angles in degrees, 0..180."""
    return abs((found - true + 180.0) % 360.0 - 180.0)


@dataclass(frozen=True, slots=True)
class Score:
    """Errors on one picture; NaN where no face was found there, or nothing is known.

    Attributes:
        truth: what the dataset says.
        found: whether a face was found where the dataset has one.
        landmarks: `(68, 3)` float32 of that face, frame pixels; None where they were not kept.
        nme_2d: percent of the box, all 68 points.
        nme_inner: the same of the 51 points without the jaw.
        nme_eyes: of all 68 points, in percent of the distance of the outer eye corners.
        nme_3d: percent of the box, all 68 points in 3D.
        nme_dense: the same of all vertices.
        pitch: error in degrees, as of yaw and roll.
        yaw: see pitch.
        roll: see pitch.
        found_yaw: degrees, what the face has.
        milliseconds: that it took.
    """

    truth: Truth
    found: bool
    landmarks: Float32 | None = None
    nme_2d: float = math.nan
    nme_inner: float = math.nan
    nme_eyes: float = math.nan
    nme_3d: float = math.nan
    nme_dense: float = math.nan
    pitch: float = math.nan
    yaw: float = math.nan
    roll: float = math.nan
    found_yaw: float = math.nan
    milliseconds: float = math.nan

    @property
    def error(self) -> float:
        """Percent of the box, or degrees of yaw where no landmarks are known; NaN where missed."""
        return self.yaw if math.isnan(self.nme_2d) else self.nme_2d

    @property
    def counts_for_pose(self) -> bool:
        """Whether the literature counts the picture's pose."""
        return self.found and bool((np.abs(self.truth.pitch_yaw_roll) <= LARGEST_ANGLE).all())


def score(truth: Truth, face: Reconstruction, milliseconds: float = math.nan) -> Score:
    """Compare a face with the truth."""
    pitch, yaw, roll = (float(value) for value in truth.pitch_yaw_roll)
    return Score(
        truth=truth,
        found=True,
        landmarks=face.landmarks,
        **_landmark_errors(truth, face.landmarks),
        nme_dense=_dense_error(truth, face),
        pitch=angle_error(face.pose.pitch, pitch),
        yaw=angle_error(face.pose.yaw, yaw),
        roll=angle_error(face.pose.roll, roll),
        found_yaw=face.pose.yaw,
        milliseconds=milliseconds,
    )


def _landmark_errors(truth: Truth, found: Float32) -> dict[str, float]:
    true = truth.landmarks
    if true is None:
        return {}
    right, left = (true[corner, :2].astype(np.float64) for corner in OUTER_EYE_CORNERS)
    width = max(float(np.linalg.norm(left - right)), 1e-6)
    return {
        "nme_2d": normalised_error(found, true, truth.size, 2),
        "nme_inner": normalised_error(found[INNER], true[INNER], truth.size, 2),
        "nme_eyes": normalised_error(found, true, width, 2),
        "nme_3d": normalised_error(found, true, truth.size, 3) if true.shape[1] == 3 else math.nan,
    }


def _dense_error(truth: Truth, face: Reconstruction) -> float:
    if truth.vertices is None or truth.vertices.shape != face.vertices.shape:
        return math.nan
    return normalised_error(face.vertices, truth.vertices, truth.size, 3)


class Evaluator:
    """Runs a reconstructor over a dataset.

    Args:
        reconstructor: the engine, and the detector for `crop="detector"`.
        read: the truth about a picture, see `datasets.Dataset`.
        crop: "detector", or "truth": crops made from the true landmarks.
    """

    def __init__(
        self, reconstructor: Reconstructor, read: Callable[[Path], Truth], crop: str = "detector"
    ) -> None:
        if crop not in ("detector", "truth"):
            raise InputError(f"crop {crop!r}: must be detector or truth")
        self.reconstructor = reconstructor
        self.read = read
        self.crop = crop
        self.scores: list[Score] = []
        self.failures: list[tuple[str, str]] = []

    def process(self, picture: Path) -> None:
        """Evaluate one picture; a bad file is noted in `failures`."""
        try:
            truth = self.read(picture)
            image = images.read_image(picture)
        except StreamPRNError as error:
            self.failures.append((str(picture), str(error)))
            return
        start = time.perf_counter()
        face = self._face(image, truth)
        milliseconds = 1e3 * (time.perf_counter() - start)
        missed = Score(truth, found=False)
        self.scores.append(missed if face is None else score(truth, face, milliseconds))

    def _face(self, image: UInt8, truth: Truth) -> Reconstruction | None:
        if self.crop == "truth":
            if truth.landmarks is None:
                raise InputError(
                    "crops by the truth need landmarks, which this dataset has not",
                    hint="leave out --crop truth",
                )
            engine = self.reconstructor.engine
            turn = _turn_of(engine.topology, truth.landmarks)
            roi = roi_from_landmarks(engine.crop, truth.landmarks, turn)
            return self.reconstructor.from_rois(image, [roi], [1.0])[0]
        faces = self.reconstructor.reconstruct(image)
        box = truth.box_xyxy
        if box is None:
            return faces[0] if faces else None  # the largest
        overlaps = [_overlap(_landmark_box(face.landmarks), box) for face in faces]
        if not faces or max(overlaps) < _LEAST_OVERLAP:
            return None
        return faces[int(np.argmax(overlaps))]


def _turn_of(topology: Topology, landmarks: Float32) -> float:
    """Roll of the head, radians; of points without depth that of the line between the eyes."""
    if landmarks.shape[1] == 3:
        return HeadShape(topology).fit(landmarks).turn
    right, left = (landmarks[corner] for corner in OUTER_EYE_CORNERS)
    return math.atan2(*reversed((left - right).tolist()))


def roi_from_landmarks(rule: CropRule, landmarks: Float32, turn: float) -> Roi:
    """The crop of a face whose 68 points `(68, 3)` and roll (radians) are known, as if followed."""
    # In this ROI crop pixels are frame pixels.
    middle = 0.5 * (rule.size - 1)
    frame = Roi(middle, middle, rule.span, 0.0)
    box = _landmark_box(landmarks)
    box[1] -= _FOREHEAD * (box[3] - box[1])
    return rule.next_roi(frame, box, landmarks, turn)


def _landmark_box(landmarks: Float32) -> Float32:
    points = landmarks[:, :2]
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float32)


def _overlap(a: Float32, b: Float32) -> float:
    """Intersection over union of two boxes `(4,)`."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.prod(np.maximum(high - low, 0.0)))
    total = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / max(total, 1e-6)


@dataclass(frozen=True, slots=True)
class YawGroup:
    """The faces of about one yaw, whichever side they turn to; degrees.

    Attributes:
        true: mean of their yaws, without their sign.
        reads: mean of what the engine says, positive towards the true side.
        error: mean absolute error.
        count: how many.
    """

    true: float
    reads: float
    error: float
    count: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A dataset's errors; NMEs in percent, angles in degrees, NaN where there is no picture.

    Attributes:
        pictures: how many were read.
        missed: how many of them show no face to the program; they count in none of the means.
        bins: 2D NME by yaw (`YAW_BINS`), then the mean of the bins.
        bins_3d: the same in 3D.
        bin_counts: pictures in each bin.
        nme_2d: mean over all pictures, as are the others.
        nme_inner: see `Score`.
        nme_eyes: see `Score`.
        nme_3d: see `Score`.
        nme_dense: mean over the pictures that have vertices.
        pose: mean absolute errors of pitch, yaw, roll, and the mean of the three.
        pose_pictures: how many pictures those are of.
        milliseconds: median time of a picture.
        yaws: errors by yaw, from small to large.
    """

    pictures: int
    missed: int
    bins: tuple[float, ...]
    bins_3d: tuple[float, ...]
    bin_counts: tuple[int, ...]
    nme_2d: float
    nme_inner: float
    nme_eyes: float
    nme_3d: float
    nme_dense: float
    pose: tuple[float, float, float, float]
    pose_pictures: int
    milliseconds: float
    yaws: tuple[YawGroup, ...]


def summarise(scores: Sequence[Score]) -> Summary:
    """The means of a dataset's scores."""
    found = [one for one in scores if one.found]
    yaws = np.array([abs(one.truth.pitch_yaw_roll[1]) for one in found])
    posed = [one for one in found if one.counts_for_pose]
    angles = [_mean([getattr(one, name) for one in posed]) for name in ("pitch", "yaw", "roll")]
    members = [_in_bin(yaws, low, high) for low, high in YAW_BINS]
    return Summary(
        pictures=len(scores),
        missed=len(scores) - len(found),
        bins=_by_bin([one.nme_2d for one in found], members),
        bins_3d=_by_bin([one.nme_3d for one in found], members),
        bin_counts=tuple(int(member.sum()) for member in members),
        nme_2d=_mean([one.nme_2d for one in found]),
        nme_inner=_mean([one.nme_inner for one in found]),
        nme_eyes=_mean([one.nme_eyes for one in found]),
        nme_3d=_mean([one.nme_3d for one in found]),
        nme_dense=_mean([one.nme_dense for one in found if not math.isnan(one.nme_dense)]),
        pose=(angles[0], angles[1], angles[2], _mean(angles)),
        pose_pictures=len(posed),
        milliseconds=float(np.median([one.milliseconds for one in found])) if found else math.nan,
        yaws=by_yaw(found),
    )


def by_yaw(scores: Sequence[Score]) -> tuple[YawGroup, ...]:
    """What the engine says of faces whose yaw is known, in groups of one yaw each.

    Where there are more than `MAX_YAW_GROUPS` different ones, the groups are those of `YAW_BINS`.
    """
    known = [one for one in scores if one.found and not math.isnan(one.yaw)]
    yaws = np.array([abs(one.truth.pitch_yaw_roll[1]) for one in known])
    whole = np.round(yaws)
    different = np.unique(whole)
    if len(different) <= MAX_YAW_GROUPS:
        members = [whole == yaw for yaw in different]
    else:
        members = [_in_bin(yaws, low, high) for low, high in YAW_BINS]
    groups = []
    for member in members:
        chosen = [one for one, inside in zip(known, member, strict=True) if inside]
        if chosen:
            groups.append(_group(chosen))
    return tuple(groups)


def _group(scores: Sequence[Score]) -> YawGroup:
    true = np.array([one.truth.pitch_yaw_roll[1] for one in scores])
    found = np.array([one.found_yaw for one in scores])
    side = np.where(true < 0, -1.0, 1.0)
    error = _mean([one.yaw for one in scores])
    return YawGroup(float(np.abs(true).mean()), float((side * found).mean()), error, len(scores))


def _in_bin(yaws: Float64, low: int, high: int) -> NDArray[np.bool_]:
    above = yaws >= 0 if low == 0 else yaws > low
    # The last bin takes in the few beyond 90 degrees.
    below = yaws <= high if high < YAW_BINS[-1][1] else np.ones(yaws.shape, bool)
    return np.asarray(above & below)


def _by_bin(values: Sequence[float], members: Sequence[NDArray[np.bool_]]) -> tuple[float, ...]:
    means = [_mean(np.asarray(values)[member]) for member in members]
    filled = [mean for mean in means if not math.isnan(mean)]
    return (*means, _mean(filled))


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
