"""Files as libraries get them: read without a name, or written under theirs only when complete."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from streamprn.callbacks import called_back
from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class NamelessFile:
    """A file for reading that tells no name.

    FFmpeg reads much into one: a protocol into a colon, a pattern into `%d`, a format into a wrong
    suffix.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.read = self._file.read
        self.seek = self._file.seek
        self.tell = self._file.tell
        self.close = self._file.close


class PartialFile:
    """A file beside the wanted one, `NAME.part`, that takes its place when all of it is written.

    It is written and sought like a binary file. What goes wrong on the disk is kept for
    `reporting`, and everything after it goes nowhere: libraries may not pass errors on.

    Args:
        path: the wanted name; its folder is made if it is not there.

    Raises:
        InputError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(f"{path.name}.part")
        self._error: OSError | None = None
        self._at = self._size = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(21, "is a folder", str(path))
            self._file = self._partial.open("wb")
        except OSError as error:
            raise self._cannot(error) from error

    @property
    def name(self) -> str:
        """The name of the wanted file."""
        return str(self.path)

    @called_back
    def write(self, data: bytes) -> int:
        """See `io.RawIOBase.write`."""
        size = len(data)
        if self._error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self._error = error
        self._at += size
        self._size = max(self._size, self._at)
        return size

    @called_back
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        self._at = offset + {os.SEEK_CUR: self._at, os.SEEK_END: self._size}.get(whence, 0)
        if self._error is None:
            try:
                self._file.seek(self._at)
            except OSError as error:  # what was waiting in memory
                self._error = error
        return self._at

    @called_back
    def tell(self) -> int:
        """See `io.IOBase.tell`."""
        return self._at

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
            pass
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
