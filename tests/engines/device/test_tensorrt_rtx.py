"""What the network asks of TensorRT-RTX beyond TensorRT, against the package itself."""

import inspect

import pytest

from streamprn.engines.runtimes.tensorrt import TensorRtNetwork


def test_every_setting_of_an_execution_context_is_in_the_package():
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    source = inspect.getsource(TensorRtNetwork._settings)
    assert hasattr(trt.DynamicShapesKernelSpecializationStrategy, "EAGER")
    assert "create_runtime_config" in source
    assert hasattr(trt.ICudaEngine, "create_runtime_config")
    assert "dynamic_shapes_kernel_specialization_strategy" in source
    assert hasattr(trt.IRuntimeConfig, "dynamic_shapes_kernel_specialization_strategy")
    assert "IRuntimeConfig" in trt.ICudaEngine.create_execution_context.__doc__
