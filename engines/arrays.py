"""Reading the arrays of a bundle, trusting nothing in the file."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from zipfile import ZipFile

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_arrays"]

#: Of all arrays of a file together, unpacked; the packaged ones have 13 MB.
MAX_BYTES: Final = 256 << 20
MAX_ARRAYS: Final = 256


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name; nothing in it is unpickled.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or larger than `MAX_BYTES` once it is unpacked.
    """
    with path.open("rb") as file:
        packed = file.read(MAX_BYTES + 1)
    if len(packed) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES >> 20} MiB")
    try:
        _check_sizes(packed)
        with np.load(BytesIO(packed), allow_pickle=False) as data:
            return {name: _array(data, name) for name in data.files}
    except ValueError:
        raise
    except Exception as error:
        # Damage comes out of zipfile, zlib, ast and tokenize, in errors of many kinds; among them
        # are MemoryError and RecursionError of a header that is made to provoke them.
        raise ValueError(str(error) or type(error).__name__) from error


def _check_sizes(packed: bytes) -> None:
    with ZipFile(BytesIO(packed)) as archive:
        members = archive.infolist()
    if len(members) > MAX_ARRAYS:
        raise ValueError(f"{len(members)} arrays")
    if sum(member.file_size for member in members) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES >> 20} MiB once it is unpacked")


def _array(data: Any, name: str) -> NDArray[Any]:
    found = data[name]
    if not isinstance(found, np.ndarray):  # a member that is no array comes as its bytes
        raise ValueError(f"{name[:80]!r} is no array")
    return found
