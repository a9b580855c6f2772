"""MATLAB 5 files, as far as face datasets use them: named numeric matrices.

Written after the published "MAT-File Format" description. Cells, structures, sparse matrices and
text are skipped on reading. Files of version 7.3 are HDF5 and are refused with a hint.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_MATRIX, _COMPRESSED = 14, 15
_DATA_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_DATA_TYPES |= {12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}
_CLASSES |= {14: "i8", 15: "u8"}
_HEADER_BYTES = 128
# A face dataset's largest matrix is a few MB; a damaged size must not fill the memory.
_MAX_INFLATED_BYTES = 1 << 30


def read_mat(path: Path) -> dict[str, NDArray[Any]]:
    """The real numeric matrices of a MATLAB 5 file by name, each with its MATLAB shape.

    Raises:
        InputError: the file is missing, damaged, or of another version.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if data[:19] == b"MATLAB 7.3 MAT-file"[:19]:
        raise InputError(f"{path}: is a MATLAB 7.3 file", hint="save it with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise InputError(f"{path}: is no MATLAB 5 file")
    try:
        return dict(_matrices(data[_HEADER_BYTES:], order))
    except (struct.error, zlib.error, ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path}: is damaged: {error}", hint="copy the dataset again") from error


def _matrices(data: bytes, order: str) -> Iterator[tuple[str, NDArray[Any]]]:
    for kind, body in _elements(data, order):
        if kind == _COMPRESSED:
            inflater = zlib.decompressobj()
            yield from _matrices(inflater.decompress(body, _MAX_INFLATED_BYTES), order)
        elif kind == _MATRIX:
            named = _matrix(body, order)
            if named is not None:
                yield named


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # a small element: its size and data share the tag's 8 bytes
            size = kind >> 16
            yield kind & 0xFFFF, data[at + 4 : at + 4 + size]
            at += 8
            continue
        body = data[at + 8 : at + 8 + size]
        if len(body) < size:
            raise ValueError("it ends in the middle of a value")
        yield kind, body
        # Compressed elements alone are not padded to 8 bytes.
        at += 8 + (size if kind == _COMPRESSED else size + -size % 8)


def _matrix(body: bytes, order: str) -> tuple[str, NDArray[Any]] | None:
    parts = list(_elements(body, order))
    flags = struct.unpack_from(f"{order}I", parts[0][1])[0]
    kind, is_complex = flags & 0xFF, bool(flags & 0x0800)
    if kind not in _CLASSES or is_complex:
        return None
    shape = np.frombuffer(parts[1][1], f"{order}i4")
    name = parts[2][1].decode("ascii", "replace")
    stored, raw = parts[3]
    values = np.frombuffer(raw, np.dtype(order + _DATA_TYPES[stored]))
    return name, values.astype(_CLASSES[kind]).reshape(shape, order="F")


def write_mat(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write matrices of float32, float64, int32 or uint8 to a MATLAB 5 file.

    Vectors `(N,)` become columns `(N, 1)`.
    """
    text = b"MATLAB 5.0 MAT-file, written by StreamPRN"
    header = text.ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    body = b"".join(_encode(name, np.asarray(array)) for name, array in arrays.items())
    path.write_bytes(header + body)


def _encode(name: str, array: NDArray[Any]) -> bytes:
    if array.ndim < 2:
        array = array.reshape(-1, 1)
    code = array.dtype.str[1:]
    kind = {value: key for key, value in _CLASSES.items()}[code]
    stored = {value: key for key, value in _DATA_TYPES.items()}[code]
    little = array.astype(array.dtype.newbyteorder("<"))
    parts = [
        _element(6, struct.pack("<II", kind, 0)),
        _element(5, np.array(array.shape, "<i4").tobytes()),
        _element(1, name.encode("ascii")),
        _element(stored, little.tobytes(order="F")),
    ]
    return _element(_MATRIX, b"".join(parts))


def _element(kind: int, body: bytes) -> bytes:
    return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)
