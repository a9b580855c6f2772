"""Still pictures: one file, or the files of a folder in natural order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import av

from streamprn.errors import SourceError
from streamprn.source.opening import describe_error, open_video
from streamprn.source.spec import IMAGE_SUFFIXES, SourceKind, SourceSpec

__all__ = ["list_pictures", "read_picture"]

if TYPE_CHECKING:
    from collections.abc import Sequence


def list_pictures(spec: SourceSpec) -> Sequence[Path]:
    """Return the image itself, or a folder's images so that `img2` comes before `img10`."""
    path = Path(spec.uri)
    if spec.kind is SourceKind.IMAGE:
        return [path]
    try:
        found = [one for one in path.iterdir() if one.suffix.lower() in IMAGE_SUFFIXES]
    except OSError as error:
        raise SourceError(f"cannot list it: {error.strerror}", uri=spec.safe_uri) from error
    if not found:
        kinds = " ".join(sorted(IMAGE_SUFFIXES))
        raise SourceError("the folder holds no images", uri=spec.safe_uri, hint=f"known: {kinds}")
    return sorted(found, key=lambda one: _natural(one.name))


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def read_picture(spec: SourceSpec, path: Path) -> av.VideoFrame:
    """Decode the first picture of an image file.

    Raises:
        SourceError: it is missing, empty, damaged, or no image.
    """
    if not path.is_file():
        raise SourceError("no such file", uri=str(path))
    container, stream = open_video(spec, str(path))
    with container:
        try:
            for frame in container.decode(stream):
                return frame
        except (av.FFmpegError, ValueError) as error:
            raise describe_error(error, spec, str(path)) from None
    raise SourceError("holds no readable picture", uri=str(path), hint="it may be damaged")
