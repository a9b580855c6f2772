"""Comparing two runtimes, or two precisions, on the same crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from streamprn.engines.protocol import Engine
    from streamprn.records import UInt8


@dataclass(frozen=True, slots=True)
class Difference:
    """Between the position maps of two engines, over all vertices and axes, in crop pixels."""

    largest_px: float
    mean_px: float


def compare(first: Engine, second: Engine, crops: NDArray[np.float32]) -> Difference:
    """Run every crop on both.

    Args:
        first: an engine.
        second: the same bundle on another runtime, or in another precision.
        crops: `(B, S, S, 3)` float32 RGB in 0..1.
    """
    mask = first.topology.mask
    gaps = [
        np.abs(first.infer(crop).maps[0][mask] - second.infer(crop).maps[0][mask])
        for crop in crops[:, None]
    ]
    return Difference(float(np.max(gaps)), float(np.mean(gaps)))


def invented_pictures(count: int, size: int, seed: int = 0) -> NDArray[np.float32]:
    """`(count, size, size, 3)` float32 in 0..1 with detail at every scale, always the same."""
    rng = np.random.default_rng(seed)
    pictures = np.full((count, size, size, 3), 0.5, np.float32)
    for index in range(count):
        for cells in (3, 12, 48, size):
            noise = 0.15 * rng.standard_normal((cells, cells, 3), np.float32)
            pictures[index] += cv2.resize(noise, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.clip(pictures, 0, 1)


def whole_pictures(pictures: Iterable[UInt8], size: int) -> NDArray[np.float32]:
    """`(B, size, size, 3)` float32 RGB in 0..1, each squeezed to the size.

    Args:
        pictures: `(H, W, 3)` uint8 RGB each, one or more.
        size: of a side, pixels.
    """
    small = [cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA) for one in pictures]
    return np.stack(small).astype(np.float32) / np.float32(255)
