"""A writer of TensorFlow V2 checkpoints, for tests that need damaged or unusual ones."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from streamprn.engines.checkpoint import TABLE_MAGIC, _masked_crc32c

DTYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "bool": 10, "float16": 19}


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def entry(array: np.ndarray, offset: int, crc: int) -> bytes:
    shape = b"".join(field(2, field(1, size)) for size in array.shape)
    return (
        field(1, DTYPES[array.dtype.name])
        + field(2, shape)
        + (field(4, offset) if offset else b"")
        + field(5, array.nbytes)
        + varint(6 << 3 | 5)
        + struct.pack("<I", crc)
    )


def block(entries: Mapping[bytes, bytes], kind: int = 0) -> bytes:
    """One block of a table, keys unshared, and its trailer."""
    body, restarts = b"", []
    for key, value in entries.items():
        restarts.append(len(body))
        body += varint(0) + varint(len(key)) + varint(len(value)) + key + value
    body += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts)) + bytes([kind])
    return body + struct.pack("<I", _masked_crc32c(body))


def table(entries: Mapping[bytes, bytes], kind: int = 0) -> bytes:
    data = block(entries, kind)
    index = block({b"\xff": varint(0) + varint(len(data) - 5)})
    meta = block({})
    footer = varint(len(data) + len(index)) + varint(len(meta) - 5)
    footer += varint(len(data)) + varint(len(index) - 5)
    return data + index + meta + footer.ljust(40, b"\0") + struct.pack("<Q", TABLE_MAGIC)


def write_checkpoint(prefix: Path, arrays: Mapping[str, np.ndarray], kind: int = 0) -> Path:
    """Write `prefix.index` and its one data file."""
    entries, data = {b"": field(1, 1) + field(3, field(1, 1))}, []
    offset = 0
    for name in sorted(arrays):
        raw = np.ascontiguousarray(arrays[name]).tobytes()
        entries[name.encode()] = entry(arrays[name], offset, _masked_crc32c(raw))
        data.append(raw)
        offset += len(raw)
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(entries, kind))
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(b"".join(data))
    return prefix
