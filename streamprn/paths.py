"""Where StreamPRN keeps what a user imports or builds; never inside the package."""

from __future__ import annotations

import functools
import logging
import os
import stat
import tempfile
from pathlib import Path

VARIABLE = "STREAMPRN_HOME"
_log = logging.getLogger(__name__)


def home() -> Path:
    """`STREAMPRN_HOME`, or the platform's data folder. Nothing is created.

    A user without a home folder, as in many containers, has it among the temporary files.
    """
    if given := os.environ.get(VARIABLE):
        return Path(os.path.expanduser(given)).absolute()
    from platformdirs import user_data_path

    try:
        path = user_data_path("streamprn", appauthor=False)
    except RuntimeError:  # no HOME, and no such user
        return _temporary()
    return path if path.is_absolute() else _temporary()


def engines() -> Path:
    """The folder of the user's engine bundles, one folder each."""
    return home() / "engines"


def cache() -> Path:
    """The folder of files that can be made again at any time."""
    return home() / "cache"


@functools.cache
def writable(folder: Path) -> Path | None:
    """`folder`, or where it cannot be written a private temporary one, or where neither can, None.

    It is made where it does not exist. What was chosen in place of `folder` is logged once.
    """
    if _is_writable(folder):
        if _is_private(folder, links=True):
            return folder
        _log.warning(
            "%s: others own it or can write to it, and what is cached is code: not used "
            "(remove it, or chmod 700)",
            folder,
        )
    instead = _temporary() / folder.name
    # Others can write to the folder of temporary files, and what is cached is code.
    if _is_private(_temporary()) and _is_writable(instead):
        _log.debug("%s cannot be written: using %s", folder, instead)
        return instead
    _log.debug("%s cannot be used: nothing is kept there", folder)
    return None


def _temporary() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"streamprn-{user}"


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _is_private(folder: Path, *, links: bool = False) -> bool:
    """Whether it belongs to this user and nobody else can write to it; made where it is not there.

    Args:
        folder: to look at.
        links: whether it may be a link, as in a place where nobody else can make one.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.stat() if links else folder.lstat()
    except OSError:
        return False
    if not hasattr(os, "getuid"):
        return True
    closed = not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and closed
