"""Decoded video frames as `FrameImage`: planes without a copy, RGB only when asked.

The decoder's 4:2:0 planes are exposed as NumPy views of its own buffers; a frame lives as long as
somebody holds one of its planes. Conversion to RGB goes through swscale.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from streamprn.errors import InputError
from streamprn.records import DevicePlanes, FrameImage, YuvPlanes

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamprn.records import UInt8

__all__ = ["EXIF_ORIENTATIONS", "Orientation", "OrientationMemory", "orientation_of", "to_image"]

# AVColorSpace and AVColorRange (libavutil/pixfmt.h), as frames carry them.
_BT709 = 1
_BT2020 = (9, 10)
_FULL_RANGE = 2
# Two luma samples share a chroma sample along each axis of these formats.
_PLANAR_420 = frozenset({"yuv420p", "yuvj420p"})

CropXywh = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Orientation:
    """How to turn a stored picture for display: first mirror left-right, then turn clockwise."""

    quarter_turns: int = 0
    mirror: bool = False

    @property
    def identity(self) -> bool:
        """Whether the picture is stored as it is shown."""
        return self.quarter_turns == 0 and not self.mirror

    def apply(self, image: UInt8) -> UInt8:
        """Turn an image `(H, W, C)` uint8; a view where that is possible."""
        if self.mirror:
            image = image[:, ::-1]
        return np.rot90(image, -self.quarter_turns)


UPRIGHT = Orientation()
# By the value of the EXIF tag 0x0112.
EXIF_ORIENTATIONS = {
    1: UPRIGHT,
    2: Orientation(0, mirror=True),
    3: Orientation(2),
    4: Orientation(2, mirror=True),
    5: Orientation(3, mirror=True),
    6: Orientation(1),
    7: Orientation(1, mirror=True),
    8: Orientation(3),
}


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Read the frame's display matrix (container rotation or EXIF orientation).

    The matrix `[[a, b], [c, d]]` maps a stored point (x, y), y down, to (a x + c y, b x + d y)
    (libavutil/display.h); its determinant is negative when the picture is mirrored. Angles other
    than multiples of 90 degrees snap to the nearest.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV 18 refuses all side data of a frame that also carries EXIF, a type new to it
        # ("31 is not a valid Type"). Its `rotation` still works, and cannot tell a mirror.
        return Orientation(round(-frame.rotation / 90.0) % 4)
    if data is None:
        return UPRIGHT
    matrix = np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2].astype(np.float64)
    mirror = bool(np.linalg.det(matrix) < 0)
    if mirror:
        matrix[0] = -matrix[0]
    angle = np.degrees(np.arctan2(matrix[0, 1], matrix[0, 0]))
    return Orientation(round(float(angle) / 90.0) % 4, mirror)


class OrientationMemory:
    """The orientation of a stream's frames, read again only when their rotation changes.

    PyAV caches the side data that `orientation_of` reads in the frame, and they refer to each
    other: such a frame, half a megabyte and more, lives on until the garbage collector runs. So
    only the first frame of a stream is asked.
    """

    def __init__(self) -> None:
        self._rotation: int | None = None
        self._orientation = UPRIGHT

    def of(self, frame: av.VideoFrame) -> Orientation:
        """Return the orientation of a frame."""
        rotation = frame.rotation
        if rotation != self._rotation:
            self._orientation = orientation_of(frame)
            self._rotation = rotation
        return self._orientation


def to_image(
    frame: av.VideoFrame,
    *,
    rotate: int | None = None,
    crop_xywh: CropXywh | None = None,
    orientation: Orientation | None = None,
) -> FrameImage:
    """Wrap a decoded frame.

    Args:
        frame: any software frame of FFmpeg; it must not be decoded into again.
        rotate: degrees clockwise (a multiple of 90) that replace the frame's own orientation;
            None obeys the frame's display matrix.
        crop_xywh: x, y, width, height of the part to keep, pixels of the upright picture.
        orientation: the frame's own orientation, where the caller knows it.

    Returns:
        The picture. It has `planes`, or `device` where the decoder left it in GPU memory, if the
        frame is 8-bit 4:2:0, needs no turning and the crop starts at even coordinates.

    Raises:
        InputError: the crop does not lie inside the picture.
    """
    if rotate is not None:
        turn = Orientation(rotate // 90 % 4)
    else:
        turn = orientation_of(frame) if orientation is None else orientation
    width, height = frame.width, frame.height
    if turn.quarter_turns % 2:
        width, height = height, width
    if crop_xywh is not None:
        check_crop(crop_xywh, width, height)
    planes = _planes(frame, crop_xywh) if turn.identity else None
    device = _device_planes(frame, crop_xywh) if turn.identity else None
    if crop_xywh is not None:
        width, height = crop_xywh[2:]
    return FrameImage(width, height, _rgb_maker(frame, turn, crop_xywh), planes, device)


def check_crop(crop_xywh: CropXywh, width: int, height: int) -> None:
    """Raise `InputError` unless the box lies inside a picture of `width` x `height` pixels."""
    x, y, w, h = crop_xywh
    if x < 0 or y < 0 or w < 1 or h < 1 or x + w > width or y + h > height:
        raise InputError(
            f"crop {x},{y},{w},{h} (x, y, width, height) lies outside the {width}x{height} frame",
            hint="choose a box inside the frame",
        )


def _rgb_maker(
    frame: av.VideoFrame, turn: Orientation, crop_xywh: CropXywh | None
) -> Callable[[], UInt8]:
    def make() -> UInt8:
        rgb = frame_to_rgb(frame)
        if not turn.identity:
            rgb = turn.apply(rgb)
        if crop_xywh is not None:
            x, y, w, h = crop_xywh
            rgb = rgb[y : y + h, x : x + w]
        return np.ascontiguousarray(rgb)

    return make


# A swscale context is costly to set up and must not be shared between threads.
_scalers = threading.local()


def frame_to_rgb(frame: av.VideoFrame) -> UInt8:
    """Convert any frame to `(H, W, 3)` uint8 RGB, C order, by the frame's own matrix and range.

    A frame that names no matrix counts as BT.601, as in FFmpeg and in `YuvPlanes`.
    """
    scaler: VideoReformatter | None = getattr(_scalers, "scaler", None)
    if scaler is None:
        scaler = _scalers.scaler = VideoReformatter()
    rgb = scaler.reformat(
        frame, format="rgb24", src_colorspace=_matrix(frame), dst_colorspace=None, threads=1
    )
    return np.ascontiguousarray(rgb.to_ndarray())


def _matrix(frame: av.VideoFrame) -> Colorspace:
    if frame.colorspace == _BT709:
        return Colorspace.ITU709
    if frame.colorspace in _BT2020:
        return Colorspace.BT2020
    return Colorspace.ITU601


def _planes(frame: av.VideoFrame, crop_xywh: CropXywh | None) -> YuvPlanes | None:
    if frame.format.name not in _PLANAR_420 or frame.colorspace in _BT2020:
        return None
    x, y, w, h = crop_xywh or (0, 0, frame.width, frame.height)
    if x % 2 or y % 2:
        return None
    half = (x // 2, y // 2, (w + 1) // 2, (h + 1) // 2)
    luma, blue, red = frame.planes[:3]
    return YuvPlanes(
        _view(luma, x, y, w, h),
        _view(blue, *half),
        _view(red, *half),
        full_range=frame.format.name == "yuvj420p" or frame.color_range == _FULL_RANGE,
        bt709=frame.colorspace == _BT709,
    )


def _device_planes(frame: av.VideoFrame, crop_xywh: CropXywh | None) -> DevicePlanes | None:
    """The planes of a frame that NVDEC left in GPU memory; None for all others."""
    inner = frame.sw_format if frame.format.name == "cuda" else None
    if inner is None or inner.name != "nv12" or frame.colorspace in _BT2020:
        return None
    x, y = crop_xywh[:2] if crop_xywh else (0, 0)
    if x % 2 or y % 2:
        return None
    luma, chroma = frame.planes[:2]
    return DevicePlanes(
        luma, chroma, (x, y), frame.color_range == _FULL_RANGE, frame.colorspace == _BT709
    )


def _view(plane: av.VideoPlane, x: int, y: int, w: int, h: int) -> UInt8:
    stride = abs(plane.line_size)
    rows = np.frombuffer(plane, np.uint8).reshape(-1, stride)
    view = rows[y : y + h, x : x + w]
    view.flags.writeable = False
    return view
