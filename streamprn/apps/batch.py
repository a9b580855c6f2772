"""Many pictures at once: folders, videos, boxes from a file; a bad one does not stop the rest."""

from __future__ import annotations

import csv
import json
import re
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.apps import images, outputs
from streamprn.apps.clips import ClipFaces
from streamprn.apps.video import ClipFrame, open_clip
from streamprn.errors import InputError, StreamPRNError
from streamprn.source.content import is_clip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from streamprn.apps.outputs import OutputOptions
    from streamprn.apps.reconstruction import Reconstruction, Reconstructor
    from streamprn.records import Float32, UInt8

    Boxes = Mapping[str, list[Float32]]
    FindFaces = Callable[[UInt8, Sequence[Float32] | None], list[Reconstruction]]


@dataclass(frozen=True, slots=True)
class Item:
    """One input: its file, and its folder of outputs relative to the folder of all."""

    path: Path
    place: Path

    @property
    def is_video(self) -> bool:
        """Whether it holds many pictures, by its content rather than its suffix."""
        return is_clip(self.path, images.IMAGE_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one picture: `faces` is None where it was skipped as done before."""

    name: str
    faces: int | None
    seconds: float
    text: str = ""


@dataclass(slots=True)
class Report:
    """What became of all pictures; `failures` are names with their reasons, `notes` sentences."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def faces(self) -> int:
        """How many were found."""
        return sum(row.faces or 0 for row in self.rows)

    @property
    def skipped(self) -> int:
        """How many pictures were done before."""
        return sum(row.faces is None for row in self.rows)

    @property
    def exit_code(self) -> int:
        """2 where no input could be read, 1 where one failed, or no picture shows a face."""
        if self.failures and not self.rows:
            return 2
        return int(bool(self.failures) or (self.faces == 0 and self.skipped == 0))


def find_items(paths: Iterable[Path]) -> list[Item]:
    """The pictures and videos among files and, recursively, in folders.

    Files given by name are taken whatever their suffix; from folders those with a known suffix,
    in natural order, hidden ones left out.

    Raises:
        InputError: a path does not exist, or there is no picture at all.
    """
    found: list[tuple[Path, Path]] = []
    paths = list(paths)
    for path in paths:
        if path.is_dir():
            found += [(file, file.relative_to(path)) for file in _pictures_in(path)]
        elif path.exists():
            found.append((path, Path(path.name)))
        else:
            raise InputError(f"{path}: no such file or folder", hint="check the path")
    if not found:
        names = ", ".join(str(path) for path in paths)
        raise InputError(f"{names}: holds no picture or video")
    return _with_places(found)


def _pictures_in(folder: Path) -> list[Path]:
    known = images.IMAGE_SUFFIXES | images.VIDEO_SUFFIXES
    files = [
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in known
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    return sorted(files, key=lambda file: natural_key(file.as_posix()))


def natural_key(text: str) -> list[tuple[int, str]]:
    """Sorts `image9` before `image10`."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _with_places(found: list[tuple[Path, Path]]) -> list[Item]:
    """Outputs go to the name without its suffix, or with it where two would share a folder."""
    items: list[Item] = []
    shorts = [relative.with_suffix("") for _, relative in found]
    taken: set[Path] = set()
    for (path, relative), short in zip(found, shorts, strict=True):
        place = short if shorts.count(short) == 1 else Path(f"{relative}".replace(".", "-"))
        number = 1
        while place in taken:
            number += 1
            place = place.with_name(f"{place.name}-{number}")
        taken.add(place)
        items.append(Item(path, place))
    return items


def read_boxes(path: Path) -> Boxes:
    """Face boxes by the name of the picture.

    Either JSON, `{"name.jpg": [[x0, y0, x1, y1], ...], ...}`, or lines of `name x0 y0 x1 y1` with
    spaces, commas or tabs between; several lines of one name are several faces.

    Raises:
        InputError: naming the line that does not fit.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list of boxes") from error
    rows = _json_boxes(path, text) if text.lstrip().startswith("{") else _line_boxes(path, text)
    boxes: dict[str, list[Float32]] = {}
    for where, name, values in rows:
        boxes.setdefault(name, []).append(_box(f"{path}, {where}", values))
    return boxes


def _json_boxes(path: Path, text: str) -> Iterator[tuple[str, str, Sequence[Any]]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON: {error}") from error
    for name, rows in content.items():
        if not isinstance(rows, list):
            raise InputError(f"{path}, {name}: expected a list of boxes")
        nested = rows if rows and isinstance(rows[0], list) else [rows]
        for row in nested if rows else []:
            yield name, name, row


def _line_boxes(path: Path, text: str) -> Iterator[tuple[str, str, Sequence[Any]]]:
    delimiter = "\t" if "\t" in text else "," if "," in text else " "
    lines = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    for number, raw in enumerate(lines, 1):
        cells = [cell.strip() for cell in raw if cell.strip()]
        if not cells or cells[0].startswith("#") or (number == 1 and cells[1:2] == ["x0"]):
            continue
        yield f"line {number}", cells[0], cells[1:]


def _box(where: str, values: Sequence[Any]) -> Float32:
    try:
        box = np.array([float(value) for value in values], np.float32)
    except (TypeError, ValueError):
        box = np.zeros(0, np.float32)
    good = box.shape == (4,) and bool(np.isfinite(box).all())
    if not good or box[2] - box[0] < 2 or box[3] - box[1] < 2:
        raise InputError(f"{where}: expected x0 y0 x1 y1 with x0 < x1 and y0 < y1")
    return box


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How to go through the inputs.

    Attributes:
        out: folder of all outputs.
        outputs: what to write.
        boxes: in pixels of the picture before it is shrunk, by path as given, path within a folder,
            or file name; None to detect.
        max_size: shrink larger pictures to this longer side.
        every: take every n-th frame of videos.
        video_stream: of clips, see `streamprn.source.tracks.pick_stream`.
        skip_existing: leave out what a run with the same options has finished.
    """

    out: Path
    outputs: OutputOptions
    boxes: Boxes | None = None
    max_size: int | None = None
    every: int = 1
    video_stream: int | None = None
    skip_existing: bool = False


class BatchReconstructor:
    """Reconstructs inputs one after the other and writes their files.

    Args:
        reconstructor: see `Reconstructor`.
        options: see `BatchOptions`.
        on_row: told of every picture that is done.
        on_count: told of a video's pictures, when it is opened: how many will be taken, 0 unknown.
    """

    def __init__(
        self,
        reconstructor: Reconstructor,
        options: BatchOptions,
        on_row: Callable[[Row], None] = lambda row: None,
        on_count: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.reconstructor = reconstructor
        self.options = options
        self.report = Report()
        self._on_row = on_row
        self._on_count = on_count

    def process(self, item: Item) -> None:
        """Do one input; what goes wrong is noted in the report."""
        try:
            if item.is_video:
                self._process_video(item)
            else:
                load = partial(images.read_image, item.path)
                self._process_picture(item, str(item.path), item.place, load, self._faces)
        except StreamPRNError as error:
            self.report.failures.append((str(item.path), str(error)))

    def _process_video(self, item: Item) -> None:
        """Faces are followed, so that each has one id; given boxes count in every picture."""
        every = self.options.every
        with open_clip(item.path, self.options.video_stream) as clip:
            self.report.notes += clip.notes
            self._on_count(-(-clip.count // every))
            faces = ClipFaces(self.reconstructor, clip.rate / every, self.reconstructor.max_faces)
            given = self._given_boxes(item) is not None
            for frame in clip.frames(every):
                name = f"{item.path} frame {frame.index}"
                place = item.place / f"frame-{frame.index:06d}"
                find = self._faces if given else self._follow(faces, frame)
                self._process_picture(item, name, place, partial(np.asarray, frame.rgb), find)
            if clip.broken:
                count = (
                    "one broken picture" if clip.broken == 1 else f"{clip.broken} broken pictures"
                )
                self.report.notes.append(f"{item.path}: {count} left out")

    def _follow(self, clip: ClipFaces, frame: ClipFrame) -> FindFaces:
        def find(image: UInt8, boxes: Sequence[Float32] | None) -> list[Reconstruction]:
            del boxes
            faces = clip.next(image, frame.time)
            return [self.reconstructor.of_face(image, face) for face in faces]

        return find

    def _faces(self, image: UInt8, boxes: Sequence[Float32] | None) -> list[Reconstruction]:
        return self.reconstructor.reconstruct(image, boxes)

    def _process_picture(
        self, item: Item, name: str, place: Path, load: Callable[[], UInt8], find: FindFaces
    ) -> None:
        start = time.perf_counter()
        options = self.options
        folder = options.out / place
        run = self._run_of(item)
        done = options.skip_existing and outputs.is_done(folder, name, options.outputs, run)
        if done and not item.is_video:
            self._note(Row(name, None, 0.0, "done before"))
            return
        full = load()
        boxes = self._boxes_of(item, full)
        image = full if options.max_size is None else images.shrink(full, options.max_size)
        if boxes is not None:
            zoom = image.shape[1] / full.shape[1]
            boxes = [np.asarray(zoom * (box + 0.5) - 0.5, np.float32) for box in boxes]
        faces = find(image, boxes)
        if done:  # in a video: looked at all the same, or the ids would begin anew
            self._note(Row(name, None, 0.0, "done before"))
            return
        files = outputs.PictureFiles(
            image, faces, self.reconstructor.engine.crop, folder, options.outputs, run
        )
        outputs.write_outputs(files, name)
        text = "; ".join(_line(face) for face in faces) or "no face found"
        self._note(Row(name, len(faces), time.perf_counter() - start, text))

    def _run_of(self, item: Item) -> dict[str, Any]:
        boxes = self._given_boxes(item)
        return {
            "engine": self.reconstructor.engine.name,
            "max_size": self.options.max_size,
            "max_faces": self.reconstructor.max_faces,
            "min_score": self.reconstructor.min_score,
            "video_stream": self.options.video_stream if item.is_video else None,
            "boxes": None if boxes is None else [box.tolist() for box in boxes],
        }

    def _given_boxes(self, item: Item) -> list[Float32] | None:
        if self.options.boxes is None:
            return None
        parts = item.path.parts
        names = ["/".join(parts[first:]) for first in range(len(parts))]
        for key in (str(item.path), item.path.as_posix(), *names, item.path.stem):
            if key in self.options.boxes:
                return self.options.boxes[key]
        return []

    def _boxes_of(self, item: Item, image: UInt8) -> list[Float32] | None:
        boxes = self._given_boxes(item)
        return None if boxes is None else [_inside(box, image, item.path) for box in boxes]

    def _note(self, row: Row) -> None:
        self.report.rows.append(row)
        self._on_row(row)


def _inside(box: Float32, image: UInt8, path: Path) -> Float32:
    height, width = image.shape[:2]
    if box[2] <= 0 or box[3] <= 0 or box[0] >= width or box[1] >= height:
        numbers = " ".join(f"{value:g}" for value in box)
        raise InputError(f"{path}: the box {numbers} is outside of the {width}x{height} picture")
    return box


def _line(face: Reconstruction) -> str:
    width = float(face.box_xyxy[2] - face.box_xyxy[0])
    pose = face.pose
    return f"{width:.0f} px, yaw {pose.yaw:+.0f} pitch {pose.pitch:+.0f} roll {pose.roll:+.0f}"
