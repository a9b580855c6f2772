"""The imported network against TensorFlow: its own checkpoint in, its own outputs out.

The weights are random, so this proves the import and the graph, not the accuracy on faces.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from streamprn.engines.checkpoint import Checkpoint
from streamprn.engines.engine import open_engine
from streamprn.engines.resfcn256 import architecture, graph
from streamprn.engines.resfcn256.importer import import_prnet
from tests.support.resfcn import write_uv_data

PROGRAM = Path(__file__).parents[1] / "reference" / "prnet_tensorflow.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not find_spec("tensorflow"), reason="tensorflow is not installed"),
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder with TensorFlow's checkpoint, crops and outputs."""
    folder = tmp_path_factory.mktemp("tensorflow")
    subprocess.run([sys.executable, PROGRAM, folder], check=True, timeout=110)
    return folder


@pytest.fixture(scope="module")
def bundle(saved) -> Path:
    data = write_uv_data(saved / "uv-data")
    return import_prnet(saved / "256_256_resfcn256_weight", data, saved / "resfcn256")


def test_tensorflows_names_and_shapes_are_those_of_the_architecture(saved):
    variables = Checkpoint(saved / "256_256_resfcn256_weight").variables
    found = {name: variable.shape for name, variable in variables.items() if "Adam" not in name}
    assert found.keys() - architecture.variables().keys() == {"beta1_power", "beta2_power"}
    assert {name: found[name] for name in architecture.variables()} == architecture.variables()
    assert len(variables) == 245 + 2 * 149 + 2


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-3), ("fp16", 5e-3)])
def test_the_imported_network_gives_tensorflows_maps(saved, bundle, backend, precision, bound):
    crops, expected = np.load(saved / "crops.npy"), np.load(saved / "outputs.npy")
    assert expected.std() > 0.1, "the reference must be more than a constant"
    engine = open_engine(bundle, backend=backend, precision=precision, threads=2)
    mask = engine.topology.mask
    maps = engine.infer(crops).maps[:, mask] / architecture.OUTPUT_SCALE
    engine.close()
    assert np.abs(maps - expected[:, mask]).max() < bound


def test_half_precision_activations_stay_within_the_bound(saved, bundle):
    """A CPU computes fp16 files in single precision; a GPU rounds every activation."""
    from streamprn.engines.runtimes.onnxruntime import import_quietly

    onnxruntime = import_quietly()
    crops, expected = np.load(saved / "crops.npy"), np.load(saved / "outputs.npy")
    model = round_activations(onnx.load(bundle / "fp16.onnx"))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (maps,) = session.run(None, {graph.INPUT: crops})
    gap = np.abs(maps - expected).max()
    assert 1e-5 < gap < 5e-3


def round_activations(model: onnx.ModelProto) -> onnx.ModelProto:
    """The fp16 network in single precision, each half-precision tensor rounded to 11 bits.

    Veltkamp's splitting: with c = (2^13 + 1) x, c - (c - x) is x with its last 13 bits rounded.
    """
    body = model.graph
    for weight in body.initializer:
        single = numpy_helper.to_array(weight).astype(np.float32)
        weight.CopyFrom(numpy_helper.from_array(single, weight.name))
    body.initializer.append(numpy_helper.from_array(np.float32(2**13 + 1), "splitter"))
    casts = [node.name for node in body.node if node.op_type == "Cast"]
    nodes, half = [], False
    for node in body.node:
        if node.op_type == "Cast":
            half = node.name == casts[0]
            nodes.append(helper.make_node("Identity", node.input, node.output))
            continue
        nodes.append(node)
        if half:
            (name,) = node.output
            node.output[0] = f"{name}:exact"
            split = [f"{name}:exact", "splitter"], [f"{name}:c"]
            nodes += [
                helper.make_node("Mul", *split),
                helper.make_node("Sub", [f"{name}:c", f"{name}:exact"], [f"{name}:rest"]),
                helper.make_node("Sub", [f"{name}:c", f"{name}:rest"], [name]),
            ]
    del body.node[:]
    body.node.extend(nodes)
    return model
