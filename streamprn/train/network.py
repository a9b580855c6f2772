"""The network: a picture of a face to 468 points and how far they can be trusted.

A convolutional encoder (five halvings of a 128 x 128 crop) gives a vector that has seen the whole
face. The vector gives an affine map and weights of a linear face (mean and principal components of
the labels); a decoder of transposed convolutions adds a residual, a coarse position map that is
read at each point's place in the UV plane. The idea of a position map is PRN's (Feng et al., ECCV
2018); the linear part makes the head as a whole right after minutes of training.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from streamprn.records import Float32
    from streamprn.train.layout import Layout

_RESIDUAL = 0.25
_START_SCALE = 0.62


@dataclass(frozen=True, slots=True)
class Size:
    """How large a network is.

    Attributes:
        width: channels of the encoder's five levels, in parts of (16, 24, 48, 96, 192).
        components: of the linear face.
        input: side of the crop, pixels; a multiple of 32.
    """

    width: float = 1.0
    components: int = 48
    input: int = 128

    @property
    def encoder(self) -> tuple[int, ...]:
        """Channels after each halving."""
        return tuple(max(8, round(c * self.width / 8) * 8) for c in (16, 24, 48, 96, 192))

    @property
    def decoder(self) -> tuple[int, ...]:
        """Channels after each doubling."""
        return tuple(max(8, round(c * self.width / 8) * 8) for c in (80, 48, 24))

    @property
    def vector(self) -> int:
        """Numbers of the vector that has seen the whole face."""
        return round(384 * self.width)


class ConvNorm(nn.Module):
    """Convolution, batch norm, and ReLU where `active`."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, active: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inputs, H, W)` to `(B, outputs, H / stride, W / stride)`."""
        y = self.norm(self.conv(x))
        return torch.relu(y) if self.active else y


class Residual(nn.Module):
    """Two convolutions added to what they see; at first they add nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels, active=False)
        nn.init.zeros_(self.second.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return torch.relu(x + self.second(self.first(x)))


class Up(nn.Module):
    """Transposed convolution that doubles the side, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inputs, H, W)` to `(B, outputs, 2 H, 2 W)`."""
        return torch.relu(self.norm(self.conv(x)))


class PointNetwork(nn.Module):
    """See the module.

    Args:
        size: of the layers.
        layout: of the points.
        mean: `(468, 3)` rest shape, image axes, z away from the camera.
        components: `(size.components, 468, 3)`, at one standard deviation each.
    """

    def __init__(self, size: Size, layout: Layout, mean: Float32, components: Float32) -> None:
        super().__init__()
        self.size = size
        self.side = size.input
        channels = size.encoder
        last, side = channels[-1], size.input // 32
        layers: list[nn.Module] = [ConvNorm(3, channels[0], 2)]
        for inputs, outputs in pairwise(channels):
            layers += [ConvNorm(inputs, outputs, 2), Residual(outputs)]
        self.encoder = nn.Sequential(*layers)
        few = last // 4
        self.squeeze = nn.Conv2d(last, few, 1)
        self.to_vector = nn.Linear(few * side * side, size.vector)
        self.from_vector = nn.Linear(size.vector, few * side * side)
        self.widen = nn.Conv2d(few, last, 1)
        self.affine = nn.Linear(size.vector, 12)
        self.linear = nn.Linear(size.vector, size.components)
        self.trust = nn.Sequential(nn.Linear(size.vector, 64), nn.ReLU(), nn.Linear(64, 1))
        ups: list[nn.Module] = []
        inputs = last
        for outputs in size.decoder:
            ups.append(Up(inputs, outputs))
            inputs = outputs
        self.decoder = nn.Sequential(*ups)
        self.residual = nn.Conv2d(inputs, 3, 3, 1, 1)
        texels, weights = layout.bilinear(side * 2 ** len(size.decoder))
        self.register_buffer("texels", torch.from_numpy(texels.astype(np.int64)).reshape(-1))
        self.register_buffer("weights", torch.from_numpy(weights))
        self.register_buffer("mean", torch.from_numpy(mean.T.copy()))
        self.components = nn.Parameter(torch.from_numpy(components.transpose(0, 2, 1).copy()))
        self._start()

    def _start(self) -> None:
        """At first: the mean face in the middle of the crop, whatever the picture."""
        for layer in (self.affine, self.linear, self.residual):
            nn.init.zeros_(layer.bias)
            nn.init.normal_(layer.weight, std=1e-3)
        start = torch.zeros(3, 4)
        start[range(3), range(3)] = _START_SCALE
        with torch.no_grad():
            self.affine.bias.copy_(start.reshape(-1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Crops `(B, 3, S, S)` in 0..1 to points `(B, 3, 468)` as in `samples.Batch`, logits."""
        features = self.encoder(x * 4 - 2)
        few = self.squeeze(features)
        vector = torch.relu(self.to_vector(few.flatten(1)))
        affine = self.affine(vector).float().reshape(-1, 3, 4)
        weights = self.linear(vector).float()
        shape = self.mean + torch.einsum("bk,kdn->bdn", weights, self.components)
        points = affine[:, :, :3] @ shape + affine[:, :, 3:]
        back = self.widen(torch.relu(self.from_vector(vector).view_as(few)))
        rough = self.residual(self.decoder(features + back))
        read = rough.float().flatten(2)[:, :, self.texels].unflatten(2, (-1, 4))
        points = points + _RESIDUAL * (read * self.weights).sum(3)
        return points, self.trust(vector).float()[:, 0]


def face_basis(shape: Float32, count: int) -> tuple[Float32, Float32]:
    """Mean and principal components of labelled shapes, for `PointNetwork`.

    Args:
        shape: `(N, 468, 3)` model frame, y up, z to the camera.
        count: of components; those beyond what the labels have are 0.

    Returns:
        `(468, 3)` and `(count, 468, 3)`, image axes, z away, the mean's largest coordinate 1.
    """
    image = shape * np.array([1, -1, -1], np.float32)
    mean = image.mean(0)
    middle = mean.mean(0)
    unit = float(np.abs(mean - middle).max())
    offsets = ((image - mean) / unit).reshape(len(shape), -1).astype(np.float64)
    _, singular, rows = np.linalg.svd(offsets, full_matrices=False)
    found = rows[:count] * singular[:count, None] / np.sqrt(len(shape))
    components = np.zeros((count, *mean.shape), np.float32)
    components[: len(found)] = found.reshape(-1, *mean.shape)
    return ((mean - middle) / unit).astype(np.float32), components


def multiply_accumulates(network: nn.Module, crop: Tensor) -> int:
    """Of one crop, in convolutions and linear layers."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.ConvTranspose2d):
            total += inputs[0][0].numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Conv2d):
            total += output[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            total += layer.weight.numel()

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [
        one.register_forward_hook(count) for one in network.modules() if isinstance(one, kinds)
    ]
    with torch.no_grad():
        network(crop)
    for hook in hooks:
        hook.remove()
    return total
