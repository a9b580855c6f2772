"""Files that hold a secret: of this user alone, small, and never a pipe."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from streamprn.errors import InputError

__all__ = ["read_private"]

_MAX_BYTES = 4096


def read_private(path: Path, what: str, hint: str) -> str:
    """The text of a file that nobody but its owner can read or write.

    Args:
        path: the file.
        what: it holds, for errors: "token".
        hint: what to do where there is none.

    Raises:
        InputError: the file is missing, no file, open to others, or of another user.
    """
    try:
        # Without O_NONBLOCK a FIFO would hold the program up for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path}: no {what} can be read: {reason}", hint=hint) from error
    try:
        _check_owner(path, os.fstat(descriptor), what, hint)
        data = os.read(descriptor, _MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > _MAX_BYTES:
        raise InputError(f"{path}: too long for a {what}", hint=hint)
    return data.decode("utf-8", "replace")


def _check_owner(path: Path, about: os.stat_result, what: str, hint: str) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise InputError(f"{path}: no {what} can be read: not a file", hint=hint)
    if about.st_uid not in (os.geteuid(), 0):
        raise InputError(
            f"{path}: belongs to another user", hint=f"who owns the file chooses the {what}"
        )
    if about.st_mode & 0o077:
        mode = f"{stat.S_IMODE(about.st_mode):04o}"
        raise InputError(
            f"{path}: other users can read or write the {what} (mode {mode})",
            hint=f"chmod 600 {path}",
        )
