"""Pictures with the truth about their faces, in the layouts that datasets have.

- `aflw2000`: pictures `NAME.jpg` (or `.png`) with `NAME.mat` beside them, which holds `pt3d_68`
  `(3, 68)` (x, y in pixels, z towards the camera), `Pose_Para` `(1, 7)` (pitch, yaw, roll in
  radians first), and maybe `roi` `(1, 4)`, the corners of a face box, and `vertices` `(3, N)` or
  `(N, 3)` of the engine's own topology.
- `300w`: pictures with `NAME.pts` beside them: 68 points in 2D, the first pixel at (1, 1).
- `angles`: pictures in a folder and those below it, with the yaw in their name or that of a
  folder, as a pattern finds it.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.apps import matfile
from streamprn.apps.batch import natural_key
from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from streamprn.records import Float32, Float64

__all__ = ["ANGLE_PATTERN", "LAYOUTS", "Dataset", "Truth", "open_dataset"]

LAYOUTS = ("aflw2000", "300w", "angles")
#: The yaw in `yaw30.jpg`, `person_yaw-45.5.png`, `yaw=+75/2.jpg`.
ANGLE_PATTERN = r"(?i)yaw[ _=]?(?P<yaw>[+-]?\d+(?:\.\d+)?)"
_ANGLES = ("pitch", "yaw", "roll")
_GROUPS = {*_ANGLES, *(f"minus_{name}" for name in _ANGLES)}
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
_POINTS = 68
_BESIDE = {"aflw2000": ".mat", "300w": ".pts"}


@dataclass(frozen=True, slots=True)
class Truth:
    """What a dataset says of one picture.

    Attributes:
        name: of the picture, without its suffix; in the layout `angles` its path in the folder.
        path: of the picture.
        landmarks: `(68, 3)` float32, pixels, z towards the camera, any origin; `(68, 2)` where
            nothing is known of the depth; None where nothing is known of them.
        pitch_yaw_roll: `(3,)` float64 degrees, NaN where one is not known.
        box_xyxy: `(4,)` float32 around the landmarks, or None without.
        roi_xyxy: `(4,)` float32 from the file, or None.
        vertices: `(N, 3)` float32, or None.
        digest: of the bytes of the picture and of the file beside it, in hexadecimal digits.
    """

    name: str
    path: Path
    landmarks: Float32 | None
    pitch_yaw_roll: Float64
    box_xyxy: Float32 | None = None
    roi_xyxy: Float32 | None = None
    vertices: Float32 | None = None
    digest: str = ""

    @property
    def size(self) -> float:
        """What errors are divided by: `sqrt(width * height)` of the box, pixels; NaN without."""
        if self.box_xyxy is None:
            return math.nan
        x0, y0, x1, y1 = (float(value) for value in self.box_xyxy)
        return math.sqrt((x1 - x0) * (y1 - y0))


@dataclass(frozen=True)
class Dataset:
    """A folder of pictures.

    Attributes:
        folder: where they lie.
        layout: of `LAYOUTS`.
        pictures: in natural order.
        read: the truth about one of them; raises `InputError` where its file is damaged.
    """

    folder: Path
    layout: str
    pictures: Sequence[Path]
    read: Callable[[Path], Truth]


def open_dataset(
    folder: Path, layout: str | None = None, angle_pattern: str | None = None
) -> Dataset:
    """Find the pictures of a dataset.

    Args:
        folder: of the dataset.
        layout: of `LAYOUTS`; None for that of the files that are there.
        angle_pattern: of the layout `angles`: a regular expression with the group `yaw`, and
            perhaps `pitch` and `roll`, numbers in degrees with the signs of AFLW2000-3D; or
            `minus_yaw`, ... where the dataset has the other sign. It is searched in the path of a
            picture within the folder; pictures without it do not count. Naming one asks for that
            layout; without, `ANGLE_PATTERN`.

    Raises:
        InputError: there is no such picture, or the pattern cannot be used.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", hint="give the folder of the dataset")
    if angle_pattern is not None and layout not in (None, "angles"):
        raise InputError(f"an angle pattern does not go with the layout {layout}")
    if angle_pattern is not None:
        layout = "angles"
    angles = _Angles(folder, angle_pattern or ANGLE_PATTERN)
    for one in LAYOUTS if layout is None else (layout,):
        found = angles.pictures() if one == "angles" else _with_truth_beside(folder, _BESIDE[one])
        if found:
            read = {"aflw2000": read_aflw2000, "300w": read_300w, "angles": angles.read}[one]
            return Dataset(folder, one, sorted(found, key=lambda path: _order(folder, path)), read)
    if layout == "angles":
        raise InputError(
            f"{folder}: no picture whose name matches {angles.pattern!r}",
            hint="give --angle-pattern a regular expression with a group (?P<yaw>...)",
        )
    beside = [_BESIDE[layout]] if layout else [*_BESIDE.values()]
    raise InputError(
        f"{folder}: no picture with a {' or '.join(beside)} file beside it"
        + ("" if layout else ", nor with its yaw in its name"),
        hint="the AFLW2000-3D layout is imageNNNNN.jpg with imageNNNNN.mat, that of 300-W "
        "NAME.png with NAME.pts; else see --angle-pattern",
    )


def _order(folder: Path, path: Path) -> Any:
    return natural_key(path.relative_to(folder).as_posix())


def _with_truth_beside(folder: Path, suffix: str) -> list[Path]:
    return [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _PICTURE_SUFFIXES and path.with_suffix(suffix).exists()
    ]


class _Angles:
    """The layout `angles` of a folder."""

    def __init__(self, folder: Path, pattern: str) -> None:
        self._folder, self.pattern = folder, pattern
        try:
            self._search = re.compile(pattern).search
            groups = set(re.compile(pattern).groupindex)
        except re.error as error:
            raise InputError(
                f"angle pattern {pattern!r}: {error}", hint="it is a regular expression"
            ) from error
        if unknown := groups - _GROUPS:
            raise InputError(
                f"angle pattern {pattern!r}: group {min(unknown)!r} is none of "
                f"{', '.join(sorted(_GROUPS))}"
            )
        if not groups & {"yaw", "minus_yaw"}:
            raise InputError(
                f"angle pattern {pattern!r} has no group for the yaw",
                hint="write the number as (?P<yaw>[+-]?[0-9]+)",
            )

    def pictures(self) -> list[Path]:
        return [
            path
            for path in self._folder.rglob("*")
            if path.suffix.lower() in _PICTURE_SUFFIXES and self._search(self._name(path))
        ]

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).with_suffix("").as_posix()

    def read(self, picture: Path) -> Truth:
        name = self._name(picture)
        match = self._search(name)
        assert match is not None
        angles = np.full(3, np.nan)
        for group, text in match.groupdict().items():
            if text is None:
                continue
            try:
                value = float(text)
            except ValueError:
                raise InputError(
                    f"{picture}: the angle pattern finds {text!r} for {group}, not a number"
                ) from None
            sign = -1.0 if group.startswith("minus_") else 1.0
            angles[_ANGLES.index(group.removeprefix("minus_"))] = sign * value
        if not abs(angles[1]) <= 180:
            raise InputError(f"{picture}: a yaw of {angles[1]:g} degrees")
        return Truth(name, picture, None, angles, digest=_digest(picture))


def read_aflw2000(picture: Path) -> Truth:
    """The truth in the `.mat` file beside a picture.

    Raises:
        InputError: it is damaged, or lacks a value.
    """
    path = picture.with_suffix(".mat")
    content = matfile.read_mat(path)
    points = _points(path, content, "pt3d_68", _POINTS)
    angles = _numbers(path, content, "Pose_Para").reshape(-1)
    if angles.size < 3:
        raise InputError(f"{path}: 'Pose_Para' holds {angles.size} numbers, expected 7")
    roi = content.get("roi")
    return Truth(
        name=picture.stem,
        path=picture,
        landmarks=points,
        pitch_yaw_roll=np.degrees(angles[:3]),
        box_xyxy=_box(path, points),
        roi_xyxy=None if roi is None or roi.size != 4 else roi.reshape(4).astype(np.float32),
        vertices=_points(path, content, "vertices") if "vertices" in content else None,
        digest=_digest(picture, path),
    )


def read_300w(picture: Path) -> Truth:
    """The truth in the `.pts` file beside a picture: `{`, 68 lines `x y`, and `}`.

    The first pixel of these files is (1, 1); here it is (0, 0).

    Raises:
        InputError: it cannot be read, or holds anything else than 68 finite points.
    """
    path = picture.with_suffix(".pts")
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    _, opened, rest = text.partition("{")
    body, closed, _ = rest.partition("}")
    if not (opened and closed):
        raise InputError(f"{path}: has no points between {{ and }}")
    try:
        rows = [[float(value) for value in line.split()] for line in body.strip().splitlines()]
        points = np.array(rows, np.float32)
    except ValueError as error:
        raise InputError(f"{path}: not lines of two numbers: {error}") from error
    if points.shape != (_POINTS, 2):
        shape = f"{len(rows)} points" if points.ndim == 2 else "lines"
        raise InputError(f"{path}: holds {shape}, expected {_POINTS} points in 2D")
    if not np.isfinite(points).all():
        raise InputError(f"{path}: holds numbers that are not finite")
    points -= 1.0
    return Truth(
        name=picture.stem,
        path=picture,
        landmarks=points,
        pitch_yaw_roll=np.full(3, np.nan),
        box_xyxy=_box(path, points),
        digest=_digest(picture, path),
    )


def _digest(*paths: Path) -> str:
    total = hashlib.sha256()
    for path in paths:
        try:
            total.update(path.read_bytes())
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return total.hexdigest()[:16]


def _box(path: Path, points: Float32) -> Float32:
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    if not (high - low > 1.0).all():
        raise InputError(f"{path}: the 68 points span no area")
    return np.concatenate([low, high]).astype(np.float32)


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
