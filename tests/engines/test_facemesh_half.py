"""The half-precision network of the default engine."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from streamprn.engines import registry
from streamprn.kernels import warp
from streamprn.records import Roi
from tests.support import half


@pytest.fixture(scope="module")
def models() -> dict[str, onnx.ModelProto]:
    networks = registry.find("facemesh").networks
    return {precision: onnx.load(path) for precision, path in networks.items()}


@pytest.fixture(scope="module")
def crops(astronaut) -> np.ndarray:
    """`(24, 192, 192, 3)` a face off the centre, turned, near, far, and mirrored."""
    rule = registry.find("facemesh").crop
    rng = np.random.default_rng(0)
    pictures = (astronaut, np.ascontiguousarray(astronaut[:, ::-1]))
    crops = []
    for index in range(24):
        cx = (222, 511 - 222)[index % 2] + rng.uniform(-12, 12)
        roi = Roi(cx, 115 + rng.uniform(-12, 12), rng.uniform(150, 230), rng.uniform(-0.5, 0.5))
        matrix = rule.frame_from_crop(roi)[None]
        crops.append(warp.warp_rgb(pictures[index % 2], matrix, rule.size)[0].copy())
    return np.stack(crops)


def weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {weight.name: numpy_helper.to_array(weight) for weight in model.graph.initializer}


def test_the_weights_are_the_same_numbers_in_both_files(models):
    single, double = (weights(models[precision]) for precision in ("fp16", "fp32"))
    assert single.keys() == double.keys()
    for name, value in double.items():
        np.testing.assert_array_equal(single[name].astype(value.dtype), value)


def test_only_the_convolutions_that_give_the_outputs_are_in_single_precision(models):
    values = weights(models["fp16"])
    convolutions = [node for node in models["fp16"].graph.node if node.op_type == "Conv"]
    single = [node.name for node in convolutions if values[node.input[1]].dtype == np.float32]
    assert single == [node.name for node in convolutions[-2:]]


def test_half_precision_moves_a_point_by_less_than_a_twentieth_of_a_pixel(models, crops):
    exact = half.run(models["fp32"], crops)
    rough = half.run(half.rounded(models["fp16"]), crops)
    assert (exact["logit"] > 5).all(), "the crops must show a face"
    gaps = np.abs(rough["points"] - exact["points"])
    assert 1e-3 < gaps.max() < 0.05
    assert gaps.mean() < 0.01
    assert np.abs(rough["logit"] - exact["logit"]).max() < 0.1
