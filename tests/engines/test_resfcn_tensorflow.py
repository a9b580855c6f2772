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

from streamprn.engines.checkpoint import Checkpoint
from streamprn.engines.engine import open_engine
from streamprn.engines.resfcn256 import architecture, graph
from streamprn.engines.resfcn256.importer import import_prnet
from tests.support import half
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
    crops, expected = np.load(saved / "crops.npy"), np.load(saved / "outputs.npy")
    maps = half.run(half.rounded(onnx.load(bundle / "fp16.onnx")), crops)[graph.OUTPUT]
    gap = np.abs(maps - expected).max()
    assert 1e-5 < gap < 5e-3
