"""StreamPRN: live video in, dense 3D faces out, by Position Map Regression Networks."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamprn.publish import Publisher
    from streamprn.subscribe import Subscriber

__all__ = ["Publisher", "Subscriber", "__version__"]

try:
    __version__ = version("streamprn")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"

# Loaded on first use: `import streamprn` itself loads no ZeroMQ, NumPy or video library.
_LAZY = {"Publisher": "streamprn.publish", "Subscriber": "streamprn.subscribe"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_LAZY))
