"""Convert MediaPipe's blendshape network, which takes points, to ONNX without TensorFlow.

Its tensors keep the TFLite layout, and its 1x1 convolutions become matrix products. The batch
dimension, frozen at 1 in the TFLite graph, is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import tflite
from convert_tflite import Converter, UnsupportedGraphError, options_of


class PointsConverter(Converter):
    """A graph of products and sums; the first dimension of every tensor is the batch.

    Args:
        data: the .tflite file.
        chosen: which points of the ONNX input the network takes, in its order.
        count: how many points the ONNX input has.
    """

    def __init__(self, data: bytes, chosen: Sequence[int], count: int) -> None:
        super().__init__(data)
        self.chosen, self.count = chosen, count

    def enter(self, source: int) -> Sequence[int]:
        shape = self.shape[source]
        if shape[1] != len(self.chosen):
            raise UnsupportedGraphError(f"the network takes {shape}, not {len(self.chosen)} points")
        indices = self.weight(np.array(self.chosen, np.int64), "points")
        self.add("Gather", ["input", indices], self.name(source), axis=1)
        return [shape[0], self.count, shape[2]]

    def nhwc(self, index: int) -> str:
        return self.name(index)

    def operand(self, index: int) -> str:
        """A tensor, or a constant as a weight."""
        if index not in self.constant:
            return self.name(index)
        return self.weight(self.constant[index], "c")

    # -- operators

    def _elementwise(self, kind: str, ins: list[int], out: int, fused: int) -> None:
        before, activate = self.activated(fused, self.name(out))
        self.add(kind, [self.operand(index) for index in ins], before)
        activate()

    def add_(self, op: Any, ins: list[int], out: int) -> None:
        fused = options_of(tflite.AddOptions, op).FusedActivationFunction()
        self._elementwise("Add", ins, out, fused)

    def sub(self, op: Any, ins: list[int], out: int) -> None:
        fused = options_of(tflite.SubOptions, op).FusedActivationFunction()
        self._elementwise("Sub", ins, out, fused)

    def mul(self, op: Any, ins: list[int], out: int) -> None:
        fused = options_of(tflite.MulOptions, op).FusedActivationFunction()
        self._elementwise("Mul", ins, out, fused)

    def div(self, op: Any, ins: list[int], out: int) -> None:
        fused = options_of(tflite.DivOptions, op).FusedActivationFunction()
        self._elementwise("Div", ins, out, fused)

    def neg(self, op: Any, ins: list[int], out: int) -> None:
        self.add("Neg", [self.name(ins[0])], self.name(out))

    def sqrt(self, op: Any, ins: list[int], out: int) -> None:
        self.add("Sqrt", [self.name(ins[0])], self.name(out))

    def rsqrt(self, op: Any, ins: list[int], out: int) -> None:
        root = f"{self.name(out)}_root"
        self.add("Sqrt", [self.name(ins[0])], root)
        self.add("Reciprocal", [root], self.name(out))

    def squared_difference(self, op: Any, ins: list[int], out: int) -> None:
        gap = f"{self.name(out)}_gap"
        self.add("Sub", [self.operand(index) for index in ins], gap)
        self.add("Mul", [gap, gap], self.name(out))

    def _axes(self, op: Any, ins: list[int]) -> list[int]:
        rank = len(self.shape[ins[0]])
        axes = [int(axis) % rank for axis in self.constant[ins[1]].reshape(-1)]
        if not options_of(tflite.ReducerOptions, op).KeepDims() or 0 in axes:
            raise UnsupportedGraphError(f"a reduction that drops dimensions, over {axes}")
        return axes

    def mean(self, op: Any, ins: list[int], out: int) -> None:
        axes = self._axes(op, ins)
        self.add("ReduceMean", [self.name(ins[0])], self.name(out), axes=axes, keepdims=1)

    def sum(self, op: Any, ins: list[int], out: int) -> None:
        axes = self.weight(np.array(self._axes(op, ins), np.int64), "axes")
        self.add("ReduceSum", [self.name(ins[0]), axes], self.name(out), keepdims=1)

    def conv_2d(self, op: Any, ins: list[int], out: int) -> None:
        options = options_of(tflite.Conv2DOptions, op)
        kernel = self.constant[ins[1]]  # (O, 1, 1, I)
        if kernel.shape[1:3] != (1, 1) or (options.StrideH(), options.StrideW()) != (1, 1):
            raise UnsupportedGraphError(f"a convolution of {kernel.shape} is no matrix product")
        product = f"{self.name(out)}_product"
        before, activate = self.activated(options.FusedActivationFunction(), self.name(out))
        self.add("MatMul", [self.name(ins[0]), self.weight(kernel[:, 0, 0].T, "w")], product)
        self.add("Add", [product, self.weight(self.constant[ins[2]], "b")], before)
        activate()

    def concatenation(self, op: Any, ins: list[int], out: int) -> None:
        first, rest = ins
        axis = options_of(tflite.ConcatenationOptions, op).Axis() % len(self.shape[out])
        if first not in self.constant or rest in self.constant:
            raise UnsupportedGraphError("CONCATENATION but of a constant and a tensor")
        # The constant has a batch of 1, and ONNX joins only equal shapes. A sum broadcasts.
        length = self.constant[first].shape[axis]
        pads = np.zeros((2, len(self.shape[out])), np.int64)
        pads[0, axis] = length
        padded = f"{self.name(out)}_padded"
        self.add("Pad", [self.name(rest), self.weight(pads.reshape(-1), "pads")], padded)
        values = np.zeros([1, *self.shape[out][1:]], np.float32)
        values[(slice(None),) * axis + (slice(length),)] = self.constant[first]
        self.add("Add", [padded, self.weight(values, "c")], self.name(out))

    def transpose(self, op: Any, ins: list[int], out: int) -> None:
        perm = [int(axis) for axis in self.constant[ins[1]]]
        if perm[0] != 0:
            raise UnsupportedGraphError(f"TRANSPOSE {perm} moves the batch")
        self.add("Transpose", [self.name(ins[0])], self.name(out), perm=perm)

    def reshape(self, op: Any, ins: list[int], out: int) -> None:
        if self.shape[out][0] != 1:
            raise UnsupportedGraphError(f"RESHAPE to {self.shape[out]}")
        # 0 keeps the batch dimension.
        target = self.weight(np.array([0, *self.shape[out][1:]], np.int64), "shape")
        self.add("Reshape", [self.name(ins[0]), target], self.name(out))

    def strided_slice(self, op: Any, ins: list[int], out: int) -> None:
        options, shape = options_of(tflite.StridedSliceOptions, op), self.shape[ins[0]]
        begin, end, stride = (self.constant[index] for index in ins[1:])
        dropped = options.ShrinkAxisMask()
        if options.EllipsisMask() or options.NewAxisMask() or dropped > 1 or (stride != 1).any():
            raise UnsupportedGraphError("STRIDED_SLICE with such options")
        # `dropped` is 1 where TFLite drops the batch; here it stays.
        axes = range(1, len(shape))
        starts = [0 if options.BeginMask() >> axis & 1 else int(begin[axis]) for axis in axes]
        ends = [shape[axis] if options.EndMask() >> axis & 1 else int(end[axis]) for axis in axes]
        parts = [self.weight(np.array(part, np.int64), "part") for part in (starts, ends, axes)]
        self.add("Slice", [self.name(ins[0]), *parts], self.name(out))


def convert_points(
    data: bytes, chosen: Sequence[int], count: int, output: tuple[str, tuple[int, ...]]
) -> onnx.ModelProto:
    """The ONNX model, input `(B, count, 2)`, of a TFLite flatbuffer that takes chosen points.

    Args:
        data: the .tflite file.
        chosen: see `PointsConverter`, as is `count`.
        count: the points of the ONNX input.
        output: name and shape without the batch.

    Raises:
        UnsupportedGraphError: an operator or option is not known here.
    """
    return PointsConverter(data, chosen, count).convert([output])
