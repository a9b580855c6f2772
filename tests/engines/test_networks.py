import importlib
from dataclasses import replace

import numpy as np
import pytest

from streamprn.engines.engine import open_engine, open_runtime
from streamprn.errors import BackendError, EngineError
from tests.engines import litert

BACKENDS = ("openvino", "onnxruntime")


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.mark.parametrize("name", litert.NETWORKS)
def test_a_converted_network_says_what_litert_says(name, backend):
    runtime, _ = open_runtime(litert.spec(name, max_batch=4), backend)
    outputs = runtime.run(litert.inputs(name))
    for key, expected in litert.recorded(name).items():
        found = outputs[key][:, :: litert.STRIDE[key]] if key in litert.STRIDE else outputs[key]
        np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-5, err_msg=key)


@pytest.mark.parametrize("count", [2, 4, 7])
def test_a_batch_says_what_single_crops_say(count, backend):
    runtime, _ = open_runtime(litert.spec("facemesh", max_batch=8), backend)
    pictures = litert.inputs("facemesh")
    crops = np.stack([np.roll(pictures[i % 3], 5 * i, axis=1) for i in range(count)])
    batch = {key: value.copy() for key, value in runtime.run(crops).items()}
    assert batch["points"].shape == (count, 468, 3)
    for i in range(count):
        single = runtime.run(crops[i : i + 1])
        np.testing.assert_allclose(batch["points"][i], single["points"][0], atol=2e-3)
        np.testing.assert_allclose(batch["logit"][i], single["logit"][0], atol=1e-3)


def test_openvino_and_onnx_runtime_make_the_same_maps():
    crops = litert.inputs("facemesh")
    results = []
    for backend in BACKENDS:
        engine = open_engine("facemesh", backend=backend, max_batch=3)
        inference = engine.infer(crops)
        results.append((inference.maps.copy(), inference.scores.copy()))
        assert engine.backend.startswith(("OpenVINO", "ONNX Runtime"))
        engine.close()
    np.testing.assert_allclose(results[0][0], results[1][0], atol=2e-3)
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-4)


def test_the_automatic_backend_says_why_it_was_chosen(monkeypatch):
    openvino = importlib.import_module("streamprn.engines.runtimes.openvino")
    tensorrt = importlib.import_module("streamprn.engines.runtimes.tensorrt")
    monkeypatch.setattr(tensorrt, "unusable", lambda: "no card")
    monkeypatch.setattr(openvino, "unusable", lambda: "not here")
    runtime, reason = open_runtime(litert.spec("short"))
    assert runtime.description.startswith("ONNX Runtime")
    assert reason == "chosen automatically; tensorrt: no card; openvino: not here"


def test_a_backend_that_is_asked_for_but_absent_is_a_backend_error(monkeypatch):
    openvino = importlib.import_module("streamprn.engines.runtimes.openvino")
    monkeypatch.setattr(openvino, "unusable", lambda: "not here")
    with pytest.raises(BackendError, match="not here"):
        open_runtime(litert.spec("short"), "openvino")
    with pytest.raises(BackendError, match="choose one of: auto"):
        open_runtime(litert.spec("short"), "tpu")


def test_a_precision_that_is_not_in_the_bundle_is_an_engine_error(backend):
    with pytest.raises(EngineError, match="no fp16 network"):
        open_runtime(replace(litert.spec("short"), precision="fp16"), backend)


def test_a_damaged_network_is_an_engine_error(backend, tmp_path):
    spec = litert.spec("short")
    damaged = tmp_path / "short.onnx"
    damaged.write_bytes(spec.networks["fp32"].read_bytes()[:5000])
    with pytest.raises(EngineError, match=r"short\.onnx: not a network"):
        open_runtime(type(spec)("short", {"fp32": damaged}, spec.size), backend)


@pytest.mark.parametrize("shape", [(0, 192, 192, 3), (9, 192, 192, 3), (1, 128, 128, 3)])
def test_crops_of_a_wrong_shape_are_refused(facemesh, shape):
    with pytest.raises(ValueError, match="crops must be"):
        facemesh.infer(np.zeros(shape, np.float32))
