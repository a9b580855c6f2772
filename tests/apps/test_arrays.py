"""Arrays of any kind give the faces of the picture that they show, or an error in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamprn.apps.reconstruction import Reconstruction, Reconstructor
from streamprn.errors import InputError
from streamprn.pixels import as_rgb


def kinds(picture: np.ndarray) -> dict[str, tuple[np.ndarray, str]]:
    rgba = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    wide = np.zeros((picture.shape[0], 2 * picture.shape[1], 3), np.uint8)
    wide[:, ::2] = picture
    return {
        "float32": ((picture / 255.0).astype(np.float32), "RGB"),
        "float64": (picture / 255.0, "RGB"),
        "uint16": (picture.astype(np.uint16) * 257, "RGB"),
        "rgba": (rgba, "RGB"),
        "bgra": (rgba[:, :, [2, 1, 0, 3]], "BGR"),
        "bgr": (picture[:, :, ::-1], "BGR"),
        "every second column": (wide[:, ::2], "RGB"),
        "Fortran order": (np.asfortranarray(picture), "RGB"),
        "read only": (np.frombuffer(picture.tobytes(), np.uint8).reshape(picture.shape), "RGB"),
    }


@pytest.mark.parametrize("kind", kinds(np.zeros((2, 2, 3), np.uint8)))
def test_every_kind_of_array_is_the_same_picture(
    picture: np.ndarray, face: Reconstruction, reconstructor: Reconstructor, kind: str
) -> None:
    image, order = kinds(picture)[kind]
    np.testing.assert_array_equal(as_rgb(image, order), picture)
    (found,) = reconstructor.reconstruct(image, [face.box_xyxy], order=order)
    (expected,) = reconstructor.reconstruct(picture, [face.box_xyxy])
    np.testing.assert_array_equal(found.vertices, expected.vertices)
    np.testing.assert_array_equal(found.image, picture)


@pytest.mark.parametrize("shape", [(512, 512), (512, 512, 1)])
def test_grey_pictures_have_the_same_face(
    picture: np.ndarray, face: Reconstruction, reconstructor: Reconstructor, shape: Any
) -> None:
    grey = np.round(picture @ [0.299, 0.587, 0.114]).astype(np.uint8).reshape(shape)
    (found, *_) = reconstructor.reconstruct(grey)
    width = face.box_xyxy[2] - face.box_xyxy[0]
    assert np.linalg.norm(found.landmarks - face.landmarks, axis=1).mean() < 0.03 * width


def test_transparent_parts_are_white() -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, :, 3] = 255
    np.testing.assert_array_equal(as_rgb(rgba)[:, :, 0], [[0, 0], [255, 255]])


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((3, 40, 50), np.uint8), r"shape \(3, 40, 50\).*moveaxis"),
        (np.zeros((40, 50, 2), np.uint8), "none of"),
        (np.zeros((1, 40, 50, 3), np.uint8), "none of"),
        (np.zeros(9, np.uint8), "none of"),
        (np.zeros((0, 50, 3), np.uint8), "no pixels"),
        (np.zeros((9, 9, 3), bool), "bool"),
        (np.zeros((9, 9, 3), np.int64), "int64.*astype"),
        (np.full((9, 9, 3), 200.0), r"0\.\.1.*divide it by 255"),
        (np.full((9, 9, 3), -0.5), r"0\.\.1"),
        (np.full((9, 9, 3), np.nan), "not finite"),
        (np.full((9, 9, 3), np.inf), "not finite"),
        (np.full((9, 9, 3), 200, np.uint16), r"most in this one is 200.*astype"),
        ([[1, 2], [3, 4]], "NumPy array, not list"),
        ("face.jpg", "NumPy array, not str"),
        (None, "NumPy array, not NoneType"),
    ],
)
def test_what_is_no_picture_is_refused(
    reconstructor: Reconstructor, image: Any, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        reconstructor.reconstruct(image)


@pytest.mark.parametrize("box", [(1, 2, 3), (5, 5, 5, 9), (9, 0, 1, 9), (0, 0, np.nan, 9), ()])
def test_what_is_no_box_is_refused(
    reconstructor: Reconstructor, picture: np.ndarray, box: Any
) -> None:
    with pytest.raises(InputError, match="a box must be"):
        reconstructor.reconstruct(picture, [box])


def test_an_unknown_order_is_refused(reconstructor: Reconstructor, picture: np.ndarray) -> None:
    with pytest.raises(InputError, match="'RGB' or 'BGR'"):
        reconstructor.reconstruct(picture, order="rgb")  # type: ignore[arg-type]
