"""Square pixels, turned, mirrored, deinterlaced, of any size: live streams, clips and stills."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from streamprn.apps import images
from streamprn.apps.video import ClipReader, open_clip
from streamprn.errors import InputError
from streamprn.records import SourceState
from streamprn.source.orientation import EXIF_ORIENTATIONS, stored_orientation
from streamprn.source.stills import decode_with_alpha
from tests.support.clips import astronaut


def corner_picture() -> np.ndarray:
    return np.ascontiguousarray(astronaut()[::4, ::4][:96])


def quarters(width: int = 40, height: int = 24) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.uint8)
    x, y = width // 2, height // 2
    picture[:y, :x], picture[y:, x:], picture[:y, x:] = (220, 30, 30), (30, 30, 220), (30, 200, 30)
    return picture


def encoded(
    path: Path,
    picture: np.ndarray,
    *,
    codec: str = "libx264",
    form: str = "yuv420p",
    aspect: Fraction | None = None,
    matrix: np.ndarray | None = None,
    frames: int = 10,
    options: dict[str, str] | None = None,
) -> str:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = form
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


def both(path: str, play) -> list[np.ndarray]:
    """The first picture as `run` and as `swap` see it."""
    with ClipReader(Path(path)) as clip:
        offline = next(iter(clip.frames())).rgb
    live = play(path).take(1)[0].image
    assert live.rgb.shape == (live.height, live.width, 3)
    return [live.rgb, offline]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(16, 11), Fraction(1, 2)])
def test_pixels_become_square(tmp_path, play, suffix, aspect):
    picture = quarters(64, 48)
    codec = "mpeg4" if suffix == ".avi" else "libx264"
    path = encoded(tmp_path / f"clip{suffix}", picture, aspect=aspect, codec=codec)
    size = (48, round(64 * aspect)) if aspect > 1 else (round(48 / aspect), 64)
    for rgb in both(path, play):
        assert rgb.shape[:2] == size
        for y, x in ((0.2, 0.2), (0.2, 0.8), (0.8, 0.8)):
            got = rgb[int(y * size[0]), int(x * size[1])].astype(int)
            assert np.abs(got - picture[int(y * 48), int(x * 64)]).max() < 30


def test_an_absurd_aspect_counts_as_square(tmp_path, play):
    path = encoded(tmp_path / "a.mkv", quarters(64, 48), aspect=Fraction(200, 1))
    assert [rgb.shape for rgb in both(path, play)] == [(48, 64, 3)] * 2


def display_matrix(a: int, b: int, c: int, d: int) -> list[int]:
    return [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]


@pytest.mark.parametrize(
    ("matrix", "orientation"),
    [
        ((1, 0, 0, 1), 1),
        ((-1, 0, 0, 1), 2),
        ((-1, 0, 0, -1), 3),
        ((1, 0, 0, -1), 4),
        ((0, 1, 1, 0), 5),
        ((0, 1, -1, 0), 6),
        ((0, -1, -1, 0), 7),
        ((0, -1, 1, 0), 8),
    ],
)
def test_a_video_is_turned_and_mirrored(tmp_path, play, matrix, orientation):
    picture = quarters(64, 48)
    expected = EXIF_ORIENTATIONS[orientation].apply(picture)
    # Matroska has no field for mirrored pictures.
    suffixes = (".mp4", ".mkv") if orientation in (1, 3, 6, 8) else (".mp4", ".mov")
    for suffix in suffixes:
        path = encoded(tmp_path / f"a{suffix}", picture, matrix=display_matrix(*matrix))
        for rgb in both(path, play):
            assert rgb.shape == expected.shape
            assert np.abs(rgb.astype(int) - expected).mean() < 8


def test_square_pixels_come_before_the_turn(tmp_path, play):
    path = encoded(
        tmp_path / "a.mp4",
        quarters(64, 48),
        aspect=Fraction(2),
        matrix=display_matrix(0, 1, -1, 0),
    )
    assert [rgb.shape for rgb in both(path, play)] == [(128, 48, 3)] * 2


@pytest.mark.parametrize("size", [(33, 17), (47, 31), (1, 1), (5, 2)])
def test_odd_sizes_lose_no_column(tmp_path, play, size):
    picture = np.random.default_rng(2).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    path = encoded(tmp_path / "a.mkv", picture, codec="ffv1", form="bgr0")
    for rgb in both(path, play):
        np.testing.assert_array_equal(rgb, picture)


@pytest.mark.parametrize("aspect", [None, Fraction(64, 45)])
def test_interlaced_video_shows_one_moment(tmp_path, play, aspect):
    def bar(at: int) -> np.ndarray:
        picture = np.full((96, 128, 3), 40, np.uint8)
        picture[:, at : at + 32] = 200
        return picture

    woven = bar(20)
    woven[1::2] = bar(36)[1::2]
    path = encoded(
        tmp_path / "a.ts",
        woven,
        codec="mpeg2video",
        aspect=aspect,
        options={"flags": "+ildct+ilme", "q:v": "2", "qmax": "2"},
    )
    for rgb in both(path, play):
        columns = rgb[:, : rgb.shape[1] // 2].mean(axis=2)
        combs = np.abs(columns[2::2] - columns[1:-1:2]).mean()
        assert combs < 3, "the lines of both fields agree"
    kept = play(path, deinterlace=False).take(1)[0].image.rgb.mean(axis=2)
    assert np.abs(kept[2::2] - kept[1:-1:2]).mean() > 15


# -- stills ----------------------------------------------------------------------------------------

KINDS = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF", "webp": "WEBP", "avif": "AVIF"}


def photo(kind: str, orientation: int, alpha: bool) -> bytes:
    stored = Image.fromarray(quarters())
    if alpha:
        stored.putalpha(Image.fromarray(np.tile(np.repeat([255, 0], 20).astype(np.uint8), (24, 1))))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    stored.save(stream, kind, exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("suffix", "alpha"),
    [
        (suffix, alpha)
        for suffix in KINDS
        for alpha in (False, True)
        if (suffix, alpha) != ("jpg", True)
    ],
)
def test_stills_are_upright_everywhere_alike(tmp_path, play, suffix, alpha):
    for orientation in range(1, 9):
        data = photo(KINDS[suffix], orientation, alpha)
        with Image.open(io.BytesIO(data)) as stored:
            turned = ImageOps.exif_transpose(stored)
            if alpha:
                turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned)
            expected = np.asarray(turned.convert("RGB")).astype(int)
        path = tmp_path / f"{orientation}.{suffix}"
        path.write_bytes(data)
        for shown in (images.read_image(path), play(str(path)).take()[0].image.rgb):
            assert shown.shape == expected.shape, orientation
            assert np.abs(shown - expected).mean() < 12, orientation


def test_alpha_comes_upright_with_its_picture():
    data = photo("PNG", 6, alpha=True)
    rgb, alpha = decode_with_alpha(data)
    assert alpha is not None and alpha.shape == rgb.shape[:2] == (40, 24)
    assert (alpha[:20] == 255).all() and (alpha[20:] == 0).all()


def test_an_exif_directory_after_the_picture_counts():
    """`eXIf` may stand behind the pixels of a PNG, however many they are."""
    data = photo("PNG", 6, alpha=False)
    at = data.index(b"eXIf") - 4
    length = 12 + int.from_bytes(data[at : at + 4], "big")
    chunk, end = data[at : at + length], data.index(b"IEND") - 4
    moved = data[:at] + data[at + length : end] + chunk + data[end:]
    assert stored_orientation(moved).quarter_turns == 1


@pytest.mark.parametrize("suffix", KINDS)
def test_a_damaged_directory_means_upright(suffix):
    data = photo(KINDS[suffix], 6, alpha=False)
    for end in range(4, min(len(data), 400), 7):
        assert stored_orientation(data[:end]) in EXIF_ORIENTATIONS.values()


def test_the_density_of_a_picture_does_not_stretch_it(tmp_path, play):
    path = tmp_path / "fax.jpg"
    Image.fromarray(quarters()).save(path, dpi=(204, 98))
    assert images.read_image(path).shape == (24, 40, 3)
    assert play(str(path)).take()[0].image.rgb.shape == (24, 40, 3)


def animation(path, kind):
    first, *rest = (Image.fromarray(np.full((24, 40, 3), 90 * n, np.uint8)) for n in range(3))
    first.save(path, kind, save_all=True, append_images=rest, duration=[100, 200, 300], loop=0)
    return path


def test_of_an_animation_in_a_folder_the_first_picture_is_shown(tmp_path, play, caplog):
    animation(tmp_path / "a.webp", "WEBP")
    (frame,) = play(str(tmp_path)).take()
    assert frame.image.rgb.max() < 8
    assert "the first picture is shown" in caplog.text


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_an_animation_is_played_with_its_times(tmp_path, play, kind):
    frames = play(str(animation(tmp_path / f"a.{kind.lower()}", kind)), capacity=9).take()
    shown = [int(frame.image.rgb.mean()) for frame in frames]
    assert np.abs(np.array(shown) - [0, 90, 180]).max() < 8
    assert [round(frame.pts_ns / 1e6) for frame in frames] == [0, 100, 300]


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_an_animation_is_played_again_after_its_last_picture(tmp_path, play, kind):
    player = play(str(animation(tmp_path / f"a.{kind.lower()}", kind)), loop=True)
    times = [round(frame.pts_ns / 1e6) for frame in player.take(6)]
    assert times == [0, 100, 300, 600, 700, 900]
    player.stop()


def test_a_broken_picture_of_an_animation_costs_one_picture(tmp_path, play):
    path = animation(tmp_path / "a.webp", "WEBP")
    data = bytearray(path.read_bytes())
    second = data.find(b"ANMF", data.find(b"ANMF") + 4)
    data[second + 32 : second + 40] = bytes(8)
    path.write_bytes(data)
    player = play(str(path))
    assert [round(frame.pts_ns / 1e6) for frame in player.take()] == [0, 300]
    assert player.reader.counters.corrupt == 1
    with open_clip(path) as clip:
        assert [round(1000 * frame.time) for frame in clip.frames()] == [0, 300]
        assert clip.broken == 1


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_an_animation_has_one_video_stream(tmp_path, play, kind):
    path = animation(tmp_path / f"a.{kind.lower()}", kind)
    words = "has 1 video stream, and no number 1"
    assert words in play(str(path), video_stream=1).wait_for(SourceState.FAILED).cause
    with pytest.raises(InputError, match=words):
        open_clip(path, 1)
