"""What the log tells of streams: cameras that die and return, as many faces as may be."""

from __future__ import annotations

import logging
import threading

import pytest

from streamprn.config import Config
from streamprn.live.pipeline import Pipeline
from tests.support.rtsp_server import RtspServer
from tests.support.wire import eventually


@pytest.fixture
def warnings_of(caplog):
    """The warnings that `streamprn run --quiet` shows."""
    caplog.set_level(logging.INFO, "streamprn")

    def found():
        return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]

    return found


def test_a_camera_that_dies_and_returns_is_a_warning_each_time_and_no_more(
    engine, detector, clips, warnings_of
):
    with RtspServer([clips.still().path]) as server:
        source = {
            "uri": server.url,
            "name": "cam",
            "backoff_initial_s": 0.02,
            "backoff_max_s": 0.05,
        }
        config = Config.from_mapping(
            {"publish": {"bind": "tcp://127.0.0.1:*"}, "sources": [source]}
        )
        stop = threading.Event()
        with Pipeline(config, engine=engine, detector=detector) as pipeline:
            thread = threading.Thread(target=pipeline.run, args=(stop,))
            thread.start()
            (stream,) = pipeline.streams
            eventually(lambda: stream.statistics.frames > 2, 60)
            assert warnings_of() == []
            server.vanish()
            eventually(lambda: stream.reader.counters.reconnects >= 3)
            assert [said.partition(":")[0] for said in warnings_of()] == ["cam is reconnecting"]
            server.come_back()
            eventually(lambda: len(warnings_of()) > 1)
            assert warnings_of()[1:] == ["cam is live again"]
            stop.set()
            thread.join(10)


def test_that_further_faces_are_not_looked_for_is_said_once(run, clips, caplog):
    caplog.set_level(logging.INFO, "streamprn")
    clip = clips.two_faces(frames=20).uri
    run({"uri": clip, "name": "room"}, settings={"detect.max_faces": 1})
    said = [one for one in caplog.records if "detect.max_faces" in one.getMessage()]
    assert [one.stream for one in said] == ["room"]
    caplog.clear()
    run({"uri": clip, "name": "room"}, settings={"detect.max_faces": 3})
    assert "detect.max_faces" not in caplog.text
