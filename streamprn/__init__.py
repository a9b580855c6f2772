"""StreamPRN: live video in, dense 3D faces out, by Position Map Regression Networks."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("streamprn")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
