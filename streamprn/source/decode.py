"""Decoded video frames as `FrameImage`: upright, square pixels, planes without a copy.

The decoder's 4:2:0 planes are exposed as NumPy views of its own buffers; a frame lives as long as
somebody holds one of its planes. Live streams, clips and filter graphs all come through here.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import cv2
import numpy as np

from streamprn.errors import InputError
from streamprn.records import DevicePlanes, FrameImage, YuvPlanes
from streamprn.source.colour import (
    BT709,
    FULL_RANGE,
    check_colours,
    frame_to_rgb,
    is_plain_sdr,
)
from streamprn.source.orientation import (
    EXIF_ORIENTATIONS,
    Orientation,
    OrientationMemory,
    orientation_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import av
    from av.video.stream import VideoStream

    from streamprn.records import UInt8

__all__ = [
    "EXIF_ORIENTATIONS",
    "Orientation",
    "OrientationMemory",
    "aspect_of",
    "frame_to_rgb",
    "orientation_of",
    "to_image",
]

# Two luma samples share a chroma sample along each axis of these formats.
_PLANAR_420 = frozenset({"yuv420p", "yuvj420p"})
_SQUARE = Fraction(1)
# Pixels further from square than this are taken for a damaged header.
_LARGEST_ASPECT = 8

CropXywh = tuple[int, int, int, int]


def aspect_of(stream: VideoStream) -> Fraction:
    """How many times wider than high the pixels of a stream are, 1 where it does not say.

    The container is believed before the codec, as by FFmpeg; the codec's word counts from the first
    decoded frame on.
    """
    for given in (stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio):
        if not given:
            continue
        across, down = given.numerator, given.denominator
        if across == down:
            return _SQUARE
        if across <= _LARGEST_ASPECT * down and down <= _LARGEST_ASPECT * across:
            return Fraction(given)
    return _SQUARE


def to_image(
    frame: av.VideoFrame,
    *,
    rotate: int | None = None,
    crop_xywh: CropXywh | None = None,
    orientation: Orientation | None = None,
    aspect: Fraction = _SQUARE,
    deinterlace: bool = True,
) -> FrameImage:
    """Wrap a decoded frame.

    Args:
        frame: any frame of FFmpeg; it must not be decoded into again.
        rotate: degrees clockwise (a multiple of 90) that replace the frame's own orientation;
            None obeys the frame's display matrix.
        crop_xywh: x, y, width, height of the part to keep, pixels of the upright picture.
        orientation: the frame's own orientation, where the caller knows it.
        aspect: width of a stored pixel over its height; the picture is stretched along one axis so
            that its pixels are square.
        deinterlace: whether a frame that its decoder calls interlaced is deinterlaced.

    Returns:
        The picture. It has `planes`, or `device` where the decoder left it in GPU memory, if the
        frame is progressive 8-bit 4:2:0 with square pixels in BT.601 or BT.709, needs no turning,
        and the crop starts at even coordinates.

    Raises:
        InputError: the crop does not lie inside the picture, or its colours cannot be converted.
    """
    check_colours(frame)
    turn = _turn_of(frame, rotate, orientation)
    fields = deinterlace and frame.interlaced_frame
    stored = _square_size(frame.width, frame.height, aspect)
    width, height = _turned_size(stored, turn)
    if crop_xywh is not None:
        check_crop(crop_xywh, width, height)
    as_stored = turn.identity and not fields and stored == (frame.width, frame.height)
    plain = as_stored and is_plain_sdr(frame)
    planes = _planes(frame, crop_xywh) if plain else None
    device = _device_planes(frame, crop_xywh) if plain else None
    if crop_xywh is not None:
        width, height = crop_xywh[2:]
    make = _rgb_maker(frame, turn, crop_xywh, stored, fields)
    return FrameImage(width, height, make, planes, device)


def upright_size(
    frame: av.VideoFrame,
    *,
    rotate: int | None,
    orientation: Orientation | None,
    aspect: Fraction,
) -> tuple[int, int]:
    """Width and height of what `to_image` makes without a crop; its arguments."""
    stored = _square_size(frame.width, frame.height, aspect)
    return _turned_size(stored, _turn_of(frame, rotate, orientation))


def _turn_of(
    frame: av.VideoFrame, rotate: int | None, orientation: Orientation | None
) -> Orientation:
    if rotate is not None:
        return Orientation(rotate // 90 % 4)
    return orientation_of(frame) if orientation is None else orientation


def _turned_size(stored: tuple[int, int], turn: Orientation) -> tuple[int, int]:
    width, height = stored
    return (height, width) if turn.quarter_turns % 2 else (width, height)


def _square_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Width and height with square pixels; neither becomes smaller, so that no line is lost."""
    if aspect is _SQUARE or aspect == 1:
        return width, height
    if aspect > 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def check_crop(crop_xywh: CropXywh, width: int, height: int) -> None:
    """Raise `InputError` unless the box lies inside a picture of `width` x `height` pixels."""
    x, y, w, h = crop_xywh
    if x < 0 or y < 0 or w < 1 or h < 1 or x + w > width or y + h > height:
        raise InputError(
            f"crop {x},{y},{w},{h} (x, y, width, height) lies outside the {width}x{height} frame",
            hint="choose a box inside the frame",
        )


def _rgb_maker(
    frame: av.VideoFrame,
    turn: Orientation,
    crop_xywh: CropXywh | None,
    size_wh: tuple[int, int],
    fields: bool,
) -> Callable[[], UInt8]:
    def make() -> UInt8:
        rgb = frame_to_rgb(frame, deinterlace=fields)
        if size_wh != (frame.width, frame.height):
            rgb = np.asarray(cv2.resize(rgb, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
        if not turn.identity:
            rgb = turn.apply(rgb)
        if crop_xywh is not None:
            x, y, w, h = crop_xywh
            rgb = rgb[y : y + h, x : x + w]
        return np.ascontiguousarray(rgb)

    return make


def _planes(frame: av.VideoFrame, crop_xywh: CropXywh | None) -> YuvPlanes | None:
    if frame.format.name not in _PLANAR_420:
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
        full_range=frame.format.name == "yuvj420p" or frame.color_range == FULL_RANGE,
        bt709=frame.colorspace == BT709,
    )


def _device_planes(frame: av.VideoFrame, crop_xywh: CropXywh | None) -> DevicePlanes | None:
    """The planes of a frame that NVDEC left in GPU memory; None for all others."""
    inner = frame.sw_format if frame.format.name == "cuda" else None
    if inner is None or inner.name != "nv12":
        return None
    x, y = crop_xywh[:2] if crop_xywh else (0, 0)
    if x % 2 or y % 2:
        return None
    luma, chroma = frame.planes[:2]
    return DevicePlanes(
        luma, chroma, (x, y), frame.color_range == FULL_RANGE, frame.colorspace == BT709
    )


def _view(plane: av.VideoPlane, x: int, y: int, w: int, h: int) -> UInt8:
    stride = abs(plane.line_size)
    rows = np.frombuffer(plane, np.uint8).reshape(-1, stride)
    view = rows[y : y + h, x : x + w]
    view.flags.writeable = False
    return view
