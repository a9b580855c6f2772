"""OpenFace's CSV while it happens: the columns of `streamprn export`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from streamprn.apps.export_tables import CsvWriter
from streamprn.apps.recordings import RecordedFrame
from streamprn.errors import InputError

if TYPE_CHECKING:
    from streamprn.wire import Face, FaceMessage

__all__ = ["Table", "check_free"]


def check_free(path: Path, *, replace: bool) -> None:
    """See that a file may be written.

    Raises:
        InputError: it exists, and is not to be replaced.
    """
    if os.path.lexists(path) and not replace:
        raise InputError(f"{path}: exists", hint="--replace writes over it")


class Table:
    """One row for each face of each frame, and one for a frame without any, as they come.

    Args:
        path: of the file.
        replace: write over one that exists.

    Raises:
        InputError: the file exists, or cannot be written.
    """

    newest = False
    error = ""

    def __init__(self, path: Path, *, replace: bool = False) -> None:
        check_free(path, replace=replace)
        try:
            self._writer = CsvWriter(path, None)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from error
        self._path = path
        self._run: str | None = None
        self._session = 0
        self._first_ns = 0
        self.target = str(path)

    def send(self, message: FaceMessage, faces: Sequence[Face]) -> None:
        """See `Output`."""
        if message.run != self._run:
            self._run = message.run
            self._session += 1
            self._first_ns = self._first_ns or message.stamps.wall
        frame = RecordedFrame(
            stream=message.stream,
            session=self._session,
            seq=message.seq,
            run=message.run,
            time_s=(message.stamps.wall - self._first_ns) / 1e9,
            pts_ns=message.pts_ns,
            frame_size_wh=message.frame_size_wh,
            stamps=message.stamps,
            spans_ns=message.spans_ns,
            faces=tuple(faces),
            vertices={},
            textures={},
            topology=None,
            has_mesh=False,
        )
        try:
            self._writer.add(frame)
            self._writer.flush()
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error.strerror}") from error

    def idle(self) -> None:
        """See `Output`; there are no rows for a time without frames."""

    def close(self) -> None:
        """See `Output`."""
        self._writer.close()
