"""Whose faces are smoothed: those of cameras and network streams, unless the settings say else."""

from __future__ import annotations

import threading

import pytest

from streamprn.config import Config, SourceConfig, resolve
from streamprn.engines.predict_host import HostPredictor
from streamprn.live.stream import StreamMaker

LIVE = ("rtsp://cam.local/a", "http://cam.local/a", "0", "lavfi:testsrc=rate=30,realtime")
OTHERS = ("clip.mp4", "face.png", "lavfi:testsrc=rate=30")


def config(**settings):
    return Config.from_mapping({"publish": {"bind": "tcp://127.0.0.1:*"}}).with_overrides(settings)


@pytest.mark.parametrize(
    ("enabled", "smoothed"),
    [(None, {*LIVE}), (True, {*LIVE, *OTHERS}), (False, set())],
)
def test_live_sources_alone_are_smoothed_by_default(
    engine, detector, tmp_path, monkeypatch, enabled, smoothed
):
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "face.png"):
        (tmp_path / name).write_bytes(b"0")
    settings = config(**{"track.smoothing.enabled": enabled, "track.smoothing.beta": 0.5})
    maker = StreamMaker(settings, HostPredictor(engine), detector, threading.Condition())
    found = set()
    for uri in (*LIVE, *OTHERS):
        stream = maker.make(SourceConfig(uri), resolve(uri), lambda stream, status: None)
        if stream.follower.smoother is not None:
            assert stream.follower.smoother.settings.beta == 0.5
            found.add(uri)
        stream.follower.close()
    assert found == smoothed
