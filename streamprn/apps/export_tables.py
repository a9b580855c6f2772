"""Recorded faces as tables (CSV, Parquet) and as JSON lines."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
import numpy as np

from streamprn.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from streamprn.apps.recordings import RecordedFrame
    from streamprn.records import Float64
    from streamprn.wire import Face

__all__ = ["COLUMNS", "CsvWriter", "JsonWriter", "ParquetWriter", "TableWriter", "openface_angles"]

Value = int | float | str | None

LANDMARKS: Final = 68
_PARQUET_ROWS: Final = 2048
#: Decimals of pixels, seconds and radians: far below what any of them is known to.
_DIGITS: Final = 6
_PIXEL_DIGITS: Final = 3

_POINTS = range(LANDMARKS)
#: The columns of a table and their types, OpenFace's own first.
COLUMNS: Final[dict[str, type]] = {
    "frame": int,
    "face_id": int,
    "timestamp": float,
    "confidence": float,
    "success": int,
    **dict.fromkeys(("pose_Tx", "pose_Ty", "pose_Tz"), float),
    **dict.fromkeys(("pose_Rx", "pose_Ry", "pose_Rz"), float),
    **{f"x_{index}": float for index in _POINTS},
    **{f"y_{index}": float for index in _POINTS},
    # From here on, what OpenFace does not have.
    **{f"z_{index}": float for index in _POINTS},
    **{f"visible_{index}": int for index in _POINTS},
    **dict.fromkeys(("box_x0", "box_y0", "box_x1", "box_y1"), float),
    **dict.fromkeys(("yaw", "pitch", "roll"), float),
    **dict.fromkeys(("head_x", "head_y", "head_z", "head_scale"), float),
    "frame_w": int,
    "frame_h": int,
    "stream": str,
    "session": int,
    "wall_ns": int,
}
_PIXELS = frozenset(name for name in COLUMNS if name.startswith(("x_", "y_", "z_", "box_")))


class TableWriter(Protocol):
    """What writes the frames of a recording to a file.

    Attributes:
        unit: what `count` counts, in the singular.
        count: written so far.
    """

    unit: str
    count: int

    @property
    def skipped(self) -> int:
        """Faces that could not be written."""

    def add(self, frame: RecordedFrame) -> None:
        """Write what the frame has."""

    def close(self) -> None:
        """Finish the file.

        Raises:
            InputError: what was added does not make one.
        """

    def discard(self) -> None:
        """Let go of what is open; the caller removes the file."""


def openface_angles(rotation: Float64) -> tuple[float, float, float]:
    """A head's rotation as OpenFace writes it: `pose_Rx`, `pose_Ry`, `pose_Rz`, radians.

    OpenFace's axes are x right, y down, z away from the camera, half a turn about x from those of
    `Pose`; its matrix is `Rx @ Ry @ Rz` (`RotationHelpers.h`, `Euler2RotationMatrix`).

    Args:
        rotation: `(3, 3)` float64, of `Pose`.
    """
    flip = np.array([1.0, -1.0, -1.0])
    turned = flip[:, None] * rotation * flip
    return (
        math.atan2(-turned[1, 2], turned[2, 2]),
        math.asin(max(-1.0, min(1.0, float(turned[0, 2])))),
        math.atan2(-turned[0, 1], turned[0, 0]),
    )


def _rows(frame: RecordedFrame, face_id: int | None) -> list[dict[str, Value]]:
    """One row a face; where there is none, one that says so."""
    common: dict[str, Value] = {
        "frame": frame.seq,
        "timestamp": frame.time_s,
        "frame_w": frame.frame_size_wh[0],
        "frame_h": frame.frame_size_wh[1],
        "stream": frame.stream,
        "session": frame.session,
        "wall_ns": frame.stamps.wall,
    }
    if not frame.faces:
        return [common | {"face_id": face_id, "confidence": 0.0, "success": 0}]
    return [common | _face_row(face) for face in frame.faces]


def _face_row(face: Face) -> dict[str, Value]:
    pose, metric = face.pose, face.metric_pose
    rotation = pose.rotation if metric is None else metric.rotation
    row: dict[str, Value] = {
        "face_id": face.id,
        "confidence": face.score,
        "success": 1,
        **dict(zip(("pose_Rx", "pose_Ry", "pose_Rz"), openface_angles(rotation), strict=True)),
        "yaw": pose.yaw,
        "pitch": pose.pitch,
        "roll": pose.roll,
        "head_scale": pose.scale,
        **dict(zip(("head_x", "head_y", "head_z"), pose.translation.tolist(), strict=True)),
        **dict(zip(("box_x0", "box_y0", "box_x1", "box_y1"), face.box_xyxy.tolist(), strict=True)),
    }
    if metric is not None:
        place = metric.translation_mm.tolist()
        row |= dict(zip(("pose_Tx", "pose_Ty", "pose_Tz"), place, strict=True))
    for axis, values in zip("xyz", face.landmarks[:LANDMARKS].T.tolist(), strict=True):
        row |= {f"{axis}_{index}": value for index, value in enumerate(values)}
    if face.visible is not None:
        seen = face.visible[:LANDMARKS].tolist()
        row |= {f"visible_{index}": int(value) for index, value in enumerate(seen)}
    return row


class CsvWriter:
    """A table with one row for each face of each frame, and one for a frame without any."""

    unit = "row"

    def __init__(self, path: Path, face: int | None) -> None:
        self.count = self.skipped = 0
        self._face = face
        self._file = path.open("w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(COLUMNS)

    def add(self, frame: RecordedFrame) -> None:
        """Write the rows of a frame."""
        for row in _rows(frame, self._face):
            self._csv.writerow([_cell(name, row.get(name)) for name in COLUMNS])
            self.count += 1

    def flush(self) -> None:
        """Give the rows to who reads the file meanwhile."""
        self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    discard = close


def _cell(name: str, value: Value) -> Value:
    """A value as text; what is no number is an empty cell."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return round(value, _PIXEL_DIGITS if name in _PIXELS else _DIGITS)


class ParquetWriter:
    """The same table with types; empty cells are null."""

    unit = "row"

    def __init__(self, path: Path, face: int | None) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise InputError(
                "Parquet files need the package pyarrow", hint="pip install 'streamprn[parquet]'"
            ) from error
        self.count = self.skipped = 0
        self._face = face
        self._arrow: Any = pyarrow
        self._rows: list[dict[str, Value]] = []
        self._schema = pyarrow.schema(
            [pyarrow.field(name, _arrow_type(pyarrow, name)) for name in COLUMNS]
        )
        self._file: Any = pyarrow.parquet.ParquetWriter(str(path), self._schema, compression="zstd")

    def add(self, frame: RecordedFrame) -> None:
        """Take the rows of a frame; they are written some thousands at a time."""
        self._rows += _rows(frame, self._face)
        if len(self._rows) >= _PARQUET_ROWS:
            self._flush()

    def _flush(self) -> None:
        columns = [
            self._arrow.array(
                [_bounded(row.get(name)) for row in self._rows], field.type, from_pandas=True
            )
            for name, field in zip(COLUMNS, self._schema, strict=True)
        ]
        self._file.write_table(self._arrow.Table.from_arrays(columns, schema=self._schema))
        self.count += len(self._rows)
        self._rows.clear()

    def close(self) -> None:
        """Finish the file."""
        if self._rows:
            self._flush()
        self._file.close()

    def discard(self) -> None:
        """Close the file."""
        self._rows.clear()
        self._file.close()


def _bounded(value: Value) -> Value:
    """A number that a damaged recording made longer than 64 bits is no number."""
    return None if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63 else value


def _arrow_type(arrow: Any, name: str) -> Any:
    if COLUMNS[name] is str:
        return arrow.string()
    if COLUMNS[name] is int:
        return arrow.int8() if name.startswith(("visible_", "success")) else arrow.int64()
    return arrow.float32() if name in _PIXELS else arrow.float64()


class JsonWriter:
    """One JSON object a line, for every frame; its keys are those of `watch --json`."""

    unit = "line"

    def __init__(self, path: Path, face: int | None) -> None:
        del face
        self.count = self.skipped = 0
        self._file = path.open("wb")
        # NaN and infinity, which JSON cannot say, become null.
        self._encoder = msgspec.json.Encoder()

    def add(self, frame: RecordedFrame) -> None:
        """Write the line of a frame."""
        self._file.write(self._encoder.encode(_line(frame)) + b"\n")
        self.count += 1

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    discard = close


def _line(frame: RecordedFrame) -> dict[str, Any]:
    return {
        "stream": frame.stream,
        "kind": "face",
        "session": frame.session,
        "run": frame.run,
        "seq": frame.seq,
        "time_s": round(frame.time_s, 9),
        "pts_ns": frame.pts_ns,
        "stamps_ns": {name: getattr(frame.stamps, name) for name in frame.stamps.__slots__},
        "spans_ms": {name: round(span / 1e6, 3) for name, span in frame.spans_ns.items()},
        "frame_wh": list(frame.frame_size_wh),
        "faces": [_face_json(face) for face in frame.faces],
    }


def _face_json(face: Face) -> dict[str, Any]:
    pose, roi = face.pose, face.roi
    return {
        "id": face.id,
        "score": face.score,
        "box_xyxy": _rounded(face.box_xyxy),
        "roi": {"cx": roi.cx, "cy": roi.cy, "side": roi.side, "roll": roi.roll},
        "yaw": pose.yaw,
        "pitch": pose.pitch,
        "roll": pose.roll,
        "scale": pose.scale,
        "translation": pose.translation.tolist(),
        "quaternion_wxyz": pose.quaternion.tolist(),
        "landmarks_xyz": _rounded(face.landmarks),
        "visible": None if face.visible is None else face.visible.tolist(),
    }


def _rounded(pixels: np.ndarray[Any, Any]) -> list[Any]:
    values: list[Any] = np.round(pixels.astype(np.float64), _PIXEL_DIGITS).tolist()
    return values
