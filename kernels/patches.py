"""Mean colours of small squares of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.kernels._jit import cpu_loop, frozen, output
from streamprn.kernels.warp import whole_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamprn.records import YuvPlanes

#: Pixels along the side of a square that are looked at.
TAPS = 3
ZERO, HALF = np.float32(0.0), np.float32(0.5)


def means_rgb(
    image: NDArray[np.uint8],
    points: NDArray[np.float32],
    reach: float,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Mean colours of squares around points; the edge of the image is repeated outside.

    Args:
        image: `(H, W, 3)` uint8.
        points: `(N, 2)` float32, x and y, frame pixels.
        reach: half the side of the squares, frame pixels. Of each, 3 x 3 pixels are looked at.
        out: `(3, N)` float32, C order, or None.

    Returns:
        `out`: red, green and blue, 0..255. Of a point that is not finite, those of a corner.
    """
    out = output(out, (3, len(points)), np.float32)
    image = frozen(np.ascontiguousarray(image))
    points = np.ascontiguousarray(points, np.float32)
    _means(image.reshape(image.shape[0], -1), image.shape[1], 3, points, np.float32(reach), out)
    return out


def means_yuv(
    planes: YuvPlanes,
    points: NDArray[np.float32],
    reach: float,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """As `means_rgb`, of planar 4:2:0 video: Y, U and V as they are coded."""
    out = output(out, (3, len(points)), np.float32)
    points = np.ascontiguousarray(points, np.float32)
    width = planes.y.shape[1]
    _means(whole_rows(planes.y), width, 1, points, np.float32(reach), out[:1])
    half, chroma = points * HALF, (width + 1) // 2
    for row, plane in ((1, planes.u), (2, planes.v)):
        _means(whole_rows(plane), chroma, 1, half, np.float32(reach) * HALF, out[row : row + 1])
    return out


@cpu_loop(fastmath=True)
def _means(plane: Any, width: Any, channels: Any, points: Any, reach: Any, out: Any) -> None:
    right, bottom = np.float32(width - 1), np.float32(plane.shape[0] - 1)
    share = np.float32(1.0 / (TAPS * TAPS))
    for n in range(points.shape[0]):
        for channel in range(channels):
            out[channel, n] = ZERO
        for down in range(TAPS):
            y = points[n, 1] + reach * np.float32(down - TAPS // 2)
            y = min(max(y + HALF, ZERO), bottom)
            row = int(y)
            for across in range(TAPS):
                x = points[n, 0] + reach * np.float32(across - TAPS // 2)
                x = min(max(x + HALF, ZERO), right)
                column = channels * int(x)
                for channel in range(channels):
                    out[channel, n] += share * np.float32(plane[row, column + channel])
