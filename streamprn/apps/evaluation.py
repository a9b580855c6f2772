"""Errors of an engine on a dataset in the layout of AFLW2000-3D.

The layout: pictures `NAME.jpg` (or `.png`) with `NAME.mat` beside them, which holds `pt3d_68`
`(3, 68)` (x, y in pixels, z towards the camera), `Pose_Para` `(1, 7)` (pitch, yaw, roll in
radians first), and maybe `roi` `(1, 4)`, the corners of a face box. `vertices` `(3, N)` or
`(N, 3)` of the engine's own topology, where there are any, give a dense error.

The normalised mean error (NME) is the mean distance of the points over `sqrt(width * height)` of
the box around the true 68 points, in percent (Zhu et al., 2016). In 3D the depths are compared
relative to their means, as the projection leaves their origin open.
"""

from __future__ import annotations

import csv
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.apps import images, matfile
from streamprn.apps.batch import natural_key
from streamprn.engines.head import HeadShape
from streamprn.errors import InputError, StreamPRNError
from streamprn.records import Roi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from streamprn.apps.reconstruction import Reconstruction, Reconstructor
    from streamprn.engines.protocol import CropRule
    from streamprn.records import Float32, Float64, UInt8

YAW_BINS = ((0, 30), (30, 60), (60, 90))
# Feng et al., "Joint 3D Face Reconstruction and Dense Alignment with Position Map Regression
# Network", ECCV 2018: 68 points, 2D, by yaw and the mean of the three bins, percent.
PRN_PAPER_NME = (2.75, 3.51, 4.61, 3.62)
# The literature leaves out images with an angle beyond this, 31 of the 2,000.
LARGEST_ANGLE = 99.0
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
_LEAST_OVERLAP = 0.1
# The 68 points end at the brows; a face's box does not.
_FOREHEAD = 0.25


@dataclass(frozen=True, slots=True)
class Truth:
    """What a dataset says of one picture.

    Attributes:
        name: of the picture, without its suffix.
        path: of the picture.
        landmarks: `(68, 3)` float32, pixels, z towards the camera, any origin.
        pitch_yaw_roll: `(3,)` float64 degrees.
        box_xyxy: `(4,)` float32 around the landmarks.
        roi_xyxy: `(4,)` float32 from the file, or None.
        vertices: `(N, 3)` float32, or None.
    """

    name: str
    path: Path
    landmarks: Float32
    pitch_yaw_roll: Float64
    box_xyxy: Float32
    roi_xyxy: Float32 | None = None
    vertices: Float32 | None = None

    @property
    def size(self) -> float:
        """What errors are divided by: `sqrt(width * height)` of the box, pixels."""
        x0, y0, x1, y1 = (float(value) for value in self.box_xyxy)
        return math.sqrt((x1 - x0) * (y1 - y0))


def find_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder that have a `.mat` file beside them, in natural order.

    Raises:
        InputError: there are none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", hint="give the folder of the dataset")
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _PICTURE_SUFFIXES and path.with_suffix(".mat").exists()
    ]
    if not found:
        raise InputError(
            f"{folder}: no picture with a .mat file beside it",
            hint="the AFLW2000-3D layout is imageNNNNN.jpg with imageNNNNN.mat",
        )
    return sorted(found, key=lambda path: natural_key(path.name))


def read_truth(picture: Path) -> Truth:
    """Read the `.mat` file beside a picture.

    Raises:
        InputError: it is damaged, or lacks a value.
    """
    path = picture.with_suffix(".mat")
    content = matfile.read_mat(path)
    points = _points(path, content, "pt3d_68", 68)
    angles = _numbers(path, content, "Pose_Para").reshape(-1)
    if angles.size < 3:
        raise InputError(f"{path}: 'Pose_Para' holds {angles.size} numbers, expected 7")
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    if not (high - low > 1.0).all():
        raise InputError(f"{path}: the 68 points span no area")
    roi = content.get("roi")
    return Truth(
        name=picture.stem,
        path=picture,
        landmarks=points,
        pitch_yaw_roll=np.degrees(angles[:3]),
        box_xyxy=np.concatenate([low, high]).astype(np.float32),
        roi_xyxy=None if roi is None or roi.size != 4 else roi.reshape(4).astype(np.float32),
        vertices=_points(path, content, "vertices") if "vertices" in content else None,
    )


def _numbers(path: Path, content: dict[str, NDArray[Any]], key: str) -> Float64:
    if key not in content:
        known = ", ".join(sorted(content)) or "nothing"
        raise InputError(f"{path}: has no {key!r}, only {known}")
    values = content[key].astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{path}: {key!r} holds numbers that are not finite")
    return values


def _points(
    path: Path, content: dict[str, NDArray[Any]], key: str, count: int | None = None
) -> Float32:
    """`(count, 3)` float32 from `(3, count)` or `(count, 3)`."""
    values = _numbers(path, content, key)
    if values.ndim == 2 and values.shape[0] == 3:
        values = values.T
    if values.ndim != 2 or values.shape[1] != 3 or count not in (None, len(values)):
        raise InputError(f"{path}: {key!r} has the shape {values.shape}, expected (3, {count})")
    return np.ascontiguousarray(values, np.float32)


def normalised_error(found: Float32, true: Float32, size: float, dimensions: int) -> float:
    """NME in percent of points `(K, 3)`; in 3D up to a shift in depth."""
    difference = (found - true)[:, :dimensions].astype(np.float64)
    if dimensions == 3:
        difference[:, 2] -= difference[:, 2].mean()
    return float(100.0 * np.linalg.norm(difference, axis=1).mean() / size)


def angle_error(found: float, true: float) -> float:
    """Absolute difference of two angles in degrees, 0..180."""
    return abs((found - true + 180.0) % 360.0 - 180.0)


@dataclass(frozen=True, slots=True)
class Score:
    """Errors on one picture; NaN where no face was found there, or nothing is known.

    NMEs in percent, angles in degrees.
    """

    truth: Truth
    landmarks: Float32 | None
    nme_2d: float = math.nan
    nme_3d: float = math.nan
    nme_dense: float = math.nan
    pitch: float = math.nan
    yaw: float = math.nan
    roll: float = math.nan
    milliseconds: float = math.nan

    @property
    def found(self) -> bool:
        """Whether a face was found where the dataset has one."""
        return self.landmarks is not None

    @property
    def counts_for_pose(self) -> bool:
        """Whether the literature counts the picture's pose."""
        return self.found and bool((np.abs(self.truth.pitch_yaw_roll) <= LARGEST_ANGLE).all())


def score(truth: Truth, face: Reconstruction, milliseconds: float = math.nan) -> Score:
    """Compare a face with the truth."""
    found = face.landmarks
    dense = math.nan
    if truth.vertices is not None and truth.vertices.shape == face.vertices.shape:
        dense = normalised_error(face.vertices, truth.vertices, truth.size, 3)
    pitch, yaw, roll = (float(value) for value in truth.pitch_yaw_roll)
    return Score(
        truth=truth,
        landmarks=found,
        nme_2d=normalised_error(found, truth.landmarks, truth.size, 2),
        nme_3d=normalised_error(found, truth.landmarks, truth.size, 3),
        nme_dense=dense,
        pitch=angle_error(face.pose.pitch, pitch),
        yaw=angle_error(face.pose.yaw, yaw),
        roll=angle_error(face.pose.roll, roll),
        milliseconds=milliseconds,
    )


class Evaluator:
    """Runs a reconstructor over a dataset.

    Args:
        reconstructor: the engine, and the detector for `crop="detector"`.
        crop: "detector", or "truth": crops made from the true landmarks.
    """

    def __init__(self, reconstructor: Reconstructor, crop: str = "detector") -> None:
        if crop not in ("detector", "truth"):
            raise InputError(f"crop {crop!r}: must be detector or truth")
        self.reconstructor = reconstructor
        self.crop = crop
        self.scores: list[Score] = []
        self.failures: list[tuple[str, str]] = []

    def process(self, picture: Path) -> None:
        """Evaluate one picture; a bad file is noted in `failures`."""
        try:
            truth = read_truth(picture)
            image = images.read_image(picture)
        except StreamPRNError as error:
            self.failures.append((str(picture), str(error)))
            return
        start = time.perf_counter()
        face = self._face(image, truth)
        milliseconds = 1e3 * (time.perf_counter() - start)
        missed = Score(truth, None)
        self.scores.append(missed if face is None else score(truth, face, milliseconds))

    def _face(self, image: UInt8, truth: Truth) -> Reconstruction | None:
        if self.crop == "truth":
            engine = self.reconstructor.engine
            turn = HeadShape(engine.topology).fit(truth.landmarks).turn
            roi = roi_from_landmarks(engine.crop, truth.landmarks, turn)
            return self.reconstructor.from_rois(image, [roi], [1.0])[0]
        faces = self.reconstructor.reconstruct(image)
        overlaps = [_overlap(_landmark_box(face.landmarks), truth.box_xyxy) for face in faces]
        if not faces or max(overlaps) < _LEAST_OVERLAP:
            return None
        return faces[int(np.argmax(overlaps))]


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
class Summary:
    """A dataset's errors; NMEs in percent, angles in degrees, NaN where there is no picture.

    Attributes:
        pictures: how many were read.
        missed: how many of them show no face to the program; they count in none of the means.
        bins: 2D NME by yaw (`YAW_BINS`), then the mean of the bins.
        bins_3d: the same in 3D.
        bin_counts: pictures in each bin.
        nme_2d: mean over all pictures.
        nme_3d: mean over all pictures.
        nme_dense: mean over the pictures that have vertices.
        pose: mean absolute errors of pitch, yaw, roll, and the mean of the three.
        pose_pictures: how many pictures those are of.
        milliseconds: median time of a picture.
    """

    pictures: int
    missed: int
    bins: tuple[float, ...]
    bins_3d: tuple[float, ...]
    bin_counts: tuple[int, ...]
    nme_2d: float
    nme_3d: float
    nme_dense: float
    pose: tuple[float, float, float, float]
    pose_pictures: int
    milliseconds: float


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
        nme_3d=_mean([one.nme_3d for one in found]),
        nme_dense=_mean([one.nme_dense for one in found if not math.isnan(one.nme_dense)]),
        pose=(angles[0], angles[1], angles[2], _mean(angles)),
        pose_pictures=len(posed),
        milliseconds=float(np.median([one.milliseconds for one in found])) if found else math.nan,
    )


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


def cumulative_errors(
    scores: Sequence[Score], limit: float = 10.0, steps: int = 201
) -> tuple[Float64, Float64]:
    """NME in percent, and the part of the pictures with at most that error, `(steps,)` each.

    Pictures without a face found count as beyond every limit.
    """
    errors = np.array([one.nme_2d if one.found else np.inf for one in scores])
    at = np.linspace(0.0, limit, steps)
    return at, np.array([float((errors <= value).mean()) for value in at])


def write_csv(path: Path, scores: Sequence[Score]) -> None:
    """One line for every picture."""
    columns = ("nme_2d", "nme_3d", "nme_dense", "pitch", "yaw", "roll", "milliseconds")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        truths = ("true_pitch", "true_yaw", "true_roll")
        errors = [f"error_{name}" if name in ("pitch", "yaw", "roll") else name for name in columns]
        writer.writerow(["name", "found", *truths, *errors])
        for one in scores:
            angles = [f"{angle:.3f}" for angle in one.truth.pitch_yaw_roll]
            values = [getattr(one, name) for name in columns]
            texts = ["" if math.isnan(value) else f"{value:.4f}" for value in values]
            writer.writerow([one.truth.name, int(one.found), *angles, *texts])


def write_plot(path: Path, scores: Sequence[Score], title: str) -> None:
    """The cumulative error curve.

    Raises:
        InputError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "the plot needs Matplotlib", hint="pip install 'streamprn[plot]'"
        ) from error
    at, part = cumulative_errors(scores)
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(at, 100.0 * part, color="#1769aa", linewidth=2)
    axes.set(xlabel="NME of 68 points, 2D, % of the face's size", ylabel="pictures, %")
    axes.set(xlim=(0, float(at[-1])), ylim=(0, 100), title=title)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


@dataclass(frozen=True, slots=True)
class SheetRule:
    """How the contact sheet looks: columns, rows, pixels of a tile."""

    columns: int = 6
    rows: int = 4
    tile_px: int = 220
    true_colour: tuple[int, int, int] = field(default=(60, 220, 90))
    found_colour: tuple[int, int, int] = field(default=(235, 70, 60))


def worst(scores: Sequence[Score], count: int) -> list[Score]:
    """Pictures without a face found first, then by falling error."""
    order = sorted(scores, key=lambda one: -one.nme_2d if one.found else -math.inf)
    return order[:count]


def contact_sheet(
    scores: Sequence[Score],
    rule: SheetRule = SheetRule(),
    load: Callable[[Path], UInt8] = images.read_image,
) -> UInt8:
    """The worst pictures with true (green) and found (red) landmarks, `(H, W, 3)` uint8."""
    chosen = worst(scores, rule.columns * rule.rows)
    rows = max(math.ceil(len(chosen) / rule.columns), 1)
    sheet = np.zeros((rows * rule.tile_px, rule.columns * rule.tile_px, 3), np.uint8)
    for index, one in enumerate(chosen):
        row, column = divmod(index, rule.columns)
        y, x = row * rule.tile_px, column * rule.tile_px
        sheet[y : y + rule.tile_px, x : x + rule.tile_px] = _tile(one, load(one.truth.path), rule)
    return sheet


def _tile(one: Score, image: UInt8, rule: SheetRule) -> UInt8:
    import cv2

    from streamprn.apps.overlays import label

    x0, y0, x1, y1 = (float(value) for value in one.truth.box_xyxy)
    side = 1.6 * max(x1 - x0, y1 - y0)
    zoom = rule.tile_px / side
    shift = 0.5 * rule.tile_px - zoom * np.array([0.5 * (x0 + x1), 0.5 * (y0 + y1)])
    matrix = np.array([[zoom, 0.0, shift[0]], [0.0, zoom, shift[1]]])
    tile = cv2.warpAffine(image, matrix, (rule.tile_px, rule.tile_px), flags=cv2.INTER_AREA)
    layers = [(one.truth.landmarks, rule.true_colour)]
    if one.landmarks is not None:
        layers.append((one.landmarks, rule.found_colour))
    for points, colour in layers:
        for point in points[:, :2] * zoom + shift:
            centre = tuple(int(value) for value in np.round(np.clip(point, -1e4, 1e4) * 16))
            cv2.circle(tile, centre, 24, colour, cv2.FILLED, cv2.LINE_AA, 4)
    error = f"{one.nme_2d:.1f} %" if one.found else "no face"
    label(tile, f"{one.truth.name}  {error}", (4, rule.tile_px - 6), 11.0)
    return np.asarray(tile, np.uint8)
