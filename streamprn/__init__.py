"""StreamPRN: live video in, dense 3D faces out, by Position Map Regression Networks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamprn.wire.publish import Publisher
    from streamprn.wire.subscribe import Subscriber

    __version__: str

__all__ = ["Publisher", "Subscriber", "__version__"]

# Loaded on first use: `import streamprn` itself loads no ZeroMQ, NumPy or video library.
_LAZY = {"Publisher": "streamprn.wire.publish", "Subscriber": "streamprn.wire.subscribe"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("streamprn")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0.0.0"


def __dir__() -> list[str]:
    return sorted(set(globals()) | {*_LAZY, "__version__"})
