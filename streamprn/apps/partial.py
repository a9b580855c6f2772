"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class PartialFile:
    """A file beside the wanted one, `NAME.part`, that takes its place when all of it is written.

    It is written, read and sought like a binary file; what goes wrong on the disk is remembered,
    since the libraries that write through it may not pass it on.

    Args:
        path: the wanted name; its folder is made if it is not there.

    Raises:
        InputError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(f"{path.name}.part")
        self._error: OSError | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(21, "is a folder", str(path))
            self._file = self._partial.open("wb+")
        except OSError as error:
            raise self._cannot(error) from error

    @property
    def name(self) -> str:
        """The name of the wanted file."""
        return str(self.path)

    def write(self, data: bytes) -> int:
        """See `io.RawIOBase.write`."""
        try:
            return self._file.write(data)
        except OSError as error:
            self._error = error
            raise

    def read(self, size: int = -1) -> bytes:
        """See `io.RawIOBase.read`."""
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            self._error = error
            raise

    def tell(self) -> int:
        """See `io.IOBase.tell`."""
        return self._file.tell()

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """Raise `InputError` for what goes wrong on the disk within the block."""
        try:
            yield
        except InputError:
            raise
        except OSError as error:
            raise self._cannot(self._error or error) from error
        if self._error is not None:
            raise self._cannot(self._error)

    def keep(self) -> None:
        """Give the file its name.

        Raises:
            InputError: the disk is full, or the name is taken by a folder.
        """
        with self.reporting():
            self._file.flush()
            self._file.close()
            self._partial.replace(self.path)

    def discard(self) -> None:
        """Remove what was written; a second call does nothing."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def _cannot(self, error: OSError) -> InputError:
        return InputError(
            f"{self.path}: cannot be written: {error.strerror or error}",
            hint="check the folder and the free space",
        )


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it appears under its name only when it is complete.

    Raises:
        InputError: it cannot be written.
    """
    file = PartialFile(path)
    try:
        with file.reporting():
            file.write(data)
        file.keep()
    finally:
        file.discard()
