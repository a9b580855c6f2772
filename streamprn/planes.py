"""A frame's picture, as the decoder left it and as RGB."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    UInt8 = NDArray[np.uint8]

__all__ = ["DevicePlanes", "FrameImage", "YuvPlanes"]


@dataclass(frozen=True, slots=True)
class YuvPlanes:
    """Planar 4:2:0 video: y `(H, W)`, u and v `(ceil(H/2), ceil(W/2))`, uint8, C order rows.

    Rows may be strided (padding at their end). `full_range` tells 0..255 from 16..235;
    `bt709` picks the colour matrix (else BT.601).
    """

    y: UInt8
    u: UInt8
    v: UInt8
    full_range: bool = False
    bt709: bool = False


@dataclass(frozen=True, slots=True)
class DevicePlanes:
    """8-bit NV12 video in GPU memory, where the decoder left it.

    Attributes:
        luma: exports `(H, W)` uint8 through `__dlpack__`.
        chroma: exports `(H // 2, W // 2, 2)` uint8, U and V interleaved; where H is odd, one more
            row lies behind them.
        origin_xy: pixel of these planes that is the picture's first; even.
        full_range: see `YuvPlanes`.
        bt709: see `YuvPlanes`.
    """

    luma: Any
    chroma: Any
    origin_xy: tuple[int, int] = (0, 0)
    full_range: bool = False
    bt709: bool = False


class FrameImage:
    """A picture that converts to RGB only when somebody asks, and then once.

    Args:
        width: pixels.
        height: pixels.
        to_rgb: makes the `(H, W, 3)` uint8 RGB array; called at most once.
        planes: the decoder's own planes where they are 4:2:0 in host memory, else None.
        device: the same where they are in GPU memory, else None; `rgb` then downloads them.
    """

    __slots__ = ("_lock", "_rgb", "_to_rgb", "device", "height", "planes", "width")

    def __init__(
        self,
        width: int,
        height: int,
        to_rgb: Callable[[], UInt8],
        planes: YuvPlanes | None = None,
        device: DevicePlanes | None = None,
    ) -> None:
        self.width = width
        self.height = height
        self.planes = planes
        self.device = device
        self._to_rgb: Callable[[], UInt8] | None = to_rgb
        self._rgb: UInt8 | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_rgb(cls, rgb: UInt8) -> FrameImage:
        """Wrap an RGB array `(H, W, 3)` uint8 that exists already."""
        image = cls(rgb.shape[1], rgb.shape[0], lambda: rgb)
        image._rgb = rgb
        return image

    @property
    def rgb(self) -> UInt8:
        """The picture as `(H, W, 3)` uint8 RGB, C order, read-only by agreement."""
        with self._lock:
            if self._rgb is None:
                assert self._to_rgb is not None
                self._rgb = self._to_rgb()
                self._to_rgb = None
            return self._rgb

    @property
    def has_rgb(self) -> bool:
        """Whether `rgb` costs nothing now."""
        return self._rgb is not None
