"""The encoder-decoder of the PRN paper as data: its layers and the names of its variables.

Feng et al., "Joint 3D Face Reconstruction and Dense Alignment with Position Map Regression
Network", ECCV 2018, section 3.3. The names are those that TensorFlow's variable scopes gave in the
authors' checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE: Final = 256
SCOPE: Final = "resfcn256"
NORM_VARIABLES: Final = ("gamma", "beta", "moving_mean", "moving_variance")
# `tf.contrib.layers.batch_norm`'s default, which the authors kept.
NORM_EPSILON: Final = 1e-3
# A map holds coordinates of up to 1.1 times the crop, so that a face may leave it a little.
OUTPUT_SCALE: Final = SIZE * 1.1

# Output channels and stride of the seventeen transposed convolutions.
_DECODER_PLAN: Final = (
    *((512, 1), (256, 2), (256, 1), (256, 1), (128, 2), (128, 1), (128, 1)),
    *((64, 2), (64, 1), (64, 1), (32, 2), (32, 1), (16, 2), (16, 1), (3, 1), (3, 1), (3, 1)),
)


@dataclass(frozen=True, slots=True)
class Conv:
    """One (transposed) convolution without bias, and the batch norm and activation after it.

    The weights are `(kernel, kernel, inputs, outputs)` in TensorFlow's order; a transposed one has
    `(kernel, kernel, outputs, inputs)`. `size` is that of its square output, in pixels.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int
    size: int
    transposed: bool = False
    norm: bool = True
    activation: str = "relu"

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """As stored in the checkpoint."""
        channels = (self.outputs, self.inputs) if self.transposed else (self.inputs, self.outputs)
        return (self.kernel, self.kernel, *channels)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one picture; a transposed one counts each input pixel once."""
        side = self.size // self.stride if self.transposed else self.size
        return side * side * self.kernel**2 * self.inputs * self.outputs


@dataclass(frozen=True, slots=True)
class Block:
    """A residual block: 1x1, 4x4 with the stride, 1x1, plus the shortcut; then norm and ReLU."""

    name: str
    reduce: Conv
    spatial: Conv
    expand: Conv
    shortcut: Conv | None

    @property
    def convs(self) -> tuple[Conv, ...]:
        """Those that it has."""
        own = (self.reduce, self.spatial, self.expand)
        return own if self.shortcut is None else (self.shortcut, *own)


def _block(index: int, inputs: int, outputs: int, stride: int, size: int) -> Block:
    name = f"{SCOPE}/resBlock" + (f"_{index}" if index else "")
    half = outputs // 2
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = Conv(f"{name}/shortcut", inputs, outputs, 1, stride, size, False, False, "")
    return Block(
        name,
        Conv(f"{name}/Conv", inputs, half, 1, 1, size * stride),
        Conv(f"{name}/Conv_1", half, half, 4, stride, size),
        Conv(f"{name}/Conv_2", half, outputs, 1, 1, size, False, False, ""),
        shortcut,
    )


def _encoder() -> tuple[Block, ...]:
    blocks, inputs, size = [], 16, SIZE
    for index in range(10):
        outputs, stride = 32 << (index // 2), 2 - index % 2
        size //= stride
        blocks.append(_block(index, inputs, outputs, stride, size))
        inputs = outputs
    return tuple(blocks)


def _decoder() -> tuple[Conv, ...]:
    layers, inputs, size = [], 512, 8
    last = len(_DECODER_PLAN) - 1
    for index, (outputs, stride) in enumerate(_DECODER_PLAN):
        name = f"{SCOPE}/Conv2d_transpose" + (f"_{index}" if index else "")
        size *= stride
        activation = "sigmoid" if index == last else "relu"
        layers.append(Conv(name, inputs, outputs, 4, stride, size, True, True, activation))
        inputs = outputs
    return tuple(layers)


STEM: Final = Conv(f"{SCOPE}/Conv", 3, 16, 4, 1, SIZE)
ENCODER: Final = _encoder()
DECODER: Final = _decoder()


def convolutions() -> Iterator[Conv]:
    """Every convolution, in the order of the data."""
    yield STEM
    for block in ENCODER:
        yield from block.convs
    yield from DECODER


def variables() -> dict[str, tuple[int, ...]]:
    """The 245 variables that the checkpoint must hold: shape by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for conv in convolutions():
        shapes[f"{conv.name}/weights"] = conv.weight_shape
        if conv.norm:
            shapes.update(_norm_shapes(conv.name, conv.outputs))
    for block in ENCODER:
        shapes.update(_norm_shapes(block.name, block.expand.outputs))
    return shapes


def _norm_shapes(owner: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{owner}/BatchNorm/{part}": (channels,) for part in NORM_VARIABLES}


def macs() -> int:
    """Multiply-accumulates of one crop."""
    return sum(conv.macs for conv in convolutions())
