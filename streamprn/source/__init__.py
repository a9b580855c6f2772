"""Sources of video: files, images, folders, cameras and network streams, read with PyAV.

What a source is stands in `streamprn.config`: `SourceConfig` describes it, `Address` is its
address understood.
"""

from __future__ import annotations

from streamprn.source.reader import SourceCounters, SourceReader

__all__ = ["SourceCounters", "SourceReader"]
