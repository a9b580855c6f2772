"""Files that hold a secret: of this user alone, small, and never a pipe."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from streamprn.errors import InputError

__all__ = ["check_private", "read_private", "read_small"]

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
    text, about = read_small(path, what, hint)
    check_private(path, about, what)
    return text


def read_small(path: Path, what: str, hint: str) -> tuple[str, os.stat_result]:
    """The text of a file of at most 4 KiB, and whose it is; `check_private` judges that.

    Args:
        path: the file.
        what: it holds, for errors: "token".
        hint: what to do where there is none.

    Raises:
        InputError: the file is missing, no file, or larger.
    """
    try:
        # Without O_NONBLOCK a FIFO would hold the program up for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path}: no {what} can be read: {reason}", hint=hint) from error
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise InputError(f"{path}: no {what} can be read: not a file", hint=hint)
        data = os.read(descriptor, _MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > _MAX_BYTES:
        raise InputError(f"{path}: too long for a {what}", hint=hint)
    return data.decode("utf-8", "replace"), about


def check_private(path: Path, about: os.stat_result, what: str) -> None:
    """Refuse a file that is not of this user or root alone.

    Args:
        path: the file, for errors.
        about: its mode and owner.
        what: it holds, for errors.

    Raises:
        InputError: others may read or write it, or it belongs to another user.
    """
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
