"""The encoder-decoder of the PRN paper in PyTorch, on the position map of `facemesh`.

Its layers are `engines.resfcn256.architecture`'s, so that it is written as ONNX by the same code as
the authors' weights. It gives no score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from streamprn.engines.resfcn256.architecture import (
    DECODER,
    ENCODER,
    NORM_EPSILON,
    OUTPUT_SCALE,
    SIZE,
    STEM,
    Block,
    Conv,
)
from streamprn.engines.resfcn256.graph import PRECISE_LAYERS
from streamprn.train.layout import load_layout

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

NAME: Final = "resfcn256"


class Layer(nn.Module):
    """A convolution with TensorFlow's SAME padding, transposed or not, without its norm.

    One of a stride of 1 is a plain one even where it is transposed: with the kernel flipped the two
    are the same.
    """

    def __init__(self, layer: Conv) -> None:
        super().__init__()
        self._layer = layer
        self._doubles = layer.transposed and layer.stride == 2
        kind = nn.ConvTranspose2d if self._doubles else nn.Conv2d
        padding = 1 if layer.kernel == 4 and layer.stride == 2 else 0
        self.conv = kind(
            layer.inputs, layer.outputs, layer.kernel, layer.stride, padding, bias=False
        )
        self._pads = (0, 0, 0, 0)
        if layer.kernel == 4 and layer.stride == 1:
            self._pads = (2, 1, 2, 1) if layer.transposed else (1, 2, 1, 2)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inputs, H, W)` to `(B, outputs, size, size)`."""
        return self.conv(functional.pad(x, self._pads))

    def stored(self) -> NDArray[Any]:
        """The weights in the order of `Conv.weight_shape`."""
        weight = self.conv.weight.detach().cpu().numpy()
        if self._layer.transposed and not self._doubles:
            return np.asarray(weight[:, :, ::-1, ::-1].transpose(2, 3, 0, 1))
        return np.asarray(weight.transpose(2, 3, 1, 0))


class NormedLayer(nn.Module):
    """A layer, its batch norm, and ReLU or sigmoid."""

    def __init__(self, layer: Conv) -> None:
        super().__init__()
        self.inner = Layer(layer)
        self.norm = nn.BatchNorm2d(layer.outputs, eps=NORM_EPSILON)
        self._activation = torch.relu if layer.activation == "relu" else torch.sigmoid

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inputs, H, W)` to `(B, outputs, size, size)`."""
        return self._activation(self.norm(self.inner(x)))


class ResidualBlock(nn.Module):
    """See `architecture.Block`."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.reduce = NormedLayer(block.reduce)
        self.spatial = NormedLayer(block.spatial)
        self.expand = Layer(block.expand)
        self.shortcut = None if block.shortcut is None else Layer(block.shortcut)
        self.norm = nn.BatchNorm2d(block.expand.outputs, eps=NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inputs, H, W)` to `(B, outputs, H / stride, W / stride)`."""
        inner = self.expand(self.spatial(self.reduce(x)))
        return torch.relu(self.norm(inner + (x if self.shortcut is None else self.shortcut(x))))


class MapNetwork(nn.Module):
    """The network, from random weights.

    Args:
        texel: `(N,)` int32, flat texel of each vertex; by default those of `facemesh`.
    """

    def __init__(self, texel: NDArray[np.int32] | None = None) -> None:
        super().__init__()
        self.side = SIZE
        self.stem = NormedLayer(STEM)
        self.encoder = nn.Sequential(*map(ResidualBlock, ENCODER))
        self.decoder = nn.Sequential(*map(NormedLayer, DECODER))
        texel = load_layout().texel if texel is None else texel
        places = torch.from_numpy(texel.astype("int64"))
        self.register_buffer("texel", places, persistent=False)

    def position_map(self, x: Tensor) -> Tensor:
        """Crops `(B, 3, 256, 256)` in 0..1 to maps of the same shape, as the engine has them."""
        x = self.decoder[:-PRECISE_LAYERS](self.encoder(self.stem(x)))
        # In bfloat16 a coordinate near 256 would have steps of a pixel.
        with torch.autocast(x.device.type, enabled=False):
            return self.decoder[-PRECISE_LAYERS:](x.float())

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Crops to the vertices `(B, 3, N)`, see `measure.Measure.target`; and no score.

        In the map a crop's pixel centres are whole numbers and z grows towards the camera; at the
        nearest vertex it is the side of the crop, which leaves room on both sides of the sigmoid.
        """
        pixels = self.position_map(x).float().flatten(2)[:, :, self.texel] * OUTPUT_SCALE
        half = self.side / 2
        return torch.cat([(pixels[:, :2] + 0.5) / half - 1, 2 - pixels[:, 2:] / half], 1), None

    def variables(self) -> dict[str, NDArray[Any]]:
        """Weights and norms under the names of `architecture.variables`."""
        found: dict[str, NDArray[Any]] = {}
        for layer, module in [(STEM, self.stem), *zip(DECODER, self.decoder, strict=True)]:
            found |= _of_layer(layer, module)
        for block, module in zip(ENCODER, self.encoder, strict=True):
            found |= _of_layer(block.reduce, module.reduce) | _of_layer(
                block.spatial, module.spatial
            )
            found[f"{block.expand.name}/weights"] = module.expand.stored()
            if block.shortcut is not None:
                found[f"{block.shortcut.name}/weights"] = module.shortcut.stored()
            found |= _of_norm(block.name, module.norm)
        return found


def _of_layer(layer: Conv, module: NormedLayer) -> dict[str, NDArray[Any]]:
    return {f"{layer.name}/weights": module.inner.stored()} | _of_norm(layer.name, module.norm)


def _of_norm(owner: str, norm: nn.BatchNorm2d) -> dict[str, NDArray[Any]]:
    parts = {
        "gamma": norm.weight,
        "beta": norm.bias,
        "moving_mean": norm.running_mean,
        "moving_variance": norm.running_var,
    }
    return {
        f"{owner}/BatchNorm/{name}": values.detach().cpu().numpy() for name, values in parts.items()
    }
