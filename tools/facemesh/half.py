"""The half-precision copy of a network, with the types in the graph.

Strongly typed TensorRT networks take their precision from the file, so a network that shall run in
half precision needs one of its own. Inputs and outputs stay float32; casts stand where the
precision changes.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LARGEST = float(np.finfo(np.float16).max)


def half(model: onnx.ModelProto, single: Collection[str]) -> onnx.ModelProto:
    """The network in half precision, but for some of its nodes.

    Args:
        model: in single precision.
        single: names of the nodes that stay in single precision.

    Raises:
        ValueError: a node's name is not in the graph, or a weight is too large.
    """
    if missing := set(single).difference(node.name for node in model.graph.node):
        raise ValueError(f"the graph has no {', '.join(sorted(missing))}")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _Halving(copy.graph, single).run()
    onnx.checker.check_model(copy, full_check=True)
    return copy


def heads(model: onnx.ModelProto) -> set[str]:
    """The convolutions that give the outputs, and what comes after them value by value.

    They stay in single precision: a coordinate above 128 in half precision has steps of 0.125.
    """
    maker = {name: node for node in model.graph.node for name in node.output}
    found = set()
    for output in model.graph.output:
        node = maker[output.name]
        while node.op_type in ("Reshape", "Transpose", "Sigmoid"):
            found.add(node.name)
            node = maker[node.input[0]]
        found.add(node.name)
    return found


class _Halving:
    """One graph on its way; `present` holds the precisions in which each tensor exists."""

    def __init__(self, graph: onnx.GraphProto, single: Collection[str]) -> None:
        self.graph = graph
        self.single = single
        self.nodes: list[onnx.NodeProto] = []
        self.weights = {weight.name: weight for weight in graph.initializer}
        self.results = {output.name for output in graph.output}
        self.precision = {source.name: TensorProto.FLOAT for source in graph.input}
        self.cast: dict[tuple[str, int], str] = {}

    def run(self) -> None:
        for node in self.graph.node:
            wanted = TensorProto.FLOAT if node.name in self.single else TensorProto.FLOAT16
            for k, name in enumerate(node.input):
                node.input[k] = self.as_precision(name, wanted)
            for name in node.output:
                if name in self.results and wanted != TensorProto.FLOAT:
                    raise ValueError(f"{node.name} gives the output {name}: it must stay single")
                self.precision[name] = wanted
            self.nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)

    def as_precision(self, name: str, wanted: int) -> str:
        """The tensor in that precision, cast once where it is not."""
        if name in self.weights:
            self.convert_weight(name, wanted)
            return name
        if not name or self.precision[name] == wanted:
            return name
        if (name, wanted) not in self.cast:
            output = f"{name}_{'half' if wanted == TensorProto.FLOAT16 else 'single'}"
            self.nodes.append(
                helper.make_node("Cast", [name], [output], name=f"Cast_{output}", to=wanted)
            )
            self.cast[name, wanted] = output
        return self.cast[name, wanted]

    def convert_weight(self, name: str, wanted: int) -> None:
        weight = self.weights[name]
        if weight.data_type != TensorProto.FLOAT or wanted == TensorProto.FLOAT:
            return
        values = numpy_helper.to_array(weight)
        if np.abs(values).max(initial=0) > LARGEST:
            raise ValueError(f"{name} holds values beyond half precision")
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name))
