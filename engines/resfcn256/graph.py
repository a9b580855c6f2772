"""Writing the PRN network as ONNX from a dictionary of arrays.

The graph is what the checkpoint means, rearranged so that runtimes are fast on it:

- NHWC in and out (`input` `(B, 256, 256, 3)` float32 RGB in 0..1, `position_map` of the same shape
  in 0..1), NCHW within, B free.
- Batch norm (epsilon 1e-3) is folded into the weights of the convolution before it. After an
  addition both branches are scaled; an identity branch gets a multiplication per channel.
- A transposed convolution of stride 1 is a convolution with the flipped kernel. TensorFlow's SAME
  padding of a 4x4 kernel is (1, 2) at stride 1, so the flipped one pads (2, 1). Those of stride 2
  stay: as sub-pixel convolutions (2x2 taps to four phases, then depth to space) the whole network
  took 1-5 % longer with OpenVINO.
- Precision "fp16" stores and computes in half precision, with casts at both ends, except for the
  last three layers (3 channels, 0.4 % of the work): a coordinate near 256 in half precision has
  steps of 0.14 pixels. The types are in the graph, as strongly typed TensorRT networks want them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from streamprn.engines.onnx_writer import OnnxWriter
from streamprn.engines.resfcn256.architecture import (
    DECODER,
    ENCODER,
    NORM_EPSILON,
    SIZE,
    STEM,
    Block,
    Conv,
    variables,
)
from streamprn.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[np.generic]]
    Array64 = NDArray[np.float64]

INPUT: Final = "input"
OUTPUT: Final = "position_map"
PRECISIONS: Final = ("fp32", "fp16")
PRECISE_LAYERS: Final = 3


def build(arrays: Arrays, precision: str = "fp32") -> Any:
    """The network as an `onnx.ModelProto`.

    Args:
        arrays: the variables of `architecture.variables()` by name, any float dtype.
        precision: "fp32" or "fp16".

    Raises:
        EngineError: a variable is missing or has another shape; the message names them.
    """
    check_shapes({name: array.shape for name, array in arrays.items()})
    check_finite(arrays)
    writer = _Writer(arrays, np.float16 if precision == "fp16" else np.float32)
    x = writer.node("Transpose", [INPUT], perm=[0, 3, 1, 2])
    if precision == "fp16":
        x = writer.cast(x, np.float16)
    x = writer.conv(STEM, x)
    for block in ENCODER:
        x = writer.block(block, x)
    for layer in DECODER[:-PRECISE_LAYERS]:
        x = writer.conv(layer, x)
    if precision == "fp16":
        x = writer.cast(x, np.float32)
    for layer in DECODER[-PRECISE_LAYERS:]:
        x = writer.conv(layer, x)
    writer.node("Transpose", [x], output=OUTPUT, perm=[0, 2, 3, 1])
    shape = ("batch", SIZE, SIZE, 3)
    return writer.model("resfcn256", {INPUT: shape}, {OUTPUT: shape})


def check_shapes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise `EngineError` unless these are all variables of the network, each with its shape."""
    expected = variables()
    wrong = {
        "missing variables": [name for name in expected if name not in shapes],
        "unknown variables": sorted(shapes.keys() - expected.keys()),
        "wrong shapes": [
            f"{name} is {shapes[name]}, expected {shape}"
            for name, shape in expected.items()
            if shapes.get(name, shape) != shape
        ],
    }
    for what, names in wrong.items():
        if names:
            raise EngineError(
                f"{what}: {_some(names)}", hint="these are not the variables of PRNet's resfcn256"
            )


def check_finite(arrays: Arrays) -> None:
    """Raise `EngineError` unless every number is finite."""
    bad = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if bad:
        raise EngineError(f"variables that hold NaN or infinity: {_some(bad)}")


def _some(names: list[str]) -> str:
    """The first three of them, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _pads(layer: Conv) -> list[int]:
    """Top, left, bottom, right: TensorFlow's SAME padding, at the size of this network."""
    if layer.kernel == 1:
        return [0, 0, 0, 0]
    if layer.stride == 2:
        return [1, 1, 1, 1]
    return [2, 2, 1, 1] if layer.transposed else [1, 1, 2, 2]


class _Writer(OnnxWriter):
    """Writes the layers of the architecture."""

    def __init__(self, arrays: Arrays, dtype: type[np.floating[Any]]) -> None:
        super().__init__(dtype)
        self.arrays = arrays

    def constant(self, name: str, value: Array64) -> str:
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(value, self.dtype)
        if not np.isfinite(array).all():
            raise EngineError(f"{name}: folded with its batch norm it exceeds {array.dtype}")
        return self.store(name, array)

    def affine(self, owner: str) -> tuple[Array64, Array64]:
        """A batch norm as `scale * x + offset`, per channel."""
        gamma, beta, mean, variance = (
            np.asarray(self.arrays[f"{owner}/BatchNorm/{part}"], np.float64)
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scale = gamma / np.sqrt(variance + NORM_EPSILON)
        return scale, beta - mean * scale

    def conv(self, layer: Conv, x: str) -> str:
        """A layer with its own batch norm and activation."""
        x = self.linear(layer, x, *self.affine(layer.name))
        return self.node("Relu" if layer.activation == "relu" else "Sigmoid", [x])

    def linear(self, layer: Conv, x: str, scale: Array64, offset: Array64 | None) -> str:
        """A convolution whose outputs are scaled and shifted per channel."""
        stored = np.asarray(self.arrays[f"{layer.name}/weights"], np.float64)
        # Both to (outputs, inputs, rows, columns).
        order = (2, 3, 0, 1) if layer.transposed else (3, 2, 0, 1)
        weights = stored.transpose(order) * scale[:, None, None, None]
        kind = "Conv"
        if layer.transposed and layer.stride == 1:
            weights = weights[:, :, ::-1, ::-1]
        elif layer.transposed:
            kind, weights = "ConvTranspose", weights.transpose(1, 0, 2, 3)
        inputs = [x, self.constant(f"{layer.name}/weights", weights)]
        if offset is not None:
            inputs.append(self.constant(f"{layer.name}/bias", offset))
        return self.node(
            kind,
            inputs,
            kernel_shape=[layer.kernel] * 2,
            strides=[layer.stride] * 2,
            pads=_pads(layer),
        )

    def block(self, block: Block, x: str) -> str:
        scale, offset = self.affine(block.name)
        inner = self.conv(block.spatial, self.conv(block.reduce, x))
        inner = self.linear(block.expand, inner, scale, offset)
        if block.shortcut is None:
            factor = self.constant(f"{block.name}/scale", scale[:, None, None])
            shortcut = self.node("Mul", [x, factor])
        else:
            shortcut = self.linear(block.shortcut, x, scale, None)
        return self.node("Relu", [self.node("Add", [inner, shortcut])])
