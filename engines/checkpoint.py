"""Reading TensorFlow checkpoints (the "tensor bundle" of `tf.train.Saver`) without TensorFlow.

A checkpoint PREFIX is two or more files. `PREFIX.index` is a LevelDB table (sorted blocks with
shared key prefixes, a CRC-32C after each, a footer that ends in a magic number) from variable
names to `BundleEntryProto` messages; the key "" holds the `BundleHeaderProto`.
`PREFIX.data-00000-of-00001` holds the arrays themselves, end to end. No package on PyPI reads
this pair without TensorFlow (1.5 GB installed), and the format has not changed since 2016, so a
reader of our own is the light and lasting way. Every block and every array is checked against its
CRC-32C: a damaged file is refused, never imported.

Formats: `tensorflow/core/protobuf/tensor_bundle.proto`, `tensorflow/core/lib/io/format.h`.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from streamprn.errors import EngineError
from streamprn.kernels._jit import cpu_loop

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

TABLE_MAGIC: Final = 0xDB4775248B80FB57
FOOTER_BYTES: Final = 48
BLOCK_TRAILER_BYTES: Final = 5
# `tensorflow.DataType` numbers of the types that a network's variables have.
DTYPES: Final = {1: "f4", 2: "f8", 3: "i4", 4: "u1", 5: "i2", 6: "i1", 9: "i8", 10: "?", 19: "f2"}
_DAMAGED: Final = "copy or download the checkpoint again"


@dataclass(frozen=True, slots=True)
class Variable:
    """Where one variable lies. `dtype` is None for a type that this reader does not know."""

    name: str
    dtype: np.dtype[np.generic] | None
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc32c: int
    sliced: bool


class Checkpoint:
    """An open index; arrays are read one at a time with `read`.

    Args:
        prefix: the path without `.index`; one of the checkpoint's own files will do as well.

    Raises:
        EngineError: a file is missing, damaged, or no TensorFlow V2 checkpoint.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = _prefix_of(prefix)
        path = self.prefix.with_name(f"{self.prefix.name}.index")
        entries = dict(_table(_read_bytes(path), path))
        if b"" not in entries:
            raise EngineError(f"{path}: the index has no header", hint=_DAMAGED)
        header = dict(_fields(entries.pop(b""), path))
        self.shards = _integer(header.get(1, 1))
        if header.get(2, 0) != 0:
            raise EngineError(f"{path}: the checkpoint was written on a big-endian machine")
        # The keys of a partitioned variable's parts are no text.
        names = {key: key.decode(errors="backslashreplace") for key in entries}
        self.variables: Mapping[str, Variable] = {
            names[key]: _variable(names[key], value, path) for key, value in entries.items()
        }

    def shard_path(self, shard: int) -> Path:
        """The data file with that number."""
        return self.prefix.with_name(f"{self.prefix.name}.data-{shard:05d}-of-{self.shards:05d}")

    def read(self, name: str) -> NDArray[np.generic]:
        """One variable as an array of its own shape and dtype.

        Raises:
            EngineError: there is no such variable, or the data file is missing, too short or
                damaged.
        """
        variable = self.variables.get(name)
        if variable is None:
            raise EngineError(f"{self.prefix}: the checkpoint has no variable {name!r}")
        if variable.dtype is None or variable.sliced:
            raise EngineError(
                f"{self.prefix}: variable {name!r} is partitioned or of an unsupported type",
                hint="save the checkpoint with plain numeric variables",
            )
        data = self._bytes_of(variable)
        if _masked_crc32c(data) != variable.crc32c:
            raise EngineError(
                f"{self.shard_path(variable.shard)}: the checksum of variable {name!r} is wrong",
                hint=_DAMAGED,
            )
        return np.frombuffer(data, variable.dtype).reshape(variable.shape)

    def _bytes_of(self, variable: Variable) -> bytes:
        path = self.shard_path(variable.shard)
        assert variable.dtype is not None
        expected = math.prod(variable.shape) * variable.dtype.itemsize
        if variable.size != expected:
            raise EngineError(
                f"{path}: variable {variable.name!r} has {variable.size} bytes, its shape needs "
                f"{expected}",
                hint=_DAMAGED,
            )
        try:
            with path.open("rb") as file:
                file.seek(variable.offset)
                data = file.read(variable.size)
        except OSError as error:
            raise _unreadable(path, error) from error
        if len(data) < variable.size:
            raise EngineError(
                f"{path}: the file ends inside variable {variable.name!r} "
                f"({path.stat().st_size} bytes, {variable.offset + variable.size} needed)",
                hint=_DAMAGED,
            )
        return data


def _prefix_of(path: Path) -> Path:
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        example = found[0].with_suffix("") if found else "256_256_resfcn256_weight"
        raise EngineError(f"{path}: a folder, no checkpoint", hint=f"give {path / example}")
    name = path.name
    for mark in (".index", ".meta", ".data-"):
        if mark in name:
            return path.with_name(name[: name.rindex(mark)])
    return path


def _unreadable(path: Path, error: OSError) -> EngineError:
    if isinstance(error, FileNotFoundError):
        hint = "give the path without .index; the .index and .data files must lie together"
        return EngineError(f"{path}: no such file", hint=hint)
    return EngineError(f"{path}: {error.strerror or error}")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


# The LevelDB table


def _table(data: bytes, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """All keys and values of a table, in order."""
    if len(data) < FOOTER_BYTES or struct.unpack("<Q", data[-8:])[0] != TABLE_MAGIC:
        raise EngineError(
            f"{path}: not the index of a TensorFlow V2 checkpoint (wrong magic number)",
            hint=_DAMAGED,
        )
    footer = data[-FOOTER_BYTES:]
    try:
        _, position = _handle(footer, 0)
        index, _ = _handle(footer, position)
        for _, value in _block(data, index, path):
            yield from _block(data, _handle(value, 0)[0], path)
    except (IndexError, struct.error) as error:
        raise EngineError(f"{path}: the index is damaged", hint=_DAMAGED) from error


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """A block's (offset, size), and the position after it."""
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    return (offset, size), position


def _block(data: bytes, handle: tuple[int, int], path: Path) -> Iterator[tuple[bytes, bytes]]:
    offset, size = handle
    end = offset + size
    if end + BLOCK_TRAILER_BYTES > len(data):
        raise EngineError(f"{path}: the index is cut short", hint=_DAMAGED)
    (stored,) = struct.unpack_from("<I", data, end + 1)
    if _masked_crc32c(data[offset : end + 1]) != stored:
        raise EngineError(f"{path}: a checksum of the index is wrong", hint=_DAMAGED)
    if data[end] != 0:
        raise EngineError(
            f"{path}: the index is compressed, which TensorFlow's own Saver never does",
            hint="save the checkpoint again with tf.compat.v1.train.Saver",
        )
    yield from _block_entries(data[offset:end])


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * restarts
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        unshared, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        yield key, block[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


# The protocol buffers


def _fields(message: bytes, path: Path) -> list[tuple[int, int | bytes]]:
    """Field numbers and values of a protocol buffer message, undecoded."""
    try:
        return list(_undecoded(message))
    except (IndexError, struct.error, ValueError) as error:
        raise EngineError(f"{path}: the index is damaged", hint=_DAMAGED) from error


def _undecoded(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        wire = tag & 7
        value: int | bytes
        if wire == 0:
            value, position = _varint(message, position)
        elif wire == 2:
            length, position = _varint(message, position)
            value, position = message[position : position + length], position + length
        elif wire == 5:
            (value,) = struct.unpack_from("<I", message, position)
            position += 4
        elif wire == 1:
            (value,) = struct.unpack_from("<Q", message, position)
            position += 8
        else:
            raise ValueError(f"wire type {wire}")
        yield tag >> 3, value


def _variable(name: str, message: bytes, path: Path) -> Variable:
    fields = _fields(message, path)
    values = {number: _integer(value) for number, value in fields if isinstance(value, int)}
    shape: tuple[int, ...] = ()
    for number, value in fields:
        if number == 2 and isinstance(value, bytes):
            shape = tuple(_dimensions(value, path))
    code = DTYPES.get(values.get(1, 0))
    return Variable(
        name=name,
        dtype=None if code is None else np.dtype(code).newbyteorder("<"),
        shape=shape,
        shard=values.get(3, 0),
        offset=values.get(4, 0),
        size=values.get(5, 0),
        crc32c=values.get(6, 0),
        sliced=any(number == 7 for number, _ in fields),
    )


def _dimensions(message: bytes, path: Path) -> Iterator[int]:
    for number, value in _fields(message, path):
        if number == 2 and isinstance(value, bytes):
            yield _integer(dict(_fields(value, path)).get(1, 0))


def _integer(value: int | bytes) -> int:
    return value if isinstance(value, int) else 0


# CRC-32C (Castagnoli), the checksum of LevelDB and TensorFlow


def _crc_tables() -> NDArray[np.uint32]:
    """`(8, 256)` uint32: the tables of "slicing by 8" for the reflected polynomial 0x82F63B78."""
    tables = np.zeros((8, 256), np.uint32)
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        tables[0, byte] = crc
    for k in range(1, 8):
        previous = tables[k - 1]
        tables[k] = (previous >> np.uint32(8)) ^ tables[0][previous & np.uint32(255)]
    return tables


_TABLES: Final = _crc_tables()


@cpu_loop()
def _crc32c(data: NDArray[np.uint8], tables: NDArray[np.uint32]) -> np.uint32:
    crc = np.uint32(0xFFFFFFFF)
    whole = data.size - data.size % 8
    for i in range(0, whole, 8):
        crc = (
            tables[7, data[i] ^ (crc & np.uint32(255))]
            ^ tables[6, data[i + 1] ^ ((crc >> np.uint32(8)) & np.uint32(255))]
            ^ tables[5, data[i + 2] ^ ((crc >> np.uint32(16)) & np.uint32(255))]
            ^ tables[4, data[i + 3] ^ (crc >> np.uint32(24))]
            ^ tables[3, data[i + 4]]
            ^ tables[2, data[i + 5]]
            ^ tables[1, data[i + 6]]
            ^ tables[0, data[i + 7]]
        )
    for i in range(whole, data.size):
        crc = (crc >> np.uint32(8)) ^ tables[0, (crc ^ data[i]) & np.uint32(255)]
    return crc ^ np.uint32(0xFFFFFFFF)


def _masked_crc32c(data: bytes) -> int:
    """The CRC-32C as LevelDB stores it: rotated by 15 bits, plus a constant."""
    crc = int(_crc32c(np.frombuffer(data, np.uint8), _TABLES)) if data else 0
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
