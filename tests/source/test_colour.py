"""Colours come out right whatever matrix, range, depth and transfer the stream names."""

from __future__ import annotations

import av
import numpy as np
import pytest

from streamprn.errors import InputError
from streamprn.pixels import over_white
from streamprn.source.colour import frame_to_rgb, without_combs
from streamprn.source.decode import to_image

# Red and blue weight of the matrices of ISO/IEC 23091-2.
WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
PATCHES = (
    np.array(
        [[255, 255, 255], [0, 0, 0], [200, 120, 80], [30, 180, 60], [60, 50, 220], [128, 128, 128]]
    )
    / 255.0
)


def patches(form: str, matrix: int, color_range: int, signal: np.ndarray = PATCHES):
    """A frame of upright stripes, 8 pixels each, coded by the formula of its matrix."""
    red, blue = WEIGHTS[matrix]
    r, g, b = signal.T
    luma = red * r + (1 - red - blue) * g + blue * b
    planes = [luma, (b - luma) / (2 * (1 - blue)), (r - luma) / (2 * (1 - red))]
    bits = next((n for n in (10, 12) if str(n) in form), 8)
    scale, top = 1 << (bits - 8), (1 << bits) - 1
    frame = av.VideoFrame(8 * len(signal), 16, form)
    frame.colorspace, frame.color_range = matrix, color_range
    for index, (plane, values) in enumerate(zip(frame.planes, planes, strict=False)):
        if color_range == 2:
            codes = values * top + (128 * scale if index else 0)
        else:
            codes = scale * (128 + 224 * values if index else 16 + 219 * values)
        line = np.repeat(np.clip(np.round(codes), 0, top), plane.width // len(signal))
        stored = line.astype(np.uint8 if bits == 8 else np.uint16).view(np.uint8)
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        rows[:, : len(stored)] = stored
        plane.update(rows.tobytes())
    return frame


def shown(frame: av.VideoFrame) -> np.ndarray:
    """RGB in the middle of each stripe of `patches`."""
    return frame_to_rgb(frame)[8, 4::8].astype(float)


@pytest.mark.parametrize("color_range", [1, 2], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize(
    "form",
    ["yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv420p10le", "yuv422p10le", "yuv444p12le"],
)
def test_matrix_and_range_are_those_of_the_stream(form, matrix, color_range):
    frame = patches(form, matrix, color_range)
    assert np.abs(shown(frame) - 255 * PATCHES).max() <= 4


@pytest.mark.parametrize("form", ["gray", "gray10le"])
@pytest.mark.parametrize("color_range", [1, 2], ids=["limited", "full"])
def test_grey_keeps_its_range(form, color_range):
    grey = np.repeat(np.linspace(0, 1, 6)[:, None], 3, axis=1)
    frame = patches(form, 1, color_range, grey)
    assert np.abs(shown(frame) - 255 * grey).max() <= 2


@pytest.mark.parametrize("color_range", [1, 2], ids=["limited", "full"])
def test_ycgco_is_converted(color_range):
    r, g, b = PATCHES.T
    values = [(r + 2 * g + b) / 4, (2 * g - r - b) / 4, (r - b) / 2]
    frame = av.VideoFrame(48, 16, "yuv444p")
    frame.colorspace, frame.color_range = 8, color_range
    for index, (plane, one) in enumerate(zip(frame.planes, values, strict=True)):
        if color_range == 2:
            codes = 255 * one + (128 if index else 0)
        else:
            codes = 128 + 224 * one if index else 16 + 219 * one
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        rows[:, :48] = np.repeat(np.clip(np.round(codes), 0, 255), 8)
        plane.update(rows.tobytes())
    assert to_image(frame).planes is None
    assert np.abs(shown(frame) - 255 * PATCHES).max() <= 4


def test_colours_that_nobody_converts_are_refused_at_once():
    frame = patches("yuv420p10le", 9, 1)
    frame.colorspace = 14
    with pytest.raises(InputError, match="ICtCp"):
        to_image(frame)


# -- alpha and palettes ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["rgba", "bgra", "yuva420p", "yuva444p10le", "gbrap", "ya8"])
def test_what_is_transparent_shows_white(form):
    rgba = np.zeros((16, 48, 4), np.uint8)
    rgba[:, :, :3] = 100
    rgba[:, 16:32, 3], rgba[:, 32:, 3] = 128, 255
    frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=form)
    left, middle, right = frame_to_rgb(frame)[8, [8, 24, 40]].astype(int)
    assert np.abs(left - 255).max() <= 2
    assert np.abs(middle - round((100 * 128 + 255 * 127) / 255)).max() <= 3
    assert np.abs(right - 100).max() <= 2


def test_a_palette_with_a_transparent_colour_is_converted():
    indices = np.tile(np.arange(4, dtype=np.uint8), (16, 4))
    palette = np.zeros((256, 4), np.uint8)  # ARGB
    palette[:4] = [[255, 200, 10, 20], [255, 1, 2, 3], [0, 9, 9, 9], [255, 250, 250, 250]]
    frame = av.VideoFrame.from_ndarray((indices, palette), format="pal8")
    rgb = frame_to_rgb(frame)
    np.testing.assert_array_equal(rgb[3, :4, 0], [200, 1, 255, 250])


def test_opaque_pictures_are_not_touched():
    rgba = np.random.default_rng(1).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    rgba[:, :, 3] = 255
    np.testing.assert_array_equal(over_white(rgba), rgba[:, :, :3])


# -- high dynamic range ----------------------------------------------------------------------------


def pq(cd_m2: np.ndarray) -> np.ndarray:
    """The inverse EOTF of SMPTE ST 2084, from its text."""
    power = (cd_m2 / 10_000.0) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(scene: np.ndarray) -> np.ndarray:
    """The OETF of ITU-R BT.2100 HLG, scene light 0..1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    )


def srgb(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    low = linear <= 0.0031308
    return 255 * np.where(low, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


TO_2020 = np.array(
    [[0.627404, 0.329283, 0.043313], [0.069097, 0.919540, 0.011362], [0.016391, 0.088013, 0.895595]]
)


def hdr_frame(signal: np.ndarray, transfer: int) -> av.VideoFrame:
    frame = patches("yuv420p10le", 9, 1, signal)
    frame.color_trc, frame.color_primaries = transfer, 9
    return frame


@pytest.mark.parametrize("transfer", [16, 18], ids=["pq", "hlg"])
def test_hdr_skin_comes_out_as_in_sdr(transfer):
    """Below 90 cd/m2 the light of the display is kept, 203 cd/m2 being the white."""
    linear_709 = np.array(
        [[0.40, 0.22, 0.15], [0.2, 0.2, 0.2], [0.05, 0.2, 0.1], [0.1, 0.1, 0.3], [0, 0, 0],
         [0.02, 0.01, 0.01]]
    )  # fmt: skip
    display = linear_709 @ TO_2020.T * 203.0
    if transfer == 16:
        signal = pq(display)
    else:
        luma = display @ [0.2627, 0.6780, 0.0593]
        gain = np.maximum(luma / 1000.0, 1e-9) ** (1 / 1.2 - 1)
        signal = hlg(display / 1000.0 * gain[:, None])
    got = shown(hdr_frame(signal, transfer))
    assert np.abs(got - srgb(linear_709)).max() <= 4


def test_hdr_highlights_keep_their_order_and_end_in_white():
    grey = np.repeat(pq(np.array([25.0, 50, 100, 203, 400, 1000]))[:, None], 3, axis=1)
    got = shown(hdr_frame(grey, 16))
    assert np.ptp(got, axis=1).max() <= 2
    assert (np.diff(got[:, 0]) > 3).all()
    assert got[-1].min() >= 253
    assert 190 < got[3, 0] < 245, "diffuse white leaves room for highlights"


def test_hdr_frames_have_no_planes_that_could_be_cropped_as_sdr():
    frame = av.VideoFrame(32, 32, "yuv420p")
    frame.colorspace, frame.color_trc = 1, 16
    assert to_image(frame).planes is None


def test_wide_primaries_of_sdr_become_bt709():
    linear = np.array([[0.5, 0.2, 0.1], [0.1, 0.4, 0.1], [0.2, 0.2, 0.6], [1, 1, 1], [0, 0, 0],
                       [0.3, 0.3, 0.3]])  # fmt: skip
    frame = patches("yuv420p10le", 9, 1, (linear @ TO_2020.T) ** (1 / 2.4))
    frame.color_trc, frame.color_primaries = 14, 9
    assert np.abs(shown(frame) - 255 * linear ** (1 / 2.4)).max() <= 4


# -- fields ----------------------------------------------------------------------------------------


def bar(at: int, height: int = 48, width: int = 64) -> np.ndarray:
    picture = np.full((height, width, 3), 40, np.uint8)
    picture[:, at : at + 16] = (200, 170, 150)
    return picture


def test_moving_combs_go_and_still_lines_stay():
    woven = bar(10)
    woven[1::2] = bar(18)[1::2]
    np.testing.assert_array_equal(without_combs(woven), bar(10))
    still = np.repeat(np.arange(0, 192, 4, dtype=np.uint8)[:, None], 64, axis=1)
    still = np.repeat(still[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(without_combs(still), still)


@pytest.mark.parametrize("height", [48, 46, 45, 3])
@pytest.mark.parametrize("form", ["yuv420p", "yuv422p10le", "yuv444p", "nv12", "rgb24"])
def test_fields_are_split_with_their_chroma(form, height):
    """Each field of 4:2:0 has chroma lines of its own: no colour of the other one shows."""
    frames = [
        av.VideoFrame.from_ndarray(bar(at, 2 * ((height + 1) // 2)), format="rgb24").reformat(
            format=form
        )
        for at in (12, 28)
    ]
    frame = av.VideoFrame(64, height, form)
    for plane, first, second in zip(frame.planes, *(one.planes for one in frames), strict=True):
        rows = np.zeros((plane.buffer_size // plane.line_size, plane.line_size), np.uint8)
        for parity, one in enumerate((first, second)):
            lines = np.frombuffer(one, np.uint8).reshape(-1, one.line_size)
            wanted = rows[: plane.height][parity::2]
            wanted[:] = lines[: plane.height][parity::2][: len(wanted)][:, : plane.line_size]
        plane.update(rows.tobytes())
    got = frame_to_rgb(frame, deinterlace=True)
    inner = np.s_[:, 14:26]  # both bars' rims lie elsewhere
    assert got.shape == (height, 64, 3)
    assert np.abs(got[inner].astype(int) - bar(12, height)[inner]).max() <= 6
