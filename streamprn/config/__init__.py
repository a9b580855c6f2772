"""Settings: `Config` and its sections, checked on whatever way they come in."""

from __future__ import annotations

from streamprn.config.address import Address, SourceKind, resolve
from streamprn.config.schema import (
    Config,
    DetectConfig,
    EngineConfig,
    GeometryConfig,
    PipelineConfig,
    PublishConfig,
    RecordConfig,
    SmoothingConfig,
    TrackConfig,
    load_config,
)
from streamprn.config.service import ClusterConfig, HttpConfig, LogConfig
from streamprn.config.source import SourceConfig

__all__ = [
    "Address",
    "ClusterConfig",
    "Config",
    "DetectConfig",
    "EngineConfig",
    "GeometryConfig",
    "HttpConfig",
    "LogConfig",
    "PipelineConfig",
    "PublishConfig",
    "RecordConfig",
    "SmoothingConfig",
    "SourceConfig",
    "SourceKind",
    "TrackConfig",
    "load_config",
    "resolve",
]
