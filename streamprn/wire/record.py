"""Recordings: the messages of a run in files, one a stream, and reading them back.

A recording is a sequence of MessagePack arrays `[topic, header, array 0, ...]`: exactly the parts
of the messages that docs/wire-format.md describes. The topology comes first.
"""

from __future__ import annotations

import time
from typing import IO, TYPE_CHECKING

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
_encoder = msgspec.msgpack.Encoder()


class Recorder:
    """Writes every result below a folder, `<folder>/<stream>.sprn`; a sink of the pipeline.

    Args:
        folder: made where it does not exist. Recordings in it are overwritten.
        topology: of the engine.
        kinds: what to record, of `face`, `mesh`, `depth`, `texture`, `image`.
        mesh_format: "float32", or "int16" at half the size.

    Raises:
        InputError: the folder cannot be made.
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
        self._kinds = tuple(kinds)
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
            faces = encode_faces(result, visible=Kind.FACE in self.wanted)
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

    A recording that was cut off (a full disk, a killed process) gives what is whole.

    Raises:
        InputError: the file cannot be opened.
        WireError: it is no recording.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    with file:
        for number, blob in enumerate(_split(file)):
            try:
                parts = msgspec.msgpack.decode(blob, type=list[bytes])
                yield decode(parts)
            except (msgspec.DecodeError, WireError) as error:
                raise WireError(f"{path}: message {number} is damaged: {error}") from error


def _split(file: IO[bytes]) -> Iterator[bytes]:
    """The MessagePack arrays of binaries in a file, one by one, without their meaning."""
    while head := file.read(1):
        count, blob = _array_length(head, file)
        for _ in range(count):
            part = _binary(file)
            if part is None:
                return
            blob += part
        yield blob


def _array_length(head: bytes, file: IO[bytes]) -> tuple[int, bytes]:
    if 0x90 <= head[0] <= 0x9F:
        return head[0] & 0x0F, head
    if head[0] == 0xDC:
        more = file.read(2)
        return int.from_bytes(more, "big"), head + more
    raise WireError("not a recording of StreamPRN", hint="recordings end in .sprn")


def _binary(file: IO[bytes]) -> bytes | None:
    """One MessagePack binary with its head; None where the file ends in it."""
    head = file.read(1)
    if not head:
        return None
    width = {0xC4: 1, 0xC5: 2, 0xC6: 4}.get(head[0])
    if width is None:
        raise WireError("not a recording of StreamPRN", hint="recordings end in .sprn")
    size = file.read(width)
    body = file.read(int.from_bytes(size, "big"))
    if len(size) < width or len(body) < int.from_bytes(size, "big"):
        return None
    return head + size + body
