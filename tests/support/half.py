"""What a GPU makes of a network in half precision, computed on a CPU."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network in single precision, every tensor that was in half rounded to 11 bits.

    A CPU computes fp16 files in single precision; a GPU rounds every activation. Here it is done
    by Veltkamp's splitting: with c = (2^13 + 1) x, c - (c - x) is x with its last 13 bits rounded.
    """
    copy = shape_inference.infer_shapes(model)
    body = copy.graph
    half = {
        tensor.name
        for tensor in body.value_info
        if tensor.type.tensor_type.elem_type == TensorProto.FLOAT16
    }
    for weight in body.initializer:
        if weight.data_type == TensorProto.FLOAT16:
            single = numpy_helper.to_array(weight).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(single, weight.name))
    body.initializer.append(numpy_helper.from_array(np.float32(2**13 + 1), "splitter"))
    nodes = []
    for node in body.node:
        (name,) = node.output
        if node.op_type == "Cast":
            node.CopyFrom(helper.make_node("Identity", node.input, [name]))
        nodes.append(node)
        if name in half:
            node.output[0] = f"{name}:exact"
            nodes += _rounding(f"{name}:exact", name)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del body.node[:], body.value_info[:]
    body.node.extend(nodes)
    return copy


def _rounding(source: str, target: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Mul", [source, "splitter"], [f"{target}:c"]),
        helper.make_node("Sub", [f"{target}:c", source], [f"{target}:rest"]),
        helper.make_node("Sub", [f"{target}:c", f"{target}:rest"], [target]),
    ]


def run(model: onnx.ModelProto, crops: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs by name, from ONNX Runtime as the graph stands, nothing simplified away."""
    from streamprn.engines.runtimes.onnxruntime import import_quietly

    onnxruntime = import_quietly()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": crops}), strict=True))
