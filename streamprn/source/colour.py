"""A decoded frame as RGB: its matrix, range, transfer, alpha and fields, as the stream names them.

A frame that names no matrix counts as BT.601, as in FFmpeg and in `records.YuvPlanes`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from streamprn.errors import InputError
from streamprn.pixels import over_white

if TYPE_CHECKING:
    from streamprn.records import UInt8

__all__ = ["check_colours", "frame_to_rgb", "is_plain_sdr"]

# AVColorSpace, AVColorRange, AVColorTransferCharacteristic and AVColorPrimaries
# (libavutil/pixfmt.h, from ISO/IEC 23091-2), as frames carry them.
BT709 = 1
_FCC, _SMPTE240M, _YCGCO = 4, 7, 8
_BT2020 = (9, 10, 12)
_UNKNOWN_MATRICES = {11: "SMPTE 2085", 13: "chroma-derived", 14: "ICtCp", 15: "IPT-C2"}
LIMITED_RANGE, FULL_RANGE = 1, 2
_PQ, _HLG = 16, 18
_BT2020_PRIMARIES = 9
# Matrices that `YuvPlanes` tells apart: BT.709, and those of BT.601.
_PLAIN_MATRICES = frozenset({0, BT709, 2, 5, 6})
_COMB_LEVELS = 12
_MATRICES = {
    BT709: Colorspace.ITU709,
    _FCC: Colorspace.FCC,
    _SMPTE240M: Colorspace.SMPTE240M,
} | dict.fromkeys(_BT2020, Colorspace.BT2020)


def is_plain_sdr(frame: av.VideoFrame) -> bool:
    """Whether a matrix of BT.601 or BT.709 takes the frame to RGB, and nothing else is due."""
    return (
        frame.colorspace in _PLAIN_MATRICES
        and frame.color_trc not in (_PQ, _HLG)
        and frame.color_primaries != _BT2020_PRIMARIES
    )


def check_colours(frame: av.VideoFrame) -> None:
    """Raise `InputError` where the frame's colours cannot be converted."""
    name = _UNKNOWN_MATRICES.get(frame.colorspace)
    if name is not None:
        raise InputError(
            f"its colours are coded as {name}, which cannot be converted",
            hint="convert the video to BT.709 first",
        )


# A swscale context is costly to set up and must not be shared between threads.
_scalers = threading.local()


def _reformat(frame: av.VideoFrame, form: str) -> av.VideoFrame:
    scaler: VideoReformatter | None = getattr(_scalers, "scaler", None)
    if scaler is None:
        scaler = _scalers.scaler = VideoReformatter()
    matrix = _MATRICES.get(frame.colorspace, Colorspace.ITU601)
    return scaler.reformat(
        frame, format=form, src_colorspace=matrix, dst_colorspace=None, threads=1
    )


def frame_to_rgb(frame: av.VideoFrame, *, deinterlace: bool = False) -> UInt8:
    """Convert any frame to `(H, W, 3)` uint8 sRGB, C order, over white where it is transparent.

    Args:
        frame: any frame of FFmpeg, in host memory or on a GPU.
        deinterlace: whether the lines of the second field are made up where they show another
            moment than those of the first.

    Raises:
        InputError: its colours are of a kind that cannot be converted.
    """
    check_colours(frame)
    if not (deinterlace and frame.height > 2):
        return _one_moment_rgb(frame)
    if frame.sw_format is not None:  # on a GPU
        frame = _tagged_as(frame, frame.reformat(format=frame.sw_format.name))
    top, bottom = (_one_moment_rgb(_field(frame, parity)) for parity in (0, 1))
    woven = np.empty((frame.height, frame.width, 3), np.uint8)
    woven[0::2], woven[1::2] = top, bottom
    return without_combs(woven)


def _one_moment_rgb(frame: av.VideoFrame) -> UInt8:
    if frame.color_trc in (_PQ, _HLG) or frame.color_primaries == _BT2020_PRIMARIES:
        from streamprn.source import tonemap

        kinds = {_PQ: tonemap.PQ, _HLG: tonemap.HLG}
        deep = np.ascontiguousarray(_reformat(frame, "rgb48le").to_ndarray())
        return tonemap.to_srgb(deep, kinds.get(frame.color_trc, tonemap.WIDE))
    if frame.colorspace == _YCGCO and not frame.format.is_rgb:
        return _from_ycgco(frame)
    if frame.format.has_palette or any(one.is_alpha for one in frame.format.components):
        return over_white(_reformat(frame, "rgba").to_ndarray())
    rgb = np.ascontiguousarray(_reformat(frame, "rgb24").to_ndarray())
    if frame.color_range == LIMITED_RANGE and frame.format.name.startswith("gray"):
        # swscale takes grey for full range whatever it is tagged as.
        return np.asarray(_EXPANDED[rgb])
    return rgb


_EXPANDED = np.clip(np.round((np.arange(256) - 16.0) * 255.0 / 219.0), 0, 255).astype(np.uint8)


def _from_ycgco(frame: av.VideoFrame) -> UInt8:
    """H.273, matrix 8: green and orange differences in place of blue and red ones."""
    scaled = frame.reformat(format="yuv444p")
    full = frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
    luma, green, orange = (
        np.frombuffer(plane, np.uint8)
        .reshape(-1, plane.line_size)[: frame.height, : frame.width]
        .astype(np.float32)
        for plane in scaled.planes[:3]
    )
    luma = luma if full else (luma - 16.0) * (255.0 / 219.0)
    spread = 1.0 if full else 255.0 / 224.0
    green, orange = spread * (green - 128.0), spread * (orange - 128.0)
    rgb = np.stack([luma - green + orange, luma + green, luma - green - orange], axis=2)
    return np.clip(np.round(rgb), 0, 255).astype(np.uint8)


# --- fields ---------------------------------------------------------------------------------------


def _tagged_as(frame: av.VideoFrame, other: av.VideoFrame) -> av.VideoFrame:
    """Give `other` the colour tags of `frame`."""
    other.colorspace, other.color_range = frame.colorspace, frame.color_range
    other.color_trc, other.color_primaries = frame.color_trc, frame.color_primaries
    return other


def _field(frame: av.VideoFrame, parity: int) -> av.VideoFrame:
    """Every other line of a frame, from line `parity` on, as a frame of its own.

    Chroma of 4:2:0 is shared between lines of one field, so each field is converted by itself.
    """
    height = (frame.height + 1 - parity) // 2
    field = av.VideoFrame(frame.width, height, frame.format.name)
    for plane, whole in zip(field.planes, frame.planes, strict=True):
        lines = np.frombuffer(whole, np.uint8).reshape(-1, abs(whole.line_size))
        lines = lines[: whole.height][parity::2]
        copy = np.zeros((plane.buffer_size // plane.line_size, plane.line_size), np.uint8)
        width = min(lines.shape[1], copy.shape[1])
        rows = np.minimum(np.arange(plane.height), len(lines) - 1)
        copy[: plane.height, :width] = lines[rows, :width]
        plane.update(copy.tobytes())
    return _tagged_as(frame, field)


def without_combs(woven: UInt8) -> UInt8:
    """Replace what the second field shows of another moment than the first, where it shows.

    A line of the second field that is brighter than both its neighbours, or darker than both, by
    more than noise is a comb; it and a little around it become the mean of the neighbours. What
    stands still keeps all its lines.

    Args:
        woven: `(H, W, 3)` uint8, lines of the first field even, of the second odd.
    """
    above = woven[0:-1:2].astype(np.int16)
    line = woven[1::2].astype(np.int16)
    below = woven[2::2].astype(np.int16)
    above = above[: len(line)]
    if len(below) < len(line):
        below = np.concatenate([below, above[-1:]])
    step = np.minimum(np.abs(line - above), np.abs(line - below))
    combed = ((line - above) * np.sign(line - below) > 0) & (step > _COMB_LEVELS)
    mask = cv2.dilate(combed.any(axis=2).astype(np.uint8), np.ones((5, 9), np.uint8)) > 0
    out = woven.copy()
    mean = ((above + below + 1) // 2).astype(np.uint8)
    out[1::2] = np.where(mask[:, :, None], mean, woven[1::2])
    return out
