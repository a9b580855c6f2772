"""A packaged network to go on from: its ONNX graph as a PyTorch module, and back.

Only the operations of the landmark networks in the package are known: convolutions, PReLU, sums,
maximum pooling, padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from streamprn.engines import registry
from streamprn.errors import EngineError
from streamprn.train.layout import POINTS

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

#: The engines whose networks can be a start.
STARTS = ("facemesh", "facemesh2")


class GraphNetwork(nn.Module):
    """The network of an engine of decoder "subdivision", with its weights as parameters.

    Args:
        name: one of `STARTS`.
    """

    def __init__(self, name: str) -> None:
        import onnx
        from onnx import numpy_helper

        super().__init__()
        bundle = registry.find(name)
        self.name = name
        self.side = bundle.crop.size
        graph = onnx.load(bundle.networks["fp32"]).graph
        self._nodes = [_Node(node) for node in graph.node]
        self._input = graph.input[0].name
        self._fixed: dict[str, list[int]] = {}
        self.weights = nn.ParameterDict()
        for tensor in graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.dtype.kind == "f" and array.ndim:
                self.weights[tensor.name] = nn.Parameter(torch.from_numpy(array.copy()))
            else:
                self._fixed[tensor.name] = array.reshape(-1).tolist()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Crops `(B, 3, S, S)` in 0..1 to points `(B, 3, 468)` as in `samples.Batch`, logits."""
        values = {self._input: x.permute(0, 2, 3, 1)}
        for node in self._nodes:
            values[node.output] = self._run(node, values)
        half = self.side / 2
        points = values["points"].float().reshape(len(x), -1, 3)[:, :POINTS].transpose(1, 2) / half
        flat, depth = points[:, :2] - 1, points[:, 2:]
        depth = depth - depth.mean(2, keepdim=True)
        return torch.cat([flat, depth], 1), values["logit"].float().reshape(len(x))

    def _run(self, node: _Node, values: dict[str, Tensor]) -> Tensor:
        x, said = values[node.inputs[0]], node.said
        match node.kind:
            case "Conv":
                y = self._conv(node, x)
            case "PRelu":
                y = functional.prelu(x, self.weights[node.inputs[1]].reshape(-1).to(x.dtype))
            case "Add":
                y = x + values[node.inputs[1]]
            case "MaxPool":
                y = functional.max_pool2d(x, said["kernel_shape"], said["strides"])
            case "Pad":
                y = functional.pad(x, _pads(self._fixed[node.inputs[1]]))
            case "Transpose":
                y = x.permute(said["perm"])
            case "Reshape":
                y = x.reshape(len(x), -1)
            case "Sigmoid":
                y = torch.sigmoid(x)
            case other:
                raise EngineError(f"{self.name}: its network has an operation {other}")
        return y

    def _conv(self, node: _Node, x: Tensor) -> Tensor:
        weight = self.weights[node.inputs[1]]
        bias = self.weights[node.inputs[2]] if len(node.inputs) > 2 else None
        top, left, bottom, right = node.said["pads"]
        padding = 0
        if top == left == bottom == right:
            padding = top
        else:
            x = functional.pad(x, (left, right, top, bottom))
        strides, groups = node.said["strides"], node.said["group"]
        return functional.conv2d(x, weight, bias, strides, padding, groups=groups)

    def write(self, source: Path, target: Path) -> None:
        """Write a copy of an engine's ONNX file, fp32 or fp16, with these weights.

        They are rounded to half precision in both, as MediaPipe's are: both hold the same numbers.
        """
        import onnx
        from onnx import numpy_helper

        model = onnx.load(source)
        for tensor in model.graph.initializer:
            if tensor.name in self.weights:
                kind = numpy_helper.to_array(tensor).dtype
                array = self.weights[tensor.name].detach().cpu().numpy()
                array = array.astype("float16").astype(kind)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, target)


class _Node:
    """One operation: kind, names of inputs and output, attributes."""

    def __init__(self, node: Any) -> None:
        self.kind: str = node.op_type
        self.inputs = list(node.input)
        (self.output,) = node.output
        self.said: dict[str, Any] = {one.name: list(one.ints) or one.i for one in node.attribute}


def _pads(pads: list[int]) -> list[int]:
    """ONNX's pads (begins, then ends, first axis first) in PyTorch's order (last axis first)."""
    count = len(pads) // 2
    pairs = list(zip(pads[:count], pads[count:], strict=True))
    return [side for pair in reversed(pairs) for side in pair]
