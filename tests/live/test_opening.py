"""Whatever fails while a pipeline opens or runs, nothing of it is left."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from streamprn.config import Config
from streamprn.engines import detectors
from streamprn.engines import engine as engines
from streamprn.errors import BackendError, StreamPRNError
from streamprn.live import parts
from streamprn.live.pipeline import Pipeline
from streamprn.records import Kind
from streamprn.wire.publish import Publisher
from tests.live.conftest import Collector
from tests.support.wire import eventually


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def open_files() -> set[str]:
    """What this process has open, but for pipes and sockets, which pytest opens too."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return {path for path in found if path.startswith("/") and not path.startswith("/dev/")}


def threads() -> set[str]:
    ours = ("source ", "look", "finish", "publish", "tiles")
    return {one.name for one in threading.enumerate() if one.name.startswith(ours)}


class Broken(Exception):
    pass


def broken(*_args, **_options):
    raise Broken


PARTS = ["keys", "engine", "detector", "publisher", "recorder", "stream", "sink", "reader"]
PARTS += ["warm-up of the engine", "warm-up of the kernels"]


def break_part(part, monkeypatch, tmp_path):
    """Let one part fail, for real where a setting can do it; returns settings for that."""
    if part == "engine":
        return {"engine.name": str(tmp_path)}
    if part == "publisher":
        return {"publish.bind": f"ipc://{tmp_path}/missing/socket"}
    if part == "keys":
        return {"publish.curve_secret_file": str(tmp_path / "missing.key_secret")}
    if part == "recorder":
        (tmp_path / "file").write_text("")
        return {"record.dir": str(tmp_path / "file" / "below")}
    if part == "stream":
        return {"sources.0.uri": str(tmp_path / "missing.mp4")}
    if part == "detector":
        monkeypatch.setattr(detectors, "open_detector", broken)
    if part == "warm-up of the engine":
        monkeypatch.setattr(engines.BundleEngine, "infer", broken)
    if part == "warm-up of the kernels":
        monkeypatch.setattr("streamprn.live.warmup.compute", broken)
    if part == "reader":
        monkeypatch.setattr("streamprn.live.streams.Streams.start", broken)
    return {}


@pytest.mark.parametrize("part", PARTS)
def test_what_was_opened_is_closed_where_a_part_fails(part, clips, monkeypatch, tmp_path):
    port = free_port()
    mapping = {
        "sources": [{"uri": clips.still().uri, "name": "cam", "loop": True}],
        "publish": {"bind": f"tcp://127.0.0.1:{port}"},
        "record": {"dir": str(tmp_path / "recordings")},
        "detect": {"tiled": True},
    }
    sink = Collector(Kind.FACE)
    if part == "sink":
        sink.take = broken
    settings = break_part(part, monkeypatch, tmp_path)
    config = Config.from_mapping(mapping).with_overrides(settings)
    closed = []
    close = engines.BundleEngine.close
    monkeypatch.setattr(engines.BundleEngine, "close", lambda self: closed.append(1) or close(self))
    files = open_files()
    with pytest.raises((Broken, StreamPRNError)), Pipeline(config, sinks=[sink]) as pipeline:
        pipeline.run(max_frames=20)
    eventually(lambda: threads() == set())
    assert open_files() - files == set()
    Publisher(f"tcp://127.0.0.1:{port}").close()
    assert len(closed) == (0 if part in ("keys", "engine") else 1)


def test_a_pipeline_that_never_ran_closes_all_it_opened(clips):
    port = free_port()
    mapping = {
        "sources": [{"uri": clips.still().uri}],
        "publish": {"bind": f"tcp://127.0.0.1:{port}"},
    }
    sink = Collector()
    with Pipeline(Config.from_mapping(mapping), sinks=[sink]):
        assert threads() == {"publish"}
    assert sink.closed
    assert threads() == set()
    Publisher(f"tcp://127.0.0.1:{port}").close()


def test_a_pipeline_that_was_only_made_has_opened_nothing(clips):
    port = free_port()
    mapping = {
        "sources": [{"uri": clips.still().uri}],
        "publish": {"bind": f"tcp://127.0.0.1:{port}"},
    }
    Pipeline(Config.from_mapping(mapping))
    Publisher(f"tcp://127.0.0.1:{port}").close()


def test_an_engine_that_was_handed_in_stays_open(engine, detector, clips, monkeypatch):
    closed = []
    monkeypatch.setattr(engine, "close", lambda: closed.append(1))
    mapping = {
        "sources": [{"uri": clips.still().uri}],
        "publish": {"bind": "tcp://127.0.0.1:*"},
    }
    with Pipeline(Config.from_mapping(mapping), engine=engine, detector=detector) as pipeline:
        pipeline.run(max_frames=1)
    assert closed == []
    predictor = parts.HostPredictor(engine)
    with Pipeline(Config.from_mapping(mapping), engine=predictor, detector=detector) as pipeline:
        pipeline.run(max_frames=1)
    assert closed == []


def test_parts_are_closed_in_reverse_order(clips, monkeypatch):
    order = []

    def noting(kind, name):
        close = kind.close
        monkeypatch.setattr(kind, "close", lambda self: order.append(name) or close(self))

    from streamprn.live.streams import Streams
    from streamprn.wire.record import Recorder

    noting(engines.BundleEngine, "engine")
    noting(Recorder, "recorder")
    noting(Publisher, "publisher")
    noting(Streams, "streams")
    mapping = {
        "sources": [{"uri": clips.still().uri}],
        "publish": {"bind": "tcp://127.0.0.1:*"},
        "record": {"dir": str(clips.folder / "recordings")},
    }
    with Pipeline(Config.from_mapping(mapping)) as pipeline:
        pipeline.run(max_frames=1)
    assert order == ["streams", "publisher", "recorder", "engine"]


def test_an_engine_that_fails_while_it_runs_ends_the_run_with_its_error(
    engine, detector, clips, monkeypatch
):
    mapping = {
        "sources": [{"uri": clips.still().uri, "loop": True, "realtime": False}],
        "publish": {"bind": "tcp://127.0.0.1:*"},
    }
    infer, calls = engine.infer, []

    def fail_later(crops):
        calls.append(1)
        if len(calls) > 20:
            raise BackendError("the runtime failed")
        return infer(crops)

    monkeypatch.setattr(engine, "infer", fail_later)
    with (
        pytest.raises(BackendError, match="the runtime failed"),
        Pipeline(Config.from_mapping(mapping), engine=engine, detector=detector) as pipeline,
    ):
        pipeline.run()
    assert threads() == set()
