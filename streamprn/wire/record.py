"""Recordings: the messages of a run in files, one a stream, and reading them back.

A recording is a sequence of MessagePack arrays `[topic, header, array 0, ...]`: exactly the parts
of the messages that docs/wire-format.md describes. The topology comes first.
"""

from __future__ import annotations

import logging
import time
from typing import IO, TYPE_CHECKING, Final

import msgpack
import msgspec

from streamprn.errors import InputError, WireError
from streamprn.records import Kind
from streamprn.wire import decode, encode_faces, encode_frame, encode_topology

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from streamprn.records import FrameResult
    from streamprn.wire import MeshFormat, Message, Parts
    from streamprn.wire.encode import TopologyArrays

SUFFIX = ".sprn"
# Far above what is recorded: an 8K picture has 100 MB, a message of 64 meshes 34 MB.
MAX_PART_BYTES: Final = 256 << 20
MAX_MESSAGE_BYTES: Final = 512 << 20
MAX_PARTS: Final = 4096
_READ_BYTES: Final = 1 << 18
_log = logging.getLogger(__name__)
_encoder = msgspec.msgpack.Encoder()


class Recorder:
    """Writes every result below a folder, `<folder>/<stream>.sprn`; a sink of the pipeline.

    Args:
        folder: made where it does not exist. Recordings in it are overwritten.
        topology: of the engine.
        kinds: what to record, of `face`, `mesh`, `depth`, `texture`, `image`; with `blendshapes`
            the faces in these have theirs.
        mesh_format: "float32", or "int16" at half the size.

    Raises:
        InputError: the folder cannot be made, or `blendshapes` are the only kind.
    """

    def __init__(
        self,
        folder: Path,
        topology: TopologyArrays,
        kinds: Sequence[Kind] = (Kind.FACE,),
        mesh_format: MeshFormat = "float32",
    ) -> None:
        self.wanted = frozenset(kinds)
        self._folder = folder
        self._topology = topology
        self._kinds = tuple(kind for kind in kinds if kind is not Kind.BLENDSHAPES)
        if kinds and not self._kinds:
            raise InputError(
                "record.kinds: blendshapes stand in the messages of other kinds", hint="add face"
            )
        self._mesh_format: MeshFormat = mesh_format
        self._files: dict[str, IO[bytes]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be used for recordings: {error.strerror}",
                hint="name another folder",
            ) from error

    def take(self, result: FrameResult, published_ns: int) -> None:
        """Write one frame.

        Raises:
            InputError: the file cannot be written (any longer).
        """
        stream = result.frame.stream
        try:
            file = self._files.get(stream) or self._open(stream)
            faces = encode_faces(
                result,
                visible=Kind.FACE in self.wanted,
                blendshapes=Kind.BLENDSHAPES in self.wanted,
            )
            for kind in self._kinds:
                parts = encode_frame(
                    kind, result, faces, published_ns, mesh_format=self._mesh_format
                )
                file.write(_encoder.encode(parts))
        except OSError as error:
            raise InputError(
                f"{self._folder}: recording stopped: {error.strerror}",
                hint="free some space, or record fewer kinds",
            ) from error

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def _open(self, stream: str) -> IO[bytes]:
        file = (self._folder / f"{stream}{SUFFIX}").open("wb")
        self._files[stream] = file
        parts: Parts = encode_topology(
            stream, self._topology, 0, time.monotonic_ns(), time.time_ns()
        )
        file.write(_encoder.encode(parts))
        return file


def read(path: Path) -> Iterator[Message]:
    """The messages of a recording, in order.

    A recording that was cut off (a full disk, a killed process) gives what is whole. A length that
    damage made longer than the rest of the file looks the same; a line in the log says where.

    Raises:
        InputError: the file cannot be opened.
        WireError: it is no recording, or damaged; the error names the number of the message.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    with file:
        number = 0
        try:
            for parts in _split(file):
                yield decode(parts)
                number += 1
        except msgpack.OutOfData:
            _log.warning("%s: cut off within message %d", path, number)
        except (ValueError, msgpack.UnpackException) as error:
            # The messages of MessagePack's errors may be empty.
            reason = str(error) or type(error).__name__
            other = "" if number else ", or the file is not a recording of StreamPRN"
            raise WireError(
                f"{path}: message {number} is damaged{other}: {reason}",
                hint="" if number else f"recordings end in {SUFFIX}",
            ) from error


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
    for _ in range(count):
        part = unpacker.unpack()
        if not isinstance(part, bytes):
            raise ValueError(f"part {len(parts)} is no binary")
        if unpacker.tell() > end:
            raise ValueError(f"more than {MAX_MESSAGE_BYTES >> 20} MiB")
        parts.append(part)
    return parts
