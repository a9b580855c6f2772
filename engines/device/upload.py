"""The pictures of a batch, and what never changes, on their way to the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.engines.device.staging import COLOUR_COLUMNS, FRAME_COLUMNS, Stage, bytes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from streamprn.engines.device.contract import Device
    from streamprn.engines.device.staging import Window
    from streamprn.records import FrameImage


def constant(device: Device, stream: Any, array: NDArray[Any]) -> Any:
    """A device array with the content of a host array; it is there when this returns."""
    array = np.ascontiguousarray(array)
    target = device.zeros(array.shape, array.dtype)
    device.upload(target, array, stream)
    device.synchronize(stream)
    return target


class FrameUpload:
    """A pool of bytes on both sides, with the tables that say what lies where.

    Args:
        device: see `Device`.
        rows: pictures at once.
        stream: in whose order everything goes; the only one that reads `pool`.

    Attributes:
        pool: flat uint8 on the device.
        frames: `(rows, 9)` int32 on the device, see `streamprn.kernels.cuda.warp`.
        colours: `(rows, 7)` float32 on the device.
    """

    def __init__(self, device: Device, rows: int, stream: Any) -> None:
        self._device, self._stream = device, stream
        self._frames = device.pinned((rows, FRAME_COLUMNS), np.int32)
        self._colours = device.pinned((rows, COLOUR_COLUMNS), np.float32)
        self.frames = device.zeros((rows, FRAME_COLUMNS), np.int32)
        self.colours = device.zeros((rows, COLOUR_COLUMNS), np.float32)
        self._grow(1)

    def _grow(self, nbytes: int) -> None:
        self._pool: NDArray[np.uint8] = self._device.pinned((nbytes,), np.uint8)
        self.pool = self._device.zeros((nbytes,), np.uint8)
        self._stage = Stage(self._pool, self._frames, self._colours)

    def place(self, pictures: Mapping[int, tuple[FrameImage, Window]]) -> None:
        """Lay out pictures by their row; the last ones must have been sent and used.

        A batch that is larger than any before makes the pool grow, with a quarter to spare.
        """
        need = sum(bytes_of(image, part) for image, part in pictures.values())
        if need > self._pool.size:
            self._device.synchronize(self._stream)
            self._device.forget(self._stream)
            self._grow(need + need // 4)
        self._stage.clear()
        for row, (image, part) in sorted(
            pictures.items(), key=lambda item: item[1][0].device is not None
        ):
            self._stage.place(row, image, part)

    def send_pixels(self) -> None:
        """Put the pixels into the stream: from the host, and from where decoders left them."""
        stage, device = self._stage, self._device
        device.upload(self.pool, self._pool[: stage.used_by_host], self._stream)
        if not stage.copies:
            return
        device.await_decoders(self._stream)
        for one in stage.copies:
            first, size = (one.x_bytes, one.row), (one.row_bytes, one.rows)
            device.copy_rows(self.pool, one.start, one.plane, first, size, self._stream)

    def send_tables(self) -> None:
        """Put the tables into the stream."""
        self._device.upload(self.frames, self._frames, self._stream)
        self._device.upload(self.colours, self._colours, self._stream)

    def release(self) -> None:
        """Let go of decoded pictures; everything must have been sent."""
        self._stage.copies = []
