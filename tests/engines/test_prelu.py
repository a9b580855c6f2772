"""PReLU as OpenVINO computes it fastest."""

import numpy as np
import pytest

from streamprn.engines.engine import open_runtime
from streamprn.engines.runtimes import prelu
from streamprn.engines.runtimes.openvino import read_network
from streamprn.engines.verify import invented_pictures
from tests.engines import litert


@pytest.mark.parametrize("name", ["facemesh", "facemesh2"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_split_prelu_says_the_same_numbers(monkeypatch, name, precision):
    from dataclasses import replace

    spec = replace(litert.spec(name), precision=precision)
    crops = invented_pictures(1, spec.size)
    said = []
    for pays in (False, True):
        monkeypatch.setattr(prelu, "pays", lambda pays=pays: pays)
        runtime, _ = open_runtime(spec, "openvino")
        said.append({key: value.copy() for key, value in runtime.run(crops).items()})
        runtime.close()
    for key, value in said[0].items():
        np.testing.assert_allclose(said[1][key], value, rtol=0, atol=1e-5)


def test_every_prelu_of_a_network_is_split():
    model = read_network(litert.spec("facemesh2").networks["fp32"])
    kinds = [node.get_type_name() for node in model.get_ops()]
    assert prelu.split(model) == kinds.count("PRelu") == 69
    assert "PRelu" not in [node.get_type_name() for node in model.get_ops()]


def test_a_vector_of_slopes_stays_as_it_is():
    import openvino
    from openvino import opset13 as operators

    x = operators.parameter([1, 4, 2, 2], np.float32)
    slope = operators.constant(np.ones(4, np.float32))
    model = openvino.Model([operators.prelu(x, slope)], [x])
    assert prelu.split(model) == 0
