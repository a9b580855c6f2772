"""Nodes and weights of an ONNX graph, collected one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Dimensions = Sequence[int | str]

OPSET: Final = 17
_IR_VERSION: Final = 9


class OnnxWriter:
    """What every writer of a network here has; methods return the name of a tensor.

    Args:
        dtype: of the weights, until a `cast`.

    Attributes:
        dtype: of the weights that are stored now.
        nodes: `onnx.NodeProto`s so far.
        weights: `onnx.TensorProto`s so far.
    """

    def __init__(self, dtype: type[np.floating[Any]]) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """An operation; its output is named after it unless a name is given."""
        from onnx import helper

        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def cast(self, x: str, dtype: type[np.floating[Any]]) -> str:
        """What follows is of that type."""
        from onnx import helper

        self.dtype = dtype
        return self.node("Cast", [x], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def store(self, name: str, array: NDArray[Any]) -> str:
        """A weight as it is."""
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def model(
        self, name: str, inputs: Mapping[str, Dimensions], outputs: Mapping[str, Dimensions]
    ) -> Any:
        """All of it as a checked `onnx.ModelProto` of float32 inputs and outputs."""
        from onnx import TensorProto, checker, helper

        def values(named: Mapping[str, Dimensions]) -> list[Any]:
            return [
                helper.make_tensor_value_info(key, TensorProto.FLOAT, list(shape))
                for key, shape in named.items()
            ]

        graph = helper.make_graph(self.nodes, name, values(inputs), values(outputs), self.weights)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        model.producer_name = "streamprn"
        checker.check_model(model, full_check=True)
        return model
