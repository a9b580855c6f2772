"""A sample of `benchmarks/faults.py`: what breaks comes back, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.faults import attempt
from benchmarks.rig.catalogue import FAULTS
from benchmarks.rig.stage import Guest, Stage
from tests.support.wire import eventually

NAMES = ["RTSP server killed", "every slice garbage", "random bytes at both ports, killed"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("faults")) as stage:
        # What is opened with the first stream of a kind stays open.
        with Guest(stage, "rtsp"):
            pass
        yield stage


@pytest.mark.parametrize("name", NAMES)
def test_a_service_recovers_from_faults_and_nothing_is_left(stage, name):
    fault = next(fault for fault in FAULTS if fault.name == name)
    before = stage.service.usage()
    with Guest(stage, **{"kind": "", **fault.guest}) as guest:
        found = attempt(replace(fault, hold_s=1.0), guest, calm_s=0.5)
    assert found["wrong"] == ""
    assert found["recovery_s"] is not None, stage.service.said()
    assert found["frames"] > 0, "the neighbour stood still"
    # Two for what closes late; hundreds of connections came and went.
    for what in ("threads", "descriptors"):
        eventually(lambda what=what: stage.service.usage()[what] <= before[what] + 2)
