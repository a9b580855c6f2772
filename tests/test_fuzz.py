"""Spoilt data is read or refused, without a crash, a hang or growth; see `tools/fuzz.py`."""

from __future__ import annotations

import logging

import pytest

from tools import fuzz

INPUTS = 300


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    logging.disable(logging.WARNING)
    yield fuzz.targets(tmp_path_factory.mktemp("fuzz"))
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    "name",
    [
        "decoder",
        "recordings",
        "configuration",
        "manifests",
        "topologies",
        "operators",
        "networks",
    ],
)
def test_spoilt_data_is_read_or_refused(targets, name):
    done = fuzz.fuzz(name, targets[name], INPUTS)
    assert INPUTS // 2 < done.refused <= INPUTS


def test_a_reader_that_fails_or_hangs_is_found(monkeypatch):
    def fail(data):
        raise KeyError("x")

    def hang(data):
        while True:
            pass

    monkeypatch.setattr(fuzz, "LONGEST_S", 1)
    with pytest.raises(AssertionError, match="input 0, seed 0: KeyError"):
        fuzz.fuzz("bad", fuzz.Target([b"good"], fail), 10)
    with pytest.raises(AssertionError, match="TimeoutError"):
        fuzz.fuzz("slow", fuzz.Target([b"good"], hang), 10)
