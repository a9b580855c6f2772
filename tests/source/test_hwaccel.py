"""Decoding on the GPU: asked for, refused in one line, and what frames there look like."""

import logging
from pathlib import Path

import numpy as np
import pytest

from streamprn.source import decode
from streamprn.source.orientation import UPRIGHT
from tests.source.conftest import Player

no_gpu = pytest.mark.skipif(
    Path("/proc/driver/nvidia/version").exists(), reason="this machine has a driver"
)


@no_gpu
def test_without_a_gpu_a_source_decodes_on_the_cpu_and_says_why(clips, caplog):
    clip = clips.still(frames=15)
    with caplog.at_level(logging.WARNING):
        player = Player(clip.uri, 10, hwaccel="cuda")
        frames = player.take(5)
        player.reader.stop()
    assert len(frames) == 5
    assert all(frame.image.device is None for frame in frames)
    assert frames[0].image.planes is not None
    (said,) = [record.getMessage() for record in caplog.records]
    assert "decoding on the CPU: there is no NVIDIA driver here" in said
    assert "\n" not in said


class Format:
    def __init__(self, name):
        self.name = name


class NvdecFrame:
    """What PyAV says of a frame that NVDEC left in GPU memory; none can be made without a GPU."""

    format = Format("cuda")
    rotation = 0
    width, height = 64, 48
    colorspace, color_range = 1, 2
    color_trc = color_primaries = 1
    interlaced_frame = False

    def __init__(self, inner="nv12"):
        self.sw_format = Format(inner)
        self.planes = (np.zeros((48, 64), np.uint8), np.zeros((24, 32, 2), np.uint8))


def image_of(frame, **options):
    return decode.to_image(frame, orientation=UPRIGHT, **options)


def test_a_frame_in_gpu_memory_keeps_its_planes_there():
    frame = NvdecFrame()
    image = image_of(frame)
    assert image.planes is None
    assert not image.has_rgb
    assert image.device.luma is frame.planes[0]
    assert image.device.chroma is frame.planes[1]
    assert image.device.full_range
    assert image.device.bt709
    assert image.device.origin_xy == (0, 0)


def test_a_cut_of_such_a_frame_has_an_origin_and_an_odd_one_is_converted():
    image = image_of(NvdecFrame(), crop_xywh=(8, 6, 20, 10))
    assert (image.width, image.height) == (20, 10)
    assert image.device.origin_xy == (8, 6)
    assert image_of(NvdecFrame(), crop_xywh=(7, 6, 20, 10)).device is None


@pytest.mark.parametrize("inner", ["p010le", "yuv444p"])
def test_formats_that_the_kernels_do_not_read_are_converted(inner):
    assert image_of(NvdecFrame(inner)).device is None


def test_a_turned_frame_is_converted():
    assert image_of(NvdecFrame(), rotate=90).device is None
