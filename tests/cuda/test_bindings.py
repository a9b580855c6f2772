"""The CUDA graph calls of the device against NVIDIA's own bindings."""

import inspect

import pytest

from streamprn.engines.cuda import gpu

driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings missing: numba-cuda")


def test_every_graph_call_is_in_nvidias_bindings():
    source = inspect.getsource(gpu)
    names = {word.split("(")[0] for word in source.replace(".", " ").split() if word[:2] == "cu"}
    called = sorted(name for name in names if name[2:3].isupper())
    assert {"cuStreamBeginCapture", "cuGraphLaunch"} <= set(called)
    assert [name for name in called if not hasattr(driver, name)] == []
    assert driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL is not None
