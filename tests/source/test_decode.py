from __future__ import annotations

import gc
import weakref

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from streamprn.config import SourceConfig
from streamprn.config.secrets import address_of
from streamprn.errors import InputError
from streamprn.records import YuvPlanes
from streamprn.source.decode import EXIF_ORIENTATIONS, OrientationMemory, orientation_of, to_image
from streamprn.source.opening import open_video
from streamprn.source.sample_clip import make_clip
from tests.support.clips import astronaut, encode


def rgb_of(planes: YuvPlanes) -> np.ndarray:
    """The formula of BT.601 / BT.709, written out; chroma repeated, not interpolated."""
    height, width = planes.y.shape
    y, u, v = (np.asarray(one, np.float64) for one in (planes.y, planes.u, planes.v))
    u, v = (np.repeat(np.repeat(one, 2, 0), 2, 1)[:height, :width] - 128 for one in (u, v))
    if planes.full_range:
        spread, chroma = 1.0, 1.0
    else:
        y, spread, chroma = y - 16, 255 / 219, 255 / 224
    red, blue = (0.2126, 0.0722) if planes.bt709 else (0.299, 0.114)
    green = 1 - red - blue
    y = y * spread
    r = y + 2 * (1 - red) * v * chroma
    b = y + 2 * (1 - blue) * u * chroma
    g = (y - red * r - blue * b) / green
    return np.clip(np.stack([r, g, b], axis=2), 0, 255)


def smooth_frame(name: str, width: int = 64, height: int = 48) -> av.VideoFrame:
    """A frame without sharp colour edges, so that chroma interpolation matters little."""
    frame = av.VideoFrame(width, height, name)
    for plane, (low, high) in zip(frame.planes, [(40, 200), (90, 160), (100, 170)], strict=True):
        ramp = np.linspace(low, high, plane.width)[None] + np.linspace(0, 20, plane.height)[:, None]
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        rows[:, : plane.width] = ramp
        plane.update(rows.tobytes())
    return frame


@pytest.mark.parametrize("colorspace", [1, 5, 6, 2], ids=["709", "470bg", "170m", "none"])
@pytest.mark.parametrize("color_range", [0, 1, 2], ids=["unknown", "limited", "full"])
def test_planes_and_rgb_hold_the_same_colours(colorspace, color_range):
    frame = smooth_frame("yuv420p")
    frame.colorspace, frame.color_range = colorspace, color_range
    image = to_image(frame)
    assert image.planes.bt709 == (colorspace == 1)
    assert image.planes.full_range == (color_range == 2)
    assert np.abs(rgb_of(image.planes) - image.rgb).max() <= 4


def test_jpeg_planes_have_the_full_range():
    image = to_image(smooth_frame("yuvj420p"))
    assert image.planes.full_range
    assert np.abs(rgb_of(image.planes) - image.rgb).max() <= 4


@pytest.mark.parametrize("name", ["yuv422p", "yuv444p", "gray", "rgb24", "nv12", "yuv420p10le"])
def test_other_formats_have_rgb_and_no_planes(name):
    image = to_image(smooth_frame("yuv420p").reformat(format=name))
    assert image.planes is None
    assert image.rgb.shape == (48, 64, 3)
    assert image.rgb.dtype == np.uint8


def test_planes_are_views_that_keep_their_frame_alive():
    frame = smooth_frame("yuv420p", 33, 17)
    image = to_image(frame)
    planes = image.planes
    expected = np.frombuffer(frame.planes[0], np.uint8).reshape(17, -1)[:, :33].copy()
    assert planes.y.base is not None
    assert not planes.y.flags.writeable
    assert (planes.y.shape, planes.u.shape, planes.v.shape) == ((17, 33), (9, 17), (9, 17))
    del frame, image
    gc.collect()
    others = [smooth_frame("yuv420p", 33, 17) for _ in range(8)]
    for other in others:
        other.planes[0].update(bytes(other.planes[0].buffer_size))
    np.testing.assert_array_equal(planes.y, expected)


@pytest.mark.parametrize("degrees", [0, 90])
def test_the_frames_of_a_stream_die_with_their_last_user(tmp_path, degrees):
    path = encode(tmp_path / "clip.mp4", [corner_picture()] * 5, rotation=degrees)
    memory = OrientationMemory()
    planes = []
    gc.collect()
    gc.disable()
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                image = to_image(frame, orientation=memory.of(frame))
                planes.append(weakref.ref(image._to_rgb))
                assert image.rgb.flags.c_contiguous
                if degrees == 0:
                    assert image.planes is not None
            del frame, image
        assert all(ref() is None for ref in planes)
        assert gc.collect() < 40, "only the first frame may need the garbage collector"
    finally:
        gc.enable()


def test_rgb_is_made_once():
    image = to_image(smooth_frame("yuv420p"))
    assert not image.has_rgb
    assert image.rgb is image.rgb
    assert image.has_rgb
    assert image.rgb.flags.c_contiguous


# -- crop ----------------------------------------------------------------------------------------


@given(st.integers(0, 63), st.integers(0, 47), st.integers(1, 64), st.integers(1, 48))
def test_a_crop_is_that_part_of_the_whole_or_an_error(x, y, w, h):
    frame = smooth_frame("yuv420p")
    if x + w > 64 or y + h > 48:
        with pytest.raises(InputError, match="outside the 64x48 frame"):
            to_image(frame, crop_xywh=(x, y, w, h))
        return
    image = to_image(frame, crop_xywh=(x, y, w, h))
    whole = to_image(frame)
    assert (image.width, image.height) == (w, h)
    np.testing.assert_array_equal(image.rgb, whole.rgb[y : y + h, x : x + w])
    assert (image.planes is None) == bool(x % 2 or y % 2)
    if image.planes is not None:
        np.testing.assert_array_equal(image.planes.y, whole.planes.y[y : y + h, x : x + w])
        assert image.planes.u.shape == ((h + 1) // 2, (w + 1) // 2)


# -- orientation ---------------------------------------------------------------------------------


def corner_picture() -> np.ndarray:
    return np.ascontiguousarray(astronaut()[::4, ::4][:96])


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_video_is_turned_as_its_display_matrix_says(tmp_path, degrees):
    picture = corner_picture()
    path = encode(tmp_path / "turned.mp4", [picture] * 2, rotation=degrees, crf=5)
    with av.open(str(path)) as container:
        image = to_image(next(container.decode(video=0)))
    expected = np.rot90(picture, degrees // 90)
    assert (image.height, image.width) == expected.shape[:2]
    assert np.abs(image.rgb.astype(int) - expected).mean() < 4
    assert (image.planes is None) == (degrees != 0)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_exif_says(tmp_path, play, suffix, orientation):
    path = tmp_path / f"photo{suffix}"
    stored = Image.fromarray(corner_picture())
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(path, quality=95, exif=exif)
    with Image.open(path) as photo:
        expected = np.asarray(ImageOps.exif_transpose(photo).convert("RGB"))
    (frame,) = play(str(path)).take()
    assert frame.image.rgb.shape == expected.shape
    assert np.abs(frame.image.rgb.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_within_a_stream_turns_its_frames_too(tmp_path, orientation):
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(corner_picture()).save(path, exif=exif)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert orientation_of(frame) == EXIF_ORIENTATIONS[orientation]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_given_rotation_is_clockwise(degrees):
    frame = smooth_frame("yuv420p")
    turned = to_image(frame, rotate=degrees).rgb
    np.testing.assert_array_equal(turned, np.rot90(to_image(frame).rgb, -degrees // 90))


def test_a_crop_is_taken_from_the_upright_picture():
    frame = smooth_frame("yuv420p")
    image = to_image(frame, rotate=90, crop_xywh=(0, 48, 48, 16))
    np.testing.assert_array_equal(image.rgb, to_image(frame, rotate=90).rgb[48:64])
    with pytest.raises(InputError, match="outside the 48x64 frame"):
        to_image(frame, rotate=90, crop_xywh=(0, 0, 64, 48))


def test_the_loop_filter_is_left_out_where_asked(tmp_path):
    """Frames that others are predicted from stay as they are, unless it never runs."""
    clip = make_clip(tmp_path / "b.mp4", frames=12, gop=12, b_frames=2, crf=30).path

    def pictures(**settings):
        config = SourceConfig(str(clip), **settings)
        container, stream = open_video(config, address_of(config))
        with container:
            assert stream.codec_context.options["max_pixels"] == str(config.max_pixels)
            frames = [one for packet in container.demux(stream) for one in packet.decode()]
        kinds = [av.video.frame.PictureType(one.pict_type).name for one in frames]
        return kinds, [one.to_ndarray(format="gray") for one in frames]

    kinds, full = pictures()
    assert {"I", "P", "B"} == set(kinds)
    _, reference = pictures(loop_filter="reference")
    _, never = pictures(loop_filter="never")
    same = [np.array_equal(*pair) for pair in zip(full, reference, strict=True)]
    assert all(same[k] for k, kind in enumerate(kinds) if kind != "B")
    assert not all(same)
    assert not any(np.array_equal(*pair) for pair in zip(full, never, strict=True))
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(full, reference, strict=True)) < 1
