"""Convert the small MediaPipe TFLite graphs to ONNX without TensorFlow.

The ONNX graph computes in NCHW. Its input keeps the TFLite layout (NHWC float32) behind one
transpose, and its batch dimension is free. Weights stored as float16 become float32, exactly.

Usage:
    python convert_tflite.py INPUT.tflite OUTPUT.onnx
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tflite
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
# NHWC axis -> NCHW axis.
TO_NCHW = (0, 2, 3, 1)

_OPERATORS = {
    number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)
}
_DTYPES = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.INT32: np.int32,
    tflite.TensorType.INT64: np.int64,
}


class UnsupportedGraphError(ValueError):
    """The TFLite graph uses an operator or option that this converter does not know."""


def same_padding(length: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TensorFlow's SAME padding of one axis: the odd pixel goes to the end."""
    outputs = -(-length // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - length, 0)
    return total // 2, total - total // 2


class Converter:
    """One TFLite graph on its way to ONNX; tensors of rank 4 are NCHW inside."""

    def __init__(self, data: bytes) -> None:
        self.model = tflite.Model.GetRootAsModel(data, 0)
        if self.model.SubgraphsLength() != 1:
            raise UnsupportedGraphError("more than one subgraph")
        self.graph = self.model.Subgraphs(0)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.shape: dict[int, list[int]] = {}
        self.constant: dict[int, NDArray[Any]] = {}
        self._plain: dict[int, str] = {}
        self._read_tensors()

    def _read_tensors(self) -> None:
        for index in range(self.graph.TensorsLength()):
            tensor = self.graph.Tensors(index)
            shape = [int(n) for n in tensor.ShapeAsNumpy()] if tensor.ShapeLength() else []
            self.shape[index] = shape
            buffer = self.model.Buffers(tensor.Buffer())
            if buffer is None or not buffer.DataLength():
                continue
            if tensor.Sparsity() is not None:
                raise UnsupportedGraphError(f"sparse tensor {tensor.Name().decode()}")
            raw = buffer.DataAsNumpy().tobytes()
            self.constant[index] = np.frombuffer(raw, _DTYPES[tensor.Type()]).reshape(shape)

    # -- names and nodes

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, list(inputs), [output], name=name, **attributes)
        )

    def weight(self, array: NDArray[Any], hint: str) -> str:
        name = f"{hint}_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def name(self, index: int) -> str:
        return f"t{index}"

    def nhwc(self, index: int) -> str:
        """The tensor in TFLite's own layout."""
        if len(self.shape[index]) != 4:
            return self.name(index)
        if index not in self._plain:
            self._plain[index] = f"t{index}_nhwc"
            self.add("Transpose", [self.name(index)], self._plain[index], perm=[0, 2, 3, 1])
        return self._plain[index]

    def activated(self, code: int, output: str) -> tuple[str, Callable[[], None]]:
        """The name to write before a fused activation, and what appends that activation."""
        kinds = tflite.ActivationFunctionType
        if code == kinds.NONE:
            return output, lambda: None
        if code == kinds.RELU:
            before = f"{output}_linear"
            return before, lambda: self.add("Relu", [before], output)
        raise UnsupportedGraphError(f"fused activation {code}")

    def pads(self, options: Any, index: int, kernel: tuple[int, int], dilation: tuple[int, int]):
        if options.Padding() == tflite.Padding.VALID:
            return [0, 0, 0, 0]
        _, height, width, _ = self.shape[index]
        top, bottom = same_padding(height, kernel[0], options.StrideH(), dilation[0])
        left, right = same_padding(width, kernel[1], options.StrideW(), dilation[1])
        return [top, left, bottom, right]

    # -- operators, one method each

    def _convolution(self, op: Any, ins: list[int], out: int, options: Any, deep: bool) -> None:
        kernel = self.constant[ins[1]]  # (O, kh, kw, I), depthwise (1, kh, kw, C)
        size = (kernel.shape[1], kernel.shape[2])
        dilation = (options.DilationHFactor(), options.DilationWFactor())
        inputs = [
            self.name(ins[0]),
            self.weight(kernel.transpose((3, 0, 1, 2) if deep else (0, 3, 1, 2)), "w"),
        ]
        if len(ins) > 2 and ins[2] >= 0:
            inputs.append(self.weight(self.constant[ins[2]], "b"))
        before, activate = self.activated(options.FusedActivationFunction(), self.name(out))
        self.add(
            "Conv",
            inputs,
            before,
            kernel_shape=list(size),
            strides=[options.StrideH(), options.StrideW()],
            dilations=list(dilation),
            pads=self.pads(options, ins[0], size, dilation),
            group=self.shape[ins[0]][3] if deep else 1,
        )
        activate()

    def conv_2d(self, op: Any, ins: list[int], out: int) -> None:
        self._convolution(op, ins, out, options_of(tflite.Conv2DOptions, op), deep=False)

    def depthwise_conv_2d(self, op: Any, ins: list[int], out: int) -> None:
        self._convolution(op, ins, out, options_of(tflite.DepthwiseConv2DOptions, op), deep=True)

    def dequantize(self, op: Any, ins: list[int], out: int) -> None:
        if self.constant[ins[0]].dtype != np.float16:
            raise UnsupportedGraphError("DEQUANTIZE of something else than float16 weights")
        self.constant[out] = self.constant[ins[0]].astype(np.float32)

    def prelu(self, op: Any, ins: list[int], out: int) -> None:
        slope = self.constant[ins[1]].reshape(-1, 1, 1)
        if slope.shape[0] not in (1, self.shape[out][3]):
            raise UnsupportedGraphError("PRELU with a slope per pixel")
        self.add("PRelu", [self.name(ins[0]), self.weight(slope, "a")], self.name(out))

    def relu(self, op: Any, ins: list[int], out: int) -> None:
        self.add("Relu", [self.name(ins[0])], self.name(out))

    def logistic(self, op: Any, ins: list[int], out: int) -> None:
        self.add("Sigmoid", [self.name(ins[0])], self.name(out))

    def add_(self, op: Any, ins: list[int], out: int) -> None:
        if any(index in self.constant for index in ins):
            raise UnsupportedGraphError("ADD of a constant")
        fused = options_of(tflite.AddOptions, op).FusedActivationFunction()
        before, activate = self.activated(fused, self.name(out))
        self.add("Add", [self.name(index) for index in ins], before)
        activate()

    def max_pool_2d(self, op: Any, ins: list[int], out: int) -> None:
        options = options_of(tflite.Pool2DOptions, op)
        size = (options.FilterHeight(), options.FilterWidth())
        before, activate = self.activated(options.FusedActivationFunction(), self.name(out))
        self.add(
            "MaxPool",
            [self.name(ins[0])],
            before,
            kernel_shape=list(size),
            strides=[options.StrideH(), options.StrideW()],
            pads=self.pads(options, ins[0], size, (1, 1)),
        )
        activate()

    def pad(self, op: Any, ins: list[int], out: int) -> None:
        # Also pads channels, where the residual branch is wider than its input.
        pads = self.constant[ins[1]].astype(np.int64)[[0, 3, 1, 2]]
        inputs = [self.name(ins[0]), self.weight(pads.T.reshape(-1), "pads")]
        self.add("Pad", inputs, self.name(out), mode="constant")

    def reshape(self, op: Any, ins: list[int], out: int) -> None:
        shape = self.shape[out]
        if len(shape) == 4 or shape[0] != 1 or self.shape[ins[0]][0] != 1:
            raise UnsupportedGraphError(f"RESHAPE to {shape}")
        # 0 keeps the batch dimension, which TFLite had frozen at 1.
        target = self.weight(np.array([0, *shape[1:]], np.int64), "shape")
        self.add("Reshape", [self.nhwc(ins[0]), target], self.name(out))

    def concatenation(self, op: Any, ins: list[int], out: int) -> None:
        rank = len(self.shape[out])
        axis = options_of(tflite.ConcatenationOptions, op).Axis() % rank
        names = [self.name(index) for index in ins]
        self.add("Concat", names, self.name(out), axis=TO_NCHW[axis] if rank == 4 else axis)

    def resize_bilinear(self, op: Any, ins: list[int], out: int) -> None:
        options = options_of(tflite.ResizeBilinearOptions, op)
        mode = "asymmetric"
        if options.HalfPixelCenters():
            mode = "half_pixel"
        elif options.AlignCorners():
            mode = "align_corners"
        before, after = self.shape[ins[0]], self.shape[out]
        scales = np.array([1, 1, after[1] / before[1], after[2] / before[2]], np.float32)
        self.add(
            "Resize",
            [self.name(ins[0]), "", self.weight(scales, "scales")],
            self.name(out),
            mode="linear",
            coordinate_transformation_mode=mode,
        )

    # -- the whole

    def enter(self, source: int) -> Sequence[int]:
        """Make the first tensor out of the ONNX input; the shape of that input."""
        self.add("Transpose", ["input"], self.name(source), perm=[0, 3, 1, 2])
        return self.shape[source]

    def convert(self, outputs: Sequence[tuple[str, tuple[int, ...]]] | None) -> onnx.ModelProto:
        if self.graph.InputsLength() != 1:
            raise UnsupportedGraphError("more than one input")
        inputs = [_value("input", self.enter(self.graph.Inputs(0)))]
        for k in range(self.graph.OperatorsLength()):
            self._operator(self.graph.Operators(k))
        results = [self._output(k, outputs) for k in range(self.graph.OutputsLength())]
        graph = helper.make_graph(
            self.nodes, "network", inputs, results, initializer=self.initializers
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="streamprn tools/facemesh/convert_tflite.py",
        )
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return model

    def _operator(self, op: Any) -> None:
        code = self.model.OperatorCodes(op.OpcodeIndex())
        kind = _OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())].lower()
        method = getattr(self, "add_" if kind == "add" else kind, None)
        if method is None:
            raise UnsupportedGraphError(f"operator {kind.upper()}")
        method(op, [op.Inputs(j) for j in range(op.InputsLength())], op.Outputs(0))

    def _output(
        self, k: int, outputs: Sequence[tuple[str, tuple[int, ...]]] | None
    ) -> onnx.ValueInfoProto:
        index = self.graph.Outputs(k)
        if outputs is None:
            name, tail = self.graph.Tensors(index).Name().decode(), tuple(self.shape[index][1:])
        else:
            name, tail = outputs[k]
        target = self.weight(np.array([0, *tail], np.int64), "shape")
        self.add("Reshape", [self.nhwc(index), target], name)
        return _value(name, [1, *tail])


def options_of(kind: Any, op: Any) -> Any:
    options = kind()
    options.Init(op.BuiltinOptions().Bytes, op.BuiltinOptions().Pos)
    return options


def _value(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape[1:]])


def convert(
    data: bytes, outputs: Sequence[tuple[str, tuple[int, ...]]] | None = None
) -> onnx.ModelProto:
    """The ONNX model of a TFLite flatbuffer.

    Args:
        data: the .tflite file.
        outputs: for each output in order, its ONNX name and its shape without the batch
            dimension; default: as in the TFLite graph.

    Raises:
        UnsupportedGraphError: an operator or option is not known here.
    """
    return Converter(data).convert(outputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    onnx.save(convert(arguments.input.read_bytes()), arguments.output)


if __name__ == "__main__":
    main()
