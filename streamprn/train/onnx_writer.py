"""`network.PointNetwork` as ONNX, batch norms folded, in single or half precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from streamprn.engines.onnx_writer import OnnxWriter

if TYPE_CHECKING:
    import torch

    from streamprn.train.network import PointNetwork

INPUT: Final = "input"


def build(network: PointNetwork, precision: str) -> Any:
    """The network as an `onnx.ModelProto` in the form that engines of "subdivision" have.

    `input` `(B, S, S, 3)` float32 RGB in 0..1; `points` `(B, 468, 3)` crop pixels from the crop's
    corner, z away from the camera; `logit` `(B,)`.

    Args:
        network: with the weights.
        precision: "fp32" or "fp16". In "fp16" convolutions and the vector compute in half
            precision, and all that gives coordinates in single precision.
    """
    writer = _Writer(np.float16 if precision == "fp16" else np.float32)
    _write(writer, network)
    side = network.side
    return writer.model(
        "prn",
        {INPUT: ("batch", side, side, 3)},
        {"points": ("batch", network.mean.shape[1], 3), "logit": ("batch",)},
    )


def _write(writer: _Writer, network: PointNetwork) -> None:
    from streamprn.train.network import _RESIDUAL

    x = writer.node("Transpose", [INPUT], perm=[0, 3, 1, 2])
    x = writer.cast(x, writer.small)
    x = writer.node("Mul", [x, writer.small_constant(4.0)])
    x = writer.node("Sub", [x, writer.small_constant(2.0)])
    features = _encoder(writer, network, x)
    few = writer.conv(network.squeeze, features)
    flat = writer.node("Flatten", [few], axis=1)
    vector = writer.node("Relu", [writer.linear(network.to_vector, flat)])
    back = writer.node("Relu", [writer.linear(network.from_vector, vector)])
    shape = [-1, network.squeeze.out_channels, network.side // 32, network.side // 32]
    back = writer.conv(network.widen, writer.reshape(back, shape))
    x = writer.node("Add", [features, back])
    for layer in network.decoder:
        x = writer.node("Relu", [writer.conv(layer.conv, x, layer.norm)])
    # From here on coordinates: single precision.
    x, vector = writer.cast(x, np.float32), writer.cast(vector, np.float32)
    rough = writer.reshape(writer.conv(network.residual, x), [0, 3, -1])
    texels = writer.integers(network.texels)
    read = writer.reshape(writer.node("Gather", [rough, texels], axis=2), [0, 3, -1, 4])
    weighted = writer.node("Mul", [read, writer.array(network.weights * _RESIDUAL)])
    residual = writer.node("ReduceSum", [weighted, writer.integers([3])], keepdims=0)
    points = writer.node("Add", [_linear_face(writer, network, vector), residual])
    half = network.side / 2
    points = writer.node("Mul", [points, writer.array(np.float32(half))])
    corner = np.array([half, half, 0], np.float32).reshape(1, 3, 1)
    points = writer.node("Add", [points, writer.array(corner)])
    writer.node("Transpose", [points], output="points", perm=[0, 2, 1])
    trust = writer.node("Relu", [writer.linear(network.trust[0], vector)])
    trust = writer.linear(network.trust[2], trust)
    writer.reshape(trust, [-1], output="logit")


def _encoder(writer: _Writer, network: PointNetwork, x: str) -> str:
    from streamprn.train.network import Residual

    for layer in network.encoder:
        if isinstance(layer, Residual):
            inner = writer.node("Relu", [writer.conv(layer.first.conv, x, layer.first.norm)])
            inner = writer.conv(layer.second.conv, inner, layer.second.norm)
            x = writer.node("Relu", [writer.node("Add", [x, inner])])
        else:
            x = writer.node("Relu", [writer.conv(layer.conv, x, layer.norm)])
    return x


def _linear_face(writer: _Writer, network: PointNetwork, vector: str) -> str:
    """The affine map of the linear face, `(B, 3, 468)`."""
    count = network.mean.shape[1]
    rows = writer.array(network.components.reshape(len(network.components), -1))
    weights = writer.linear(network.linear, vector)
    shape = writer.node("MatMul", [weights, rows])
    shape = writer.node("Add", [shape, writer.array(network.mean.reshape(1, -1))])
    shape = writer.reshape(shape, [-1, 3, count])
    affine = writer.reshape(writer.linear(network.affine, vector), [-1, 3, 4])
    turn = writer.slice(affine, 0, 3)
    shift = writer.slice(affine, 3, 4)
    return writer.node("Add", [writer.node("MatMul", [turn, shape]), shift])


class _Writer(OnnxWriter):
    """Writes PyTorch's layers."""

    def __init__(self, small: type[np.floating[Any]]) -> None:
        super().__init__(small)
        self.small = small

    def cast(self, x: str, dtype: type[np.floating[Any]]) -> str:
        """What follows is of that type; nothing to do where all is single precision."""
        if self.small is np.float32:
            self.dtype = dtype
            return x
        return super().cast(x, dtype)

    def array(self, values: Any) -> str:
        array = np.array(_numpy(values), self.dtype, order="C")
        return self.store(f"w{len(self.weights)}", array)

    def small_constant(self, value: float) -> str:
        return self.array(np.float64(value))

    def integers(self, values: Any) -> str:
        return self.store(f"w{len(self.weights)}", np.array(_numpy(values), np.int64))

    def reshape(self, x: str, shape: list[int], output: str = "") -> str:
        return self.node("Reshape", [x, self.integers(shape)], output=output)

    def slice(self, x: str, first: int, end: int) -> str:
        """Along the last axis of three."""
        ends = [self.integers([value]) for value in (first, end, 2)]
        return self.node("Slice", [x, *ends])

    def linear(self, layer: Any, x: str) -> str:
        weight, bias = self.array(layer.weight.T), self.array(layer.bias)
        return self.node("Gemm", [x, weight, bias])

    def conv(self, layer: Any, x: str, norm: Any = None) -> str:
        """A convolution, transposed or not, with its batch norm folded."""
        import torch

        weight = layer.weight.detach().double()
        bias = None if layer.bias is None else layer.bias.detach().double()
        transposed = isinstance(layer, torch.nn.ConvTranspose2d)
        if norm is not None:
            scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
            weight = weight * scale.reshape((1, -1, 1, 1) if transposed else (-1, 1, 1, 1))
            bias = norm.bias.double() - norm.running_mean.double() * scale
        inputs = [x, self.array(weight)]
        if bias is not None:
            inputs.append(self.array(bias))
        return self.node(
            "ConvTranspose" if transposed else "Conv",
            inputs,
            kernel_shape=list(layer.kernel_size),
            strides=list(layer.stride),
            pads=[*layer.padding] * 2,
        )


def _numpy(values: torch.Tensor | Any) -> Any:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values
