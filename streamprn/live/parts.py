"""The parts of a pipeline, opened as a configuration says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from streamprn.engines.blendshapes import SharedBlendshapes
from streamprn.engines.failover import open_predictor
from streamprn.engines.predict import Predictor, RefineRule
from streamprn.engines.predict_host import HostPredictor
from streamprn.records import Kind
from streamprn.wire.bind import Access
from streamprn.wire.publish import Publisher

if TYPE_CHECKING:
    import contextlib

    from streamprn.config import Config
    from streamprn.engines.protocol import Engine
    from streamprn.engines.topology import Topology
    from streamprn.wire.record import Recorder


def predictor(
    config: Config, engine: Engine | Predictor | None, opened: contextlib.ExitStack
) -> Predictor:
    """The configured predictor, which `opened` closes; or one around `engine`, which stays open.

    Raises:
        EngineError: there is no such engine, or it is damaged.
        BackendError: no runtime can be used, or the one asked for cannot.
    """
    if isinstance(engine, Predictor):
        return engine
    refine = RefineRule(config.track.recrop_threshold, config.track.min_score)
    texture_size = config.geometry.texture_size
    if engine is not None:
        return HostPredictor(engine, refine, texture_size, SharedBlendshapes())
    configured = open_predictor(config.engine, refine, texture_size)
    opened.callback(configured.close)
    return configured


def access(config: Config) -> Access:
    """Who may read what is published; quick, and before anything that takes time.

    Raises:
        InputError: a key file cannot be used, or strangers could read.
    """
    settings = config.publish
    secret, allow = settings.curve_secret_file, settings.curve_allow_dir
    return Access.load(
        settings.bind,
        None if secret is None else Path(secret),
        None if allow is None else Path(allow),
        insecure=settings.insecure,
    )


def publisher(config: Config, readers: Access, topology: Topology, *, proxied: bool) -> Publisher:
    """The publisher, bound.

    Raises:
        PublishError: the address cannot be used.
        InputError: the folder of client keys cannot be used.
    """
    settings = config.publish
    return Publisher(
        settings.bind,
        topology=topology,
        send_hwm=settings.send_hwm,
        mesh_format=settings.mesh_format,
        withheld=_withheld(config),
        curve=readers.keys,
        allow=readers.allow,
        heartbeat_s=settings.heartbeat_s,
        behind_proxy=proxied,
    )


def _withheld(config: Config) -> frozenset[Kind]:
    """The kinds that the settings do not offer."""
    offered = {
        Kind.DEPTH: config.geometry.depth,
        Kind.BLENDSHAPES: config.geometry.blendshapes,
    }
    return frozenset(kind for kind, offer in offered.items() if not offer)


def with_recordings(config: Config) -> Config:
    """The settings for several processes that record: their folder is there, and named in full.

    Raises:
        InputError: it cannot be used.
    """
    settings = config.record
    if settings.dir is None:
        return config
    from streamprn.wire.record import prepare

    folder = Path(settings.dir).absolute()
    prepare(folder, [Kind(kind) for kind in settings.kinds])
    return replace(config, record=replace(settings, dir=str(folder)))


def recorders(config: Config, topology: Topology) -> list[Recorder]:
    """What writes results to disk, where that is asked for.

    Raises:
        InputError: the folder cannot be used.
    """
    settings = config.record
    if settings.dir is None:
        return []
    from streamprn.wire.record import Recorder
    from streamprn.wire.segments import Limits

    kinds = [Kind(kind) for kind in settings.kinds]
    limits = Limits(
        segment_bytes=settings.segment_mb << 20,
        segment_s=settings.segment_s,
        keep_bytes=_bytes(settings.keep_mb),
        keep_total_bytes=_bytes(settings.keep_total_mb),
        keep_s=None if settings.keep_hours is None else settings.keep_hours * 3600,
    )
    return [Recorder(Path(settings.dir), topology, kinds, config.publish.mesh_format, limits)]


def _bytes(mebibytes: int | None) -> int | None:
    return None if mebibytes is None else mebibytes << 20
