from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from streamprn.apps import images
from streamprn.errors import InputError


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    ramp = np.linspace(0, 255, 48).astype(np.uint8)
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:, :, 0] = ramp
    picture[:, :, 1] = ramp[::-1]
    picture[:16, :, 2] = 200
    return picture


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_png_and_webp_come_back_exactly(rgb: np.ndarray, tmp_path: Path) -> None:
    images.write_image(tmp_path / "new" / "a.png", rgb)
    np.testing.assert_array_equal(images.read_image(tmp_path / "new" / "a.png"), rgb)
    data = saved(Image.fromarray(rgb), "WEBP", lossless=True)
    np.testing.assert_array_equal(images.decode_image(data), rgb)


def test_grey_becomes_rgb(rgb: np.ndarray) -> None:
    grey = rgb[:, :, 0]
    decoded = images.decode_image(saved(Image.fromarray(grey), "PNG"))
    np.testing.assert_array_equal(decoded, np.repeat(grey[:, :, None], 3, axis=2))


def test_16_bits_become_8(rgb: np.ndarray) -> None:
    deep = rgb.astype(np.uint16) * 257
    _, data = cv2.imencode(".png", deep[:, :, ::-1])
    assert np.abs(images.decode_image(bytes(data)).astype(int) - rgb).max() <= 1


def test_transparency_is_laid_over_white(rgb: np.ndarray) -> None:
    alpha = np.zeros(rgb.shape[:2], np.uint8)
    alpha[:, 24:] = 255
    decoded = images.decode_image(saved(Image.fromarray(np.dstack([rgb, alpha])), "PNG"))
    assert (decoded[:, :24] == 255).all()
    np.testing.assert_array_equal(decoded[:, 24:], rgb[:, 24:])


def test_cmyk_jpeg_is_converted() -> None:
    red = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    r, g, b = images.decode_image(saved(red, "JPEG", quality=95))[16, 16].astype(int)
    assert r > 180 and g < 90 and b < 90


def test_floating_point_pictures_are_read(rgb: np.ndarray) -> None:
    _, data = cv2.imencode(".tiff", (rgb[:, :, ::-1] / 255.0).astype(np.float32))
    assert np.abs(images.decode_image(bytes(data)).astype(int) - rgb).max() <= 1


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_rotation_is_applied(rgb: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = images.decode_image(saved(Image.fromarray(rgb), "JPEG", exif=exif, quality=98))
    turns = {3: 2, 6: -1, 8: 1}[orientation]
    expected = np.rot90(rgb, turns)
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected).mean() < 8


def test_shrinking_keeps_the_shape(rgb: np.ndarray, tmp_path: Path) -> None:
    images.write_image(tmp_path / "a.png", rgb)
    assert images.read_image(tmp_path / "a.png", max_size=24).shape == (16, 24, 3)
    assert images.read_image(tmp_path / "a.png", max_size=500).shape == rgb.shape


def test_16_bit_png_keeps_every_level(tmp_path: Path) -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    images.write_image(tmp_path / "deep.png", levels)
    back = cv2.imread(str(tmp_path / "deep.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(back, levels)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no such file"), (b"", "is empty"), (b"hello", "not a readable picture")],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "bad.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        images.read_image(path)
    assert str(path) in str(caught.value)


def test_a_truncated_png_is_an_input_error_or_a_picture(rgb: np.ndarray) -> None:
    data = images.encode_png(rgb)
    with pytest.raises(InputError, match="not a readable picture"):
        images.decode_image(data[:30])


def test_an_unknown_output_format_is_an_input_error(rgb: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown picture format"):
        images.write_image(tmp_path / "a.xyz", rgb)


def test_the_transfer_function_inverts() -> None:
    values = np.linspace(0, 1, 1001)
    back = images.srgb_from_linear(images.linear_from_srgb(values))
    np.testing.assert_allclose(back, values, atol=2e-6)
