"""Recordings: the messages of a run in files, and reading them back.

A recording is a sequence of MessagePack arrays `[topic, header, array 0, ..., checksum]`: the parts
of the messages that docs/wire-format.md describes, and their CRC-32. The topology comes first.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import msgpack

from streamprn.errors import InputError, WireError
from streamprn.records import FACE_DETAILS, Kind
from streamprn.wire import decode, encode_faces, encode_frame, encode_topology
from streamprn.wire.segments import SUFFIX, Limits, Segment, checksum, retire, retire_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from streamprn.records import FrameResult
    from streamprn.wire import MeshFormat, Message, Parts
    from streamprn.wire.encode import TopologyArrays

__all__ = ["RecordStatistics", "Recorder", "read", "read_parts"]

# Far above what is recorded: an 8K picture has 100 MB, a message of 64 meshes 34 MB.
MAX_PART_BYTES: Final = 256 << 20
MAX_MESSAGE_BYTES: Final = 512 << 20
MAX_PARTS: Final = 4096
_READ_BYTES: Final = 1 << 18
#: What may wait for the disk. More is left out of the recording: a frame never waits.
WAITING_BYTES: Final = 64 << 20
#: How soon a recording that had to stop is tried again.
RETRY_S: Final = 1.0
#: How often segments are looked after.
CARE_S: Final = 1.0
IDLE_S: Final = 60.0
RETIRE_S: Final = 10.0
CLOSE_S: Final = 5.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RecordStatistics:
    """What a recorder has done.

    Attributes:
        frames: written.
        bytes: of those.
        lost: frames that are missing in the recording: the disk was full or too slow.
        segments: files begun.
        stops: how often it had to stop, to go on later.
        waiting_bytes: for the disk, now.
        trouble: why nothing is written now, in words; "" while all is well.
    """

    frames: int = 0
    bytes: int = 0
    lost: int = 0
    segments: int = 0
    stops: int = 0
    waiting_bytes: int = 0
    trouble: str = ""


class _Item(NamedTuple):
    stream: str
    messages: list[Parts]
    seq: int
    wall_ns: int
    size: int


class _Removed(NamedTuple):
    stream: str


def prepare(folder: Path, kinds: Sequence[Kind]) -> None:
    """Make the folder of a recording; see `Recorder`.

    Raises:
        InputError: it cannot be made, or nothing of the kinds can stand alone.
    """
    if kinds and not set(kinds) - FACE_DETAILS:
        raise InputError(
            f"record.kinds: {' and '.join(kinds)} stand in the messages of other kinds",
            hint="add face",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be used for recordings: {error.strerror}",
            hint="name another folder",
        ) from error


class Recorder:
    """Writes every result below a folder; a sink of the pipeline.

    A thread of its own writes (see `streamprn.wire.segments` for the files). Where the disk is
    full, refuses or is too slow, frames are missing in the recording and counted, the log says so
    once, and it goes on by itself when there is room; the pipeline never waits.

    Args:
        folder: made where it does not exist. Nothing in it is overwritten.
        topology: of the engine.
        kinds: what to record, of `face`, `mesh`, `depth`, `texture`, `image`; with `blendshapes`
            or `gaze` the faces in these have theirs.
        mesh_format: "float32", or "int16" at half the size.
        limits: how large it may grow.

    Raises:
        InputError: the folder cannot be made, or `blendshapes` and `gaze` are the only kinds.
    """

    def __init__(
        self,
        folder: Path,
        topology: TopologyArrays,
        kinds: Sequence[Kind] = (Kind.FACE,),
        mesh_format: MeshFormat = "float32",
        limits: Limits | None = None,
    ) -> None:
        prepare(folder, kinds)
        self.wanted = frozenset(kinds)
        self._folder = folder
        self._topology = topology
        self._kinds = tuple(kind for kind in kinds if kind not in FACE_DETAILS)
        self._mesh_format: MeshFormat = mesh_format
        self._limits = limits or Limits()
        self._run = secrets.token_hex(8)
        self._segments: dict[str, Segment] = {}
        self._statistics = RecordStatistics()
        self._told_lost = 0
        self._retry_s = 0.0
        self._retire_s = time.monotonic()
        self._items: deque[_Item | _Removed] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="record", daemon=True)
        self._thread.start()

    def statistics(self) -> RecordStatistics:
        """A snapshot; may be called from any thread."""
        return replace(self._statistics)

    def take(self, result: FrameResult, published_ns: int) -> None:
        """Record one frame; never waits."""
        faces = encode_faces(
            result,
            visible=Kind.FACE in self.wanted,
            blendshapes=Kind.BLENDSHAPES in self.wanted,
            gaze=Kind.GAZE in self.wanted,
        )
        messages = [
            encode_frame(
                kind, result, faces, published_ns, mesh_format=self._mesh_format, run=self._run
            )
            for kind in self._kinds
        ]
        size = sum(len(part) for parts in messages for part in parts)
        frame = result.frame
        with self._changed:
            if self._closed or self._statistics.waiting_bytes + size > WAITING_BYTES:
                self._lose("the disk is too slow")
                return
            self._items.append(_Item(frame.stream, messages, frame.seq, frame.wall_ns, size))
            self._statistics.waiting_bytes += size
            self._changed.notify()

    def forget(self, stream: str) -> None:
        """Close the file of a stream that was removed, after what waits of it; never waits."""
        with self._changed:
            self._items.append(_Removed(stream))
            self._changed.notify()

    def close(self) -> None:
        """Write what waits, for five seconds at most, and close the files."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            _log.warning("%s: the disk does not take the end of the recording", self._folder)

    def _work(self) -> None:
        due_s = time.monotonic() + CARE_S
        while True:
            item = self._next(due_s)
            if isinstance(item, _Item):
                self._write(item)
            elif item is not None:
                self._end(item.stream)
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + CARE_S
                self._look_after()
            with self._changed:
                if self._closed and not self._items:
                    break
        for segment in self._segments.values():
            segment.close()

    def _next(self, due_s: float) -> _Item | _Removed | None:
        with self._changed:
            if not self._items and not self._closed:
                self._changed.wait(max(0.0, due_s - time.monotonic()))
            if not self._items:
                return None
            item = self._items.popleft()
            if isinstance(item, _Item):
                self._statistics.waiting_bytes -= item.size
            return item

    def _write(self, item: _Item) -> None:
        if time.monotonic() < self._retry_s:
            self._lose(self._statistics.trouble)
            return
        try:
            segment = self._segment(item.stream)
            segment.write(item.messages, item.seq, item.wall_ns)
        except OSError as error:
            self._stop(item.stream, error)
            return
        self._statistics.frames += 1
        self._statistics.bytes += item.size
        if self._statistics.trouble and self._statistics.waiting_bytes < WAITING_BYTES // 2:
            missing = self._statistics.lost - self._told_lost
            self._told_lost = self._statistics.lost
            self._statistics.trouble = ""
            _log.warning("%s: recording goes on; %d frames are missing", self._folder, missing)

    def _segment(self, stream: str) -> Segment:
        segment = self._segments.get(stream)
        if segment is not None and self._full(segment):
            self._end(stream)
            segment = None
        if segment is None:
            now = time.monotonic_ns()
            first = encode_topology(stream, self._topology, 0, now, time.time_ns(), run=self._run)
            segment = self._segments[stream] = Segment(self._folder / stream, self._run, first)
            self._statistics.segments += 1
            retire(self._folder / stream, self._limits, segment.path)
        return segment

    def _full(self, segment: Segment) -> bool:
        age_s = time.monotonic() - segment.opened_s
        return segment.info.bytes >= self._limits.segment_bytes or age_s >= self._limits.segment_s

    def _stop(self, stream: str, error: OSError) -> None:
        self._end(stream)
        self._retry_s = time.monotonic() + RETRY_S
        self._lose(error.strerror or str(error))

    def _end(self, stream: str) -> None:
        segment = self._segments.pop(stream, None)
        if segment is not None:
            segment.close()

    def _lose(self, why: str) -> None:
        with self._changed:
            self._statistics.lost += 1
            told, self._statistics.trouble = bool(self._statistics.trouble), why
            self._statistics.stops += not told
        if not told:
            _log.warning("%s: recording stopped: %s; it is tried again", self._folder, why)

    def _look_after(self) -> None:
        """Close the segments to which nothing came for a while; delete what is too old."""
        now = time.monotonic()
        for stream, segment in list(self._segments.items()):
            if now - segment.touched_s > IDLE_S:
                self._end(stream)
        bounded = self._limits.keep_total_bytes is not None or self._limits.keep_s is not None
        if bounded and now >= self._retire_s:
            self._retire_s = now + RETIRE_S
            current = {segment.path for segment in self._segments.values()}
            try:
                retire_all(self._folder, self._limits, current)
            except OSError as error:
                _log.debug("%s: old files cannot be deleted: %s", self._folder, error)


def read(path: Path) -> Iterator[Message]:
    """The messages of a recording, in order.

    A recording that was cut off (a full disk, a killed process) gives what is whole. A length that
    damage made longer than the rest of the file looks the same; a line in the log says where.

    Raises:
        InputError: the file cannot be opened.
        WireError: it is no recording, or damaged; the error names the number of the message.
    """
    for number, parts in enumerate(read_parts(path)):
        try:
            yield decode(parts)
        except WireError as error:
            raise _damaged(path, number, error) from error


def read_parts(path: Path) -> Iterator[list[bytes]]:
    """The parts of the messages of a recording, as `read`, without their meaning."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    with file:
        number = 0
        try:
            for parts in _split(file):
                yield parts
                number += 1
        except msgpack.OutOfData:
            _log.warning("%s: cut off within message %d", path, number)
        except (ValueError, msgpack.UnpackException) as error:
            raise _damaged(path, number, error) from error


def _damaged(path: Path, number: int, error: Exception) -> WireError:
    # The messages of MessagePack's errors may be empty.
    reason = str(error) or type(error).__name__
    other = "" if number else ", or the file is not a recording of StreamPRN"
    return WireError(
        f"{path}: message {number} is damaged{other}: {reason}",
        hint="" if number else f"recordings end in {SUFFIX}",
    )


def _split(file: IO[bytes]) -> Iterator[list[bytes]]:
    """The arrays of binaries in a file, without their meaning.

    Raises:
        msgpack.OutOfData: the file ends within one.
        msgpack.UnpackException, ValueError: it holds something else, or beyond the bounds.
    """
    unpacker = msgpack.Unpacker(
        file,
        read_size=_READ_BYTES,
        max_buffer_size=MAX_PART_BYTES + _READ_BYTES,
        max_bin_len=MAX_PART_BYTES,
        max_array_len=0,
        max_map_len=0,
        max_str_len=0,
        max_ext_len=0,
    )
    while True:
        start = unpacker.tell()
        try:
            count = unpacker.read_array_header()
        except msgpack.OutOfData:
            if file.tell() > start:
                raise
            return
        yield _parts(unpacker, count)


def _parts(unpacker: msgpack.Unpacker, count: int) -> list[bytes]:
    if count > MAX_PARTS:
        raise ValueError(f"{count} parts")
    end = unpacker.tell() + MAX_MESSAGE_BYTES
    parts: list[bytes] = []
    for place in range(count):
        part: Any = unpacker.unpack()
        if isinstance(part, int) and place == count - 1 > 0:
            if part != checksum(parts):
                raise ValueError("its checksum is wrong")
            break
        if not isinstance(part, bytes):
            raise ValueError(f"part {len(parts)} is no binary")
        if unpacker.tell() > end:
            raise ValueError(f"more than {MAX_MESSAGE_BYTES >> 20} MiB")
        parts.append(part)
    return parts
