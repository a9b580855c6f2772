"""StreamPRN: live video in, dense 3D faces out, by Position Map Regression Networks."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from streamprn.camera import Camera, MetricPose
    from streamprn.config import Config, SourceConfig
    from streamprn.engines.predict import Predictor
    from streamprn.errors import StreamPRNError
    from streamprn.faces.smooth import Smoothing
    from streamprn.faces.tracker import Tracker, open_engine
    from streamprn.live.pipeline import Pipeline
    from streamprn.records import BLENDSHAPES, Face, Kind, Pose
    from streamprn.wire.publish import Publisher
    from streamprn.wire.subscribe import Subscriber

    __version__: str

__all__ = [
    "BLENDSHAPES",
    "Camera",
    "Config",
    "Face",
    "Kind",
    "MetricPose",
    "Pipeline",
    "Pose",
    "Predictor",
    "Publisher",
    "Smoothing",
    "SourceConfig",
    "StreamPRNError",
    "Subscriber",
    "Tracker",
    "__version__",
    "open_engine",
]

# Loaded on first use: `import streamprn` itself loads no ZeroMQ, NumPy or video library.
_LAZY = {
    "BLENDSHAPES": "streamprn.records",
    "Camera": "streamprn.camera",
    "Config": "streamprn.config",
    "Face": "streamprn.records",
    "Kind": "streamprn.records",
    "MetricPose": "streamprn.camera",
    "Pipeline": "streamprn.live.pipeline",
    "Pose": "streamprn.records",
    "Predictor": "streamprn.engines.predict",
    "Publisher": "streamprn.wire.publish",
    "Smoothing": "streamprn.faces.smooth",
    "SourceConfig": "streamprn.config",
    "StreamPRNError": "streamprn.errors",
    "Subscriber": "streamprn.wire.subscribe",
    "Tracker": "streamprn.faces.tracker",
    "open_engine": "streamprn.faces.tracker",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(_module(_LAZY[name]), name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _module(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("streamprn."):
            raise
        raise ImportError(
            f"{name} is not in streamprn-client: install the full package, streamprn", name=name
        ) from error


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    for distribution in ("streamprn", "streamprn-client"):
        with suppress(PackageNotFoundError):
            return version(distribution)
    return "0.0.0"  # a source tree that was never installed


def __dir__() -> list[str]:
    return sorted(set(globals()) | {*_LAZY, "__version__"})
