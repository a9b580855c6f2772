"""Writing a recording to files of other programs: JSON lines, CSV, Parquet, OBJ, animated GLB.

The result appears under its name when it is complete, or not at all.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streamprn.apps.export_glb import GlbWriter
from streamprn.apps.export_meshes import INDEX, MAX_FRAMES, ObjWriter
from streamprn.apps.export_tables import CsvWriter, JsonWriter, ParquetWriter
from streamprn.apps.recordings import Recording, find
from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamprn.apps.export_tables import TableWriter

__all__ = ["FORMATS", "ExportOptions", "Exported", "export", "format_of"]

FORMATS: Final = ("jsonl", "csv", "parquet", "obj", "glb")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to write.

    Attributes:
        format: of `FORMATS`; None takes it from the suffix.
        stream: this one alone, or all.
        face: this id alone, or all.
        every: every N-th frame of each stream.
        max_frames: of one face in `obj` and `glb`; None takes `MAX_FRAMES`.
        replace: what is there already.
    """

    format: str | None = None
    stream: str | None = None
    face: int | None = None
    every: int = 1
    max_frames: int | None = None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        frames: number of frames by stream, before `every` left any out.
        count: how many units were written.
        unit: in the singular: row, line, mesh, key frame.
        skipped: faces that could not be drawn.
        problems: what could not be read, one text each.
    """

    frames: dict[str, int]
    count: int
    unit: str
    skipped: int
    problems: list[str] = field(default_factory=list)


def format_of(out: Path, chosen: str | None = None) -> str:
    """The format that a name's suffix means; a name without one is a folder of OBJ files.

    Raises:
        InputError: the suffix is unknown.
    """
    name = chosen or out.suffix.removeprefix(".").lower() or "obj"
    if name not in FORMATS:
        raise InputError(
            f"{out}: unknown format {name!r}",
            hint=f"end the name in one of {', '.join(f'.{one}' for one in FORMATS)}, or say "
            "--format",
        )
    return name


def export(
    path: Path,
    out: Path,
    options: ExportOptions | None = None,
    on_frame: Callable[[int, int, int], None] | None = None,
) -> Exported:
    """Write a recording to a file, or for OBJ to a folder.

    Args:
        path: see `recordings.find`.
        out: what is written.
        options: see `ExportOptions`.
        on_frame: called with the number of files done, of all files, and of frames read.

    Raises:
        InputError: there is no recording, nothing in it to write, or `out` cannot be written.
    """
    options = options or ExportOptions()
    format_ = format_of(out, options.format)
    files = find(path)
    _check_out(out, format_, replace=options.replace)

    def tell(done: int, frames: int) -> None:
        if on_frame is not None:
            on_frame(done, len(files), frames)

    recording = Recording(files, options.stream, options.face, options.every, tell)
    try:
        with _placed(out, replace=options.replace) as partial:
            writer = _open(format_, partial, options)
            try:
                _write(recording, writer, options.face)
            except BaseException:
                with contextlib.suppress(Exception):
                    writer.discard()
                raise
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written: {error.strerror or error}",
            hint="check the folder and the free space",
        ) from error
    return Exported(
        recording.streams, writer.count, writer.unit, writer.skipped, recording.problems
    )


def _write(recording: Recording, writer: TableWriter, face: int | None) -> None:
    for frame in recording.frames():
        writer.add(frame)
    if face is not None and face not in recording.ids:
        ids = ", ".join(map(str, sorted(recording.ids)[:20])) or "none"
        raise InputError(f"no face {face} in the recording", hint=f"its ids are: {ids}")
    writer.close()


def _open(format_: str, path: Path, options: ExportOptions) -> TableWriter:
    most = options.max_frames or MAX_FRAMES.get(format_, 0)
    if format_ == "obj":
        return ObjWriter(path, most, options.every)
    if format_ == "glb":
        return GlbWriter(path, most, options.every)
    writers: dict[str, Callable[[Path, int | None], TableWriter]] = {
        "csv": CsvWriter,
        "parquet": ParquetWriter,
        "jsonl": JsonWriter,
    }
    return writers[format_](path, options.face)


# --- what is written appears at once --------------------------------------------------------------


def _check_out(out: Path, format_: str, *, replace: bool) -> None:
    if not out.parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.parent}", hint="make it first")
    if not out.exists():
        return
    if not replace:
        raise InputError(f"{out}: exists already", hint="name another, or say --replace")
    if out.is_dir() != (format_ == "obj"):
        kind = "a folder" if out.is_dir() else "a file"
        raise InputError(f"{out}: is {kind}, and is not replaced", hint="name another")
    if out.is_dir() and not _is_export(out):
        raise InputError(
            f"{out}: is no folder that `streamprn export` made, and is not replaced",
            hint="name another",
        )


def _is_export(folder: Path) -> bool:
    """Whether a folder is empty, or an OBJ sequence of ours: nothing else is ever removed."""
    if not any(folder.iterdir()):
        return True
    try:
        with (folder / INDEX).open(encoding="utf-8") as file:
            return '"streamprn export"' in file.read(200)
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def _placed(out: Path, *, replace: bool) -> Iterator[Path]:
    """A path beside `out` to write to; it becomes `out` at the end, or is removed."""
    room = Path(tempfile.mkdtemp(prefix=f".{out.name[:80]}.", suffix=".part", dir=out.parent))
    try:
        partial, before = room / "result", room / "before"
        yield partial
        if out.exists() and not replace:
            raise InputError(f"{out}: has come to be meanwhile", hint="name another")
        if out.is_dir():
            out.rename(before)
        try:
            partial.replace(out)
        except OSError:
            if before.exists():
                before.rename(out)
            raise
    finally:
        shutil.rmtree(room, ignore_errors=True)
