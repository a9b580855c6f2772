"""Standard input and named pipes as files that FFmpeg reads, and that can be left at any time."""

from __future__ import annotations

import os
import select

from streamprn.errors import SourceError
from streamprn.source.interrupt import is_interrupted

__all__ = ["Pipe", "open_pipe"]

_POLL_MS = 50


class Pipe:
    """A file object over a pipe: only `read`, which ends early when its thread is interrupted.

    A read waits as long as it takes: whoever writes may start later, or be slow.

    Args:
        path: of a named pipe, or `-` for standard input.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._owned = path != "-"
        # Without the flag, opening would wait for a writer, and nothing could end that.
        self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if self._owned else 0
        os.fstat(self._file)

    def read(self, size: int) -> bytes:
        """At most `size` bytes, or nothing at the end."""
        poll = select.poll()
        poll.register(self._file, select.POLLIN)
        while not is_interrupted():
            if poll.poll(_POLL_MS):
                try:
                    return os.read(self._file, size)
                except BlockingIOError:  # somebody else read it
                    continue
        return b""

    def close(self) -> None:
        """Close a named pipe; standard input stays open."""
        if self._owned:
            os.close(self._file)
            self._owned = False


class _Seekable(Pipe):
    """Standard input from a file: `streamprn run - < clip.mp4`."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of a file."""
        return os.lseek(self._file, offset, whence)

    def tell(self) -> int:
        """As of a file."""
        return os.lseek(self._file, 0, os.SEEK_CUR)


def open_pipe(path: str) -> Pipe:
    """Open standard input (`-`) or a named pipe.

    Raises:
        SourceError: it cannot be read, or is a terminal.
    """
    try:
        if path == "-" and os.isatty(0):
            raise SourceError(
                "standard input is a terminal", uri="-", hint="pipe a video into it: ... | run -"
            )
        if path == "-" and _is_seekable(0):
            return _Seekable(path)
        return Pipe(path)
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", uri=path) from error


def _is_seekable(file: int) -> bool:
    try:
        os.lseek(file, 0, os.SEEK_CUR)
    except OSError:
        return False
    return True
