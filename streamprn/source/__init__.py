"""Sources of video: files, images, folders, cameras and network streams, read with PyAV."""

from __future__ import annotations

from streamprn.source.reader import SourceCounters, SourceReader
from streamprn.source.redact import redact
from streamprn.source.spec import SourceKind, SourceSpec, parse_source

__all__ = [
    "SourceCounters",
    "SourceKind",
    "SourceReader",
    "SourceSpec",
    "parse_source",
    "redact",
]
