"""The half-precision networks of the packaged engines."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from streamprn.engines import registry
from streamprn.engines.bundle import Bundle
from streamprn.kernels import warp
from streamprn.records import Roi
from tests.support import half

# Sides in pixels and the largest roll of the regions in which a network sees a face.
REGIONS = {
    "facemesh": (150, 230, 0.5),
    "facemesh2": (130, 190, 0.3),
    "prn": (150, 200, 0.3),
}
# The logit of a face; that of prn is of the error that it expects, never zero.
LEAST_LOGIT = {"facemesh": 5, "facemesh2": 5, "prn": 1}


@pytest.fixture(scope="module", params=["facemesh", "facemesh2", "prn"])
def bundle(request) -> Bundle:
    return registry.find(request.param)


@pytest.fixture(scope="module")
def models(bundle) -> dict[str, onnx.ModelProto]:
    networks = bundle.networks
    return {precision: onnx.load(path) for precision, path in networks.items()}


@pytest.fixture(scope="module")
def crops(astronaut, bundle) -> np.ndarray:
    """`(24, S, S, 3)` a face off the centre, turned, near, far, and mirrored."""
    rule, (least, most, roll) = bundle.crop, REGIONS[bundle.name]
    rng = np.random.default_rng(0)
    pictures = (astronaut, np.ascontiguousarray(astronaut[:, ::-1]))
    crops = []
    for index in range(24):
        cx = (222, 511 - 222)[index % 2] + rng.uniform(-12, 12)
        cy = 115 + rng.uniform(-12, 12)
        roi = Roi(cx, cy, rng.uniform(least, most), rng.uniform(-roll, roll))
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
    assert single == [node.name for node in convolutions[-len(models["fp16"].graph.output) :]]


def test_half_precision_moves_one_point_of_a_thousand_by_a_twentieth_of_a_pixel_of_192(
    bundle, models, crops
):
    exact = half.run(models["fp32"], crops)
    rough = half.run(half.rounded(models["fp16"]), crops)
    assert (exact["logit"] > LEAST_LOGIT[bundle.name]).all(), "the crops must show a face"
    gaps = np.abs(rough["points"] - exact["points"]) * (192 / crops.shape[1])
    assert 1e-3 < np.quantile(gaps, 0.999) < 0.05
    assert gaps.max() < 0.06
    assert gaps.mean() < 0.01
    assert np.abs(rough["logit"] - exact["logit"]).max() < 0.1
