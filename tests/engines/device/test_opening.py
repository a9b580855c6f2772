"""What happens where the device chain cannot be used: a line that says so, and the next best."""

import importlib.util
import logging
from pathlib import Path

import pytest

from streamprn.config import Config, EngineConfig
from streamprn.engines.failover import _open_on_cpu
from streamprn.engines.gpu_chain import open_device_predictor
from streamprn.engines.predict import RefineRule
from streamprn.engines.runtimes import tensorrt
from streamprn.errors import BackendError, EngineError
from streamprn.live.pipeline import Pipeline

no_gpu = pytest.mark.skipif(
    Path("/proc/driver/nvidia/version").exists(), reason="this machine has a driver"
)


@no_gpu
def test_without_a_gpu_there_is_no_chain_and_nothing_is_said_twice(caplog):
    assert open_device_predictor(EngineConfig(), RefineRule()) is None
    assert caplog.records == []


@no_gpu
def test_where_tensorrt_works_but_pycuda_does_not_one_line_says_so(caplog, monkeypatch):
    monkeypatch.setattr(tensorrt, "unusable", lambda: "")
    with caplog.at_level(logging.WARNING):
        assert open_device_predictor(EngineConfig(), RefineRule()) is None
    (record,) = caplog.records
    said = record.getMessage()
    assert "the network alone runs there" in said
    assert "\n" not in said
    missing = importlib.util.find_spec("pycuda") is None
    assert ("PyCUDA is missing" if missing else "no NVIDIA driver") in said


def test_an_engine_that_does_not_exist_is_no_reason_to_fall_back():
    with pytest.raises(EngineError, match="nonesuch"):
        open_device_predictor(EngineConfig("nonesuch"), RefineRule())


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
    with Pipeline(config("auto")) as pipeline:
        pipeline.run(max_frames=1)
        assert "tensorrt:" in pipeline.backend
        assert pipeline.backend.startswith("OpenVINO")


@no_gpu
def test_tensorrt_without_a_gpu_is_one_clear_error():
    with pytest.raises(BackendError) as caught, Pipeline(config("tensorrt")):
        pass
    assert "\n" not in str(caught.value)


def test_the_predictor_that_takes_over_from_a_lost_gpu_runs_on_the_cpu():
    predictor = _open_on_cpu(EngineConfig(), RefineRule(), 256)
    assert predictor.backend.startswith("OpenVINO")
    assert predictor.topology.vertex_count > 40_000
    predictor.close()
