"""The files of a recording: bounded segments, one folder a stream, never overwritten.

`<folder>/<stream>/<number>-<time>.sprn`; numbers rise, so that names sort by time even where a
clock was set back. `index.jsonl` beside them tells of every segment that was closed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import zlib
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from streamprn.wire.encode import Parts

__all__ = ["SUFFIX", "Limits", "Segment", "SegmentInfo", "index", "recordings", "segments"]

SUFFIX = ".sprn"
INDEX = "index.jsonl"
_NAME = re.compile(r"(\d{6,})-\d{8}T\d{6}Z\.sprn")

_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a recording may grow.

    Attributes:
        segment_bytes: a segment that has so many is closed.
        segment_s: so is one that is so many seconds old.
        keep_bytes: of all segments of a stream; the oldest go first. None keeps everything.
        keep_total_bytes: the same of all streams together.
        keep_s: segments that were closed longer ago go, also those of streams that are no more.
            None keeps everything.
    """

    segment_bytes: int = 256 << 20
    segment_s: float = 600.0
    keep_bytes: int | None = None
    keep_total_bytes: int | None = None
    keep_s: float | None = None


@dataclass(slots=True)
class SegmentInfo:
    """What the index tells of a segment; `wall` is Unix time in nanoseconds."""

    file: str
    run: str
    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0
    first_wall_ns: int = 0
    last_wall_ns: int = 0


class Segment:
    """A file that is being written.

    Args:
        folder: of the stream; made where it does not exist.
        run: of the recorder.
        first: parts of the message that every segment begins with.

    Raises:
        OSError: it cannot be made or written.
    """

    def __init__(self, folder: Path, run: str, first: Parts) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file, name = _create(folder)
        self.info = SegmentInfo(name, run)
        self.opened_s = self.touched_s = time.monotonic()
        try:
            self._write(first)
        except BaseException:
            self._file.close()
            (folder / name).unlink(missing_ok=True)
            raise

    @property
    def path(self) -> Path:
        """Of the file."""
        return self._folder / self.info.file

    def write(self, messages: Iterable[Parts], seq: int, wall_ns: int) -> None:
        """Write the messages of one frame.

        Raises:
            OSError: they cannot be written; what was written before stays readable.
        """
        for parts in messages:
            self._write(parts)
        if not self.info.first_wall_ns:
            self.info.first_seq, self.info.first_wall_ns = seq, wall_ns
        self.info.last_seq, self.info.last_wall_ns = seq, wall_ns
        self.touched_s = time.monotonic()

    def close(self) -> None:
        """Close the file and note it in the index; a message that was cut off is cut away."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            if self.path.stat().st_size > self.info.bytes:
                os.truncate(self.path, self.info.bytes)
        with (
            contextlib.suppress(OSError),
            (self._folder / INDEX).open("a", encoding="utf-8") as file,
        ):
            file.write(_line(self.info))

    def _write(self, parts: Parts) -> None:
        # Without a buffer of ours: what was written stays, however this process ends.
        rest = memoryview(framed(parts))
        size = len(rest)
        while rest:
            rest = rest[self._file.write(rest) :]
        self.info.bytes += size
        self.info.messages += 1


def framed(parts: Parts) -> bytes:
    """A message as it stands in a file: a MessagePack array of its parts and their CRC-32."""
    return _encoder.encode([*parts, checksum(parts)])


def checksum(parts: Sequence[Any]) -> int:
    """CRC-32 of all parts, one after the other."""
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return value


def _create(folder: Path) -> tuple[IO[bytes], str]:
    number = max(map(_number, segments(folder)), default=0)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for _ in range(1000):  # another recorder may write to the same folder
        number += 1
        name = f"{number:06d}-{stamp}{SUFFIX}"
        with contextlib.suppress(FileExistsError):
            return (folder / name).open("xb", buffering=0), name
    raise FileExistsError(f"{folder}: every name is taken")


def _number(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else 0


def recordings(folder: Path) -> dict[str, list[Path]]:
    """The segments of every stream below a folder, in order of time."""
    found = {below.name: segments(below) for below in sorted(folder.iterdir()) if below.is_dir()}
    return {stream: paths for stream, paths in found.items() if paths}


def segments(folder: Path) -> list[Path]:
    """The recordings that lie in a folder itself, in order of time."""
    paths = (path for path in folder.glob(f"*{SUFFIX}") if path.is_file())
    return sorted(paths, key=lambda path: (_number(path), path.name))


def _line(info: SegmentInfo) -> str:
    return json.dumps(asdict(info)) + "\n"


def index(folder: Path) -> list[SegmentInfo]:
    """What was noted of the closed segments in a stream's folder that still exist."""
    try:
        lines = (folder / INDEX).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    for line in lines:
        with contextlib.suppress(msgspec.MsgspecError):
            info = msgspec.json.decode(line, type=SegmentInfo)
            if (folder / info.file).is_file():
                found.append(info)
    return found


def retire(folder: Path, limits: Limits, current: Path) -> None:
    """Delete what is beyond the limits of a stream, the oldest first, and never `current`."""
    _retire(_sizes(folder), limits.keep_bytes, limits.keep_s, {current})


def retire_all(root: Path, limits: Limits, current: Collection[Path]) -> None:
    """Delete what is beyond the limits of all streams below a folder, running or not.

    Args:
        root: of the recording.
        limits: age and total size; that of one stream is left to `retire`.
        current: segments that are being written, which stay.

    Raises:
        OSError: the folder cannot be read, or something in it not be deleted.
    """
    folders = (below for below in root.iterdir() if below.is_dir())
    sizes = (item for folder in folders for item in _sizes(folder).items())
    by_age = dict(sorted(sizes, key=lambda item: item[1].st_mtime))
    _retire(by_age, limits.keep_total_bytes, limits.keep_s, current)


def _retire(
    sizes: dict[Path, os.stat_result],
    keep_bytes: int | None,
    keep_s: float | None,
    current: Collection[Path],
) -> None:
    """Delete segments, given the oldest first, while all are too large, and those too old."""
    total = sum(stat.st_size for stat in sizes.values())
    most = total if keep_bytes is None else keep_bytes
    oldest_s = -1.0 if keep_s is None else time.time() - keep_s
    gone = []
    for path, stat in sizes.items():
        if path not in current and (total > most or stat.st_mtime < oldest_s):
            gone.append(path)
            total -= stat.st_size
    _delete(gone)


def _sizes(folder: Path) -> dict[Path, os.stat_result]:
    """The segments that a recorder wrote, in order of time; other files are none of ours."""
    found = {}
    for path in segments(folder):
        # Another recorder may delete it meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if _number(path):
                found[path] = path.stat()
    return found


def _delete(paths: Iterable[Path]) -> None:
    """Delete segments, what the index says of them, and the folder of the last one."""
    folders = set()
    for path in paths:
        path.unlink(missing_ok=True)
        folders.add(path.parent)
    for folder in folders:
        kept = "".join(map(_line, index(folder)))
        if not kept and not segments(folder):
            (folder / INDEX).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something else lies in it
                folder.rmdir()
            continue
        fresh = folder / f"{INDEX}.new"
        fresh.write_text(kept, encoding="utf-8")
        fresh.replace(folder / INDEX)
