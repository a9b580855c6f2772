"""Settings: `Config` and its sections, checked on whatever way they come in."""

from __future__ import annotations

from streamprn.config.schema import (
    Config,
    DetectConfig,
    EngineConfig,
    GeometryConfig,
    LogConfig,
    PipelineConfig,
    PublishConfig,
    RecordConfig,
    SmoothingConfig,
    SourceConfig,
    TrackConfig,
    load_config,
)

__all__ = [
    "Config",
    "DetectConfig",
    "EngineConfig",
    "GeometryConfig",
    "LogConfig",
    "PipelineConfig",
    "PublishConfig",
    "RecordConfig",
    "SmoothingConfig",
    "SourceConfig",
    "TrackConfig",
    "load_config",
]
