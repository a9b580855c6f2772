"""What happens where the device chain cannot be used: a line that says so, and the next best."""

import importlib.util
import logging
from pathlib import Path

import pytest

from streamprn.config import Config
from streamprn.engines.device.resident import open_resident_engine
from streamprn.engines.runtimes import tensorrt
from streamprn.errors import BackendError, EngineError
from streamprn.live.pipeline import Pipeline, open_cpu_engine

no_gpu = pytest.mark.skipif(
    Path("/proc/driver/nvidia/version").exists(), reason="this machine has a driver"
)


@no_gpu
def test_without_a_gpu_there_is_no_chain_and_nothing_is_said_twice(caplog):
    assert open_resident_engine("facemesh") is None
    assert caplog.records == []


@no_gpu
def test_where_tensorrt_works_but_pycuda_does_not_one_line_says_so(caplog, monkeypatch):
    monkeypatch.setattr(tensorrt, "unusable", lambda: "")
    with caplog.at_level(logging.WARNING):
        assert open_resident_engine("facemesh") is None
    (record,) = caplog.records
    said = record.getMessage()
    assert "the network alone runs there" in said
    assert "\n" not in said
    missing = importlib.util.find_spec("pycuda") is None
    assert ("PyCUDA is missing" if missing else "no NVIDIA driver") in said


def test_an_engine_that_does_not_exist_is_no_reason_to_fall_back():
    with pytest.raises(EngineError, match="nonesuch"):
        open_resident_engine("nonesuch")


def config(backend):
    return Config.from_mapping(
        {
            "sources": [{"uri": "testsrc2"}],
            "engine": {"backend": backend, "max_batch": 1},
            "publish": {"bind": "tcp://127.0.0.1:*"},
        }
    )


@no_gpu
def test_auto_falls_back_to_the_cpu_and_says_why():
    pipeline = Pipeline(config("auto"))
    pipeline.run(max_frames=1)
    assert "tensorrt:" in pipeline.backend
    assert pipeline.backend.startswith("OpenVINO")


@no_gpu
def test_tensorrt_without_a_gpu_is_one_clear_error():
    with pytest.raises(BackendError) as caught:
        Pipeline(config("tensorrt"))
    assert "\n" not in str(caught.value)


def test_the_engine_that_takes_over_from_a_lost_gpu_runs_on_the_cpu():
    engine = open_cpu_engine(config("auto"))
    assert engine.backend.startswith("OpenVINO")
    assert engine.topology.vertex_count > 40_000
    engine.close()
