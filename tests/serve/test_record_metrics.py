"""What a recorder does stands in /metrics."""

from __future__ import annotations

import re

from tests.live.conftest import clips, detector, engine  # noqa: F401
from tests.serve.conftest import PICTURE, running
from tests.support.wire import eventually


def figures(call):
    text = call("GET", "/metrics").data.decode()
    return {
        name: float(value)
        for name, value in re.findall(r"^streamprn_(record\w+) ([0-9.e+]+)$", text, re.MULTILINE)
    }


def test_a_pipeline_without_a_recording_has_no_such_figures(served):
    assert figures(served.client) == {}


def test_what_is_recorded_and_what_is_missing_is_told(engine, detector, tmp_path):  # noqa: F811
    record = {"dir": str(tmp_path)}
    (tmp_path / "bad").write_text("where a folder should be")
    sources = [{"uri": PICTURE, "name": "good"}]
    with running(engine, detector, record=record, sources=sources) as one:
        eventually(lambda: figures(one.client)["record_frames_total"] > 3, 20)
        now = figures(one.client)
        assert now["record_bytes_total"] > 0
        assert now["record_segments_total"] == 1
        assert now["record_lost_frames_total"] == 0
        assert now["record_stops_total"] == 0
        assert now["recording"] == 1
        one.client("POST", "/streams", {"uri": PICTURE, "name": "bad"})
        eventually(lambda: figures(one.client)["record_lost_frames_total"] > 0, 20)
        eventually(lambda: figures(one.client)["recording"] == 0, 20)
        assert figures(one.client)["record_stops_total"] >= 1
