"""Where the frames of a batch lie in the upload: only the windows that their crops read.

The rows that this writes are those of `streamprn.kernels.cuda.warp`.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamprn.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamprn.records import DevicePlanes, FrameImage, YuvPlanes

RGB, YUV420 = 1, 2
FRAME_COLUMNS = 9
COLOUR_COLUMNS = 7
# Bytes; a copy that starts at a multiple of it is fast.
ALIGNMENT = 256
# Pixels around a crop's corners: bilinear neighbours, box filter, chroma siting.
MARGIN = 8


@dataclass(frozen=True, slots=True)
class Window:
    """Columns `x0..x1` and rows `y0..y1` (ends excluded) of a frame; x0 and y0 are even."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0


def window(
    matrices: NDArray[np.float32], size: int, frame_wh: tuple[int, int], margin: int = MARGIN
) -> Window:
    """The part of a frame that its crops read; at least two pixels each way.

    Args:
        matrices: `(K, 2, 3)` float32, crop pixel to frame pixel.
        size: S of the crops.
        frame_wh: width and height of the frame.
        margin: pixels around the crops' corners.
    """
    ends = np.array([[-0.5, size - 0.5, -0.5, size - 0.5], [-0.5, -0.5, size - 0.5, size - 0.5]])
    corners = matrices[:, :, :2].astype(np.float64) @ ends + matrices[:, :, 2:]
    box = np.concatenate([corners.min(axis=(0, 2)), corners.max(axis=(0, 2))])
    return window_around(box, frame_wh, margin)


def window_around(
    box_xyxy: NDArray[Any], frame_wh: tuple[int, int], margin: int = MARGIN
) -> Window:
    """The part of a frame that holds a box `(4,)` and a margin; the whole where it is not finite.

    Args:
        box_xyxy: frame pixels.
        frame_wh: width and height of the frame.
        margin: pixels around the box.
    """
    if not np.isfinite(box_xyxy).all():
        return Window(0, 0, *frame_wh)
    bounds = []
    for axis, length in enumerate(frame_wh):
        low = float(np.clip(box_xyxy[axis] - margin, 0, max(length - 2, 0)))
        high = float(np.clip(box_xyxy[axis + 2] + margin, 1, length - 1))
        first = int(low) // 2 * 2
        bounds.append((first, max(min(math.ceil(high) + 2, length), min(first + 2, length))))
    return Window(bounds[0][0], bounds[1][0], bounds[0][1], bounds[1][1])


@dataclass(frozen=True, slots=True)
class DeviceCopy:
    """Rows that the device copies itself: `rows` of `row_bytes` from `x_bytes`, `row` of a plane.

    Attributes:
        start: where they go in the pool, packed.
        plane: where they come from.
        x_bytes: first byte of each row.
        row: first row.
        row_bytes: bytes of each row.
        rows: how many.
    """

    start: int
    plane: Plane
    x_bytes: int
    row: int
    row_bytes: int
    rows: int


class Stage:
    """The host side of an upload: a pool of bytes and the tables that describe it.

    Pictures in GPU memory take their place in the pool too, and `copies` says what the device
    shall copy there. They come after all pictures in host memory, so that `used_by_host` bytes
    from the front are all that must be uploaded.

    Args:
        pool: flat uint8, page-locked.
        frames: `(F, 9)` int32, page-locked.
        colours: `(F, 7)` float32, page-locked.
    """

    def __init__(
        self, pool: NDArray[np.uint8], frames: NDArray[np.int32], colours: NDArray[np.float32]
    ) -> None:
        self.pool = pool
        self.frames = frames
        self.colours = colours
        self.used = 0
        self.used_by_host = 0
        self.copies: list[DeviceCopy] = []

    def clear(self) -> None:
        """Forget the last batch."""
        self.used = self.used_by_host = 0
        self.copies = []
        self.frames[:] = 0

    def place(self, index: int, image: FrameImage, part: Window) -> None:
        """Copy a window of a picture into the pool and describe it in row `index`.

        Raises:
            BackendError: the pool is too small; see `bytes_of`.
        """
        row = self.frames[index]
        row[1], row[2] = image.width, image.height
        if image.device is not None:
            self._place_device(index, image.device, part)
            return
        assert not self.copies, "pictures in host memory come first"
        self._place_host(index, image, part)
        self.used_by_host = self.used

    def _place_host(self, index: int, image: FrameImage, part: Window) -> None:
        row = self.frames[index]
        if image.planes is not None and not image.has_rgb:
            self._place_planes(index, image.planes, part)
            return
        rgb = image.rgb[part.y0 : part.y1, part.x0 : part.x1]
        row[0], row[4] = RGB, 3 * part.width
        row[3] = self._copy(rgb) - (part.y0 * row[4] + 3 * part.x0)

    def _place_planes(self, index: int, planes: YuvPlanes, part: Window) -> None:
        row = self.frames[index]
        luma = planes.y[part.y0 : part.y1, part.x0 : part.x1]
        x0, y0, x1, y1 = part.x0 // 2, part.y0 // 2, (part.x1 + 1) // 2, (part.y1 + 1) // 2
        row[0], row[4], row[7], row[8] = YUV420, part.width, x1 - x0, 1
        row[3] = self._copy(luma) - (part.y0 * row[4] + part.x0)
        for column, plane in ((5, planes.u), (6, planes.v)):
            row[column] = self._copy(plane[y0:y1, x0:x1]) - (y0 * row[7] + x0)
        self.colours[index] = colour_row(planes.full_range, planes.bt709)

    def _place_device(self, index: int, planes: DevicePlanes, part: Window) -> None:
        row = self.frames[index]
        left, top = planes.origin_xy
        x0, y0, x1, y1 = part.x0 // 2, part.y0 // 2, (part.x1 + 1) // 2, (part.y1 + 1) // 2
        wide, pitch = part.width, 2 * (x1 - x0)
        luma, chroma = plane_of(planes.luma), plane_of(planes.chroma)
        row[0], row[4], row[7], row[8] = YUV420, wide, pitch, 2
        start = self._leave(luma, left + part.x0, top + part.y0, wide, part.height)
        row[3] = start - (part.y0 * wide + part.x0)
        start = self._leave(chroma, left + 2 * x0, top // 2 + y0, pitch, y1 - y0)
        row[5] = start - (y0 * pitch + 2 * x0)
        row[6] = row[5] + 1
        self.colours[index] = colour_row(planes.full_range, planes.bt709)

    def _leave(self, plane: Plane, x_bytes: int, first: int, row_bytes: int, rows: int) -> int:
        """Leave room for rows that the device copies; where they start in the pool."""
        start = self._room(row_bytes * rows)
        self.copies.append(DeviceCopy(start, plane, x_bytes, first, row_bytes, rows))
        return start

    def _copy(self, plane: NDArray[np.uint8]) -> int:
        """Copy rows, packed; where they start in the pool."""
        start = self._room(plane.size)
        np.copyto(self.pool[start : start + plane.size].reshape(plane.shape), plane)
        return start

    def _room(self, nbytes: int) -> int:
        """The next bytes of the pool; where they start."""
        start = -(-self.used // ALIGNMENT) * ALIGNMENT
        if start + nbytes > self.pool.size:
            raise BackendError(
                f"the frames of a batch need more than the {self.pool.size} bytes of the upload",
                hint="this is a defect of StreamPRN, please report it",
            )
        self.used = start + nbytes
        return start


def bytes_of(image: FrameImage, part: Window) -> int:
    """Pool bytes that `Stage.place` needs at most."""
    area = (part.width + 2) * (part.height + 2)
    planar = image.device is not None or (image.planes is not None and not image.has_rgb)
    return (area * 3 // 2 if planar else 3 * area) + 3 * ALIGNMENT


def colour_row(full_range: bool, bt709: bool) -> NDArray[np.float32]:
    """`(7,)` float32: black, gain, R of V, G of U, G of V, B of U, siting."""
    from streamprn.kernels.warp import colour_of

    return np.array(colour_of(full_range, bt709), np.float32)


class _DLTensor(ctypes.Structure):
    """DLPack's tensor (dlpack.h); its version 0 layout."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


CPU_DEVICE, CUDA_DEVICE = 1, 2


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane of a decoded picture where it lies: address, rows, bytes of a row, row pitch."""

    address: int
    rows: int
    row_bytes: int
    pitch: int
    device_type: int
    owner: Any


def plane_of(exporter: Any) -> Plane:
    """A uint8 plane, or interleaved plane pair, through DLPack, without a copy.

    Args:
        exporter: has `__dlpack__`, as PyAV's planes of a frame in GPU memory have. `(H, W)` or
            `(H, W, C)`, uint8.

    Raises:
        BackendError: it is something else.
    """
    capsule = exporter.__dlpack__()
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    pointer = pointer_of(capsule, b"dltensor")
    tensor = ctypes.cast(pointer, ctypes.POINTER(_DLTensor)).contents
    shape = [tensor.shape[axis] for axis in range(tensor.ndim)]
    if tensor.bits != 8 or tensor.ndim not in (2, 3):
        raise BackendError(f"a decoded plane is {tensor.ndim}-dimensional, {tensor.bits} bits")
    row_bytes = math.prod(shape[1:])
    pitch = int(tensor.strides[0]) if tensor.strides else row_bytes
    address = int(tensor.data or 0) + int(tensor.byte_offset)
    return Plane(address, shape[0], row_bytes, pitch, int(tensor.device_type), capsule)


def sequence_of_owners(count: int, faces: Sequence[int]) -> NDArray[np.int32]:
    """`(count,)` int32: the frame of each face, -1 for the unused."""
    owner = np.full(count, -1, np.int32)
    owner[: len(faces)] = faces
    return owner
