"""Writing files and folders all or nothing."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from streamprn.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def scratch_beside(target: Path) -> Iterator[Path]:
    """A place to make `target`: a path of the same name in a hidden folder next to it.

    The folder goes away at the end, with all that was not moved into place.

    Raises:
        EngineError: instead of every OSError.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as folder:
            yield Path(folder) / target.name
    except OSError as error:
        raise EngineError(
            f"{target}: cannot be written: {error.strerror or error}",
            hint="choose another place; `import-prnet` writes below STREAMPRN_HOME",
        ) from error


def move_into_place(made: Path, target: Path) -> None:
    """Rename `made`, in a folder of `scratch_beside`, to `target`.

    A folder that was there before goes away with the scratch folder.
    """
    if not target.is_dir():
        os.replace(made, target)
        return
    old = made.with_name(f"{made.name}.old")
    os.replace(target, old)
    try:
        os.replace(made, target)
    except OSError:
        os.replace(old, target)
        raise
