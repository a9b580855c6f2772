"""The PRN network as ONNX."""

import math

import numpy as np
import onnx
import pytest

from streamprn.engines.inspection import inspect_network
from streamprn.engines.resfcn256 import architecture, graph
from streamprn.errors import EngineError
from tests.support.resfcn import random_variables


@pytest.fixture(scope="module")
def arrays():
    return random_variables()


@pytest.fixture(scope="module")
def models(arrays):
    return {precision: graph.build(arrays, precision) for precision in graph.PRECISIONS}


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding, before and after."""
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def test_the_network_has_the_papers_245_variables_and_13_million_parameters():
    variables = architecture.variables()
    assert len(variables) == 245
    trained = sum(math.prod(shape) for name, shape in variables.items() if "moving" not in name)
    assert trained == 13_353_618
    assert variables["resfcn256/resBlock_3/Conv_1/BatchNorm/gamma"] == (32,)
    assert variables["resfcn256/resBlock/shortcut/weights"] == (1, 1, 16, 32)
    assert variables["resfcn256/Conv2d_transpose_16/weights"] == (4, 4, 3, 3)
    assert "resfcn256/resBlock_1/shortcut/weights" not in variables


def test_the_work_counted_from_the_file_is_that_of_the_architecture(models, tmp_path):
    path = tmp_path / "network.onnx"
    path.write_bytes(models["fp16"].SerializeToString())
    info = inspect_network(path, architecture.SIZE)
    assert info.macs == architecture.macs() == 4_129_292_288
    assert info.inputs == {"input": "(B, 256, 256, 3) float32"}
    assert info.outputs == {"position_map": "(B, 256, 256, 3) float32"}


def test_convolutions_are_padded_as_tensorflow_does(models):
    layers = {f"{conv.name}/weights": conv for conv in architecture.convolutions()}
    seen = 0
    for node in models["fp32"].graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        conv = layers[node.input[1]]
        (pads,) = (list(a.ints) for a in node.attribute if a.name == "pads")
        if conv.transposed:
            # Of the convolution whose gradient it is.
            before, after = same_padding(conv.size, conv.kernel, conv.stride)
            if node.op_type == "Conv":
                before, after = conv.kernel - 1 - before, conv.kernel - 1 - after
        else:
            before, after = same_padding(conv.size * conv.stride, conv.kernel, conv.stride)
        assert pads == [before, before, after, after], conv.name
        seen += 1
    assert seen == len(layers) == 53


def test_the_fp16_file_is_half_as_large_and_computes_in_half_but_for_its_last_layers(models):
    sizes = {name: len(model.SerializeToString()) for name, model in models.items()}
    assert sizes["fp16"] < 0.51 * sizes["fp32"]
    types = {weight.name: weight.data_type for weight in models["fp16"].graph.initializer}
    single = {name for name, kind in types.items() if kind == onnx.TensorProto.FLOAT}
    last = {conv.name for conv in architecture.DECODER[-3:]}
    assert {name.rpartition("/")[0] for name in single} == last


def test_missing_variables_are_named(arrays):
    less = {name: value for name, value in arrays.items() if "resBlock_4/shortcut" not in name}
    with pytest.raises(EngineError, match="missing variables: resfcn256/resBlock_4/shortcut"):
        graph.build(less)


def test_wrong_shapes_are_named(arrays):
    name = "resfcn256/Conv/weights"
    with pytest.raises(
        EngineError, match=rf"wrong shapes: {name} is \(2,\), expected \(4, 4, 3, 16\)"
    ):
        graph.build(arrays | {name: np.zeros(2, np.float32)})


def test_unknown_variables_are_named(arrays):
    with pytest.raises(EngineError, match="unknown variables: other/weights"):
        graph.build(arrays | {"other/weights": np.zeros(2, np.float32)})


def test_weights_that_half_precision_cannot_hold_are_named(arrays):
    name = "resfcn256/Conv/BatchNorm/gamma"
    large = arrays | {name: np.full(16, 1e8, np.float32)}
    graph.build(large, "fp32")
    with pytest.raises(EngineError, match=r"resfcn256/Conv/weights: .* exceeds float16"):
        graph.build(large, "fp16")


def test_weights_that_are_not_finite_are_named(arrays):
    name = "resfcn256/Conv/BatchNorm/beta"
    with pytest.raises(EngineError, match=f"NaN or infinity: {name}"):
        graph.build(arrays | {name: np.full(16, np.nan, np.float32)})
