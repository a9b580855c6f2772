from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamprn.apps import images, swapping
from streamprn.apps.reconstruction import Reconstruction, Reconstructor
from streamprn.apps.swapping import FaceSwapper, PartMask, ReferenceFace
from streamprn.errors import InputError
from streamprn.kernels import raster
from tests.support import faces


@pytest.fixture(scope="module")
def reference(face: Reconstruction) -> ReferenceFace:
    return ReferenceFace.of(face)


def covered(face: Reconstruction) -> np.ndarray:
    height, width = face.image.shape[:2]
    return np.isfinite(raster.depth(face.vertices, face.topology.triangles, height, width))


def swapper(reference: ReferenceFace, part: str = "face") -> FaceSwapper:
    return FaceSwapper(reference, PartMask.named(part, reference.topology))


def painted(reference: ReferenceFace) -> ReferenceFace:
    """The reference in plain red, to see where it is put."""
    red = tuple(np.full_like(one, (250, 20, 20)) for one in reference.textures)
    return dataclasses.replace(reference, textures=red, closed=red)


def test_a_face_on_itself_changes_little(reference: ReferenceFace, face: Reconstruction) -> None:
    swapped = swapper(reference).swap(face.image, face.vertices)
    inside = covered(face)
    difference = np.abs(swapped.astype(int) - face.image)
    np.testing.assert_array_equal(swapped[~inside], face.image[~inside])
    assert difference[inside].mean() < 4
    assert np.percentile(difference[inside], 99) < 40


@pytest.mark.parametrize("part", swapping.EDITABLE_PARTS)
def test_a_part_changes_only_that_part(
    reference: ReferenceFace, face: Reconstruction, part: str
) -> None:
    red = painted(reference)
    edit = FaceSwapper(red, PartMask.named(part, reference.topology), match_colours=False)
    changed = (edit.swap(face.image, face.vertices) != face.image).any(axis=2)
    assert changed.any()
    assert not (changed & ~covered(face)).any()
    x, y = np.round(face.landmarks[:, 0]).astype(int), np.round(face.landmarks[:, 1]).astype(int)
    rows, columns = np.nonzero(changed)
    inside = {
        "eyes": slice(36, 48),
        "brows": slice(17, 27),
        "nose": slice(27, 36),
        "lips": slice(48, 60),
        "face": slice(17, 60),
    }[part]
    margin = 0.2 * np.ptp(face.landmarks[:, 0])
    if part != "face":
        assert columns.min() > x[inside].min() - margin
        assert columns.max() < x[inside].max() + margin
        assert rows.min() > y[inside].min() - margin
        assert rows.max() < y[inside].max() + margin


def test_an_unknown_part_is_an_input_error(reference: ReferenceFace) -> None:
    with pytest.raises(InputError, match="eyes, brows"):
        PartMask.named("ears", reference.topology)


def test_a_mask_picture_chooses_what_changes(
    reference: ReferenceFace, face: Reconstruction, tmp_path: Path
) -> None:
    left = np.zeros((128, 128), np.uint8)
    left[:, :64] = 255
    images.write_image(tmp_path / "mask.png", left)
    part = PartMask.parse(str(tmp_path / "mask.png"), reference.topology)
    red = painted(reference)
    changed = (
        FaceSwapper(red, part, match_colours=False).swap(face.image, face.vertices) != face.image
    ).any(axis=2)
    columns = np.nonzero(changed)[1]
    nose = face.landmarks[30, 0]
    assert columns.size and columns.max() < nose + 6


@pytest.mark.parametrize(
    ("shape", "value", "words"), [((64, 32), 255, "square"), ((64, 64), 0, "selects nothing")]
)
def test_masks_that_cannot_be_used_are_refused(
    reference: ReferenceFace, tmp_path: Path, shape: tuple[int, int], value: int, words: str
) -> None:
    images.write_image(tmp_path / "mask.png", np.full(shape, value, np.uint8))
    with pytest.raises(InputError, match=words):
        FaceSwapper(reference, PartMask.parse(str(tmp_path / "mask.png"), reference.topology))


def test_a_face_outside_of_the_picture_leaves_it_alone(
    reference: ReferenceFace, face: Reconstruction
) -> None:
    away = face.vertices + np.array([5000, 0, 0], np.float32)
    swapped = swapper(reference).swap(face.image, away)
    np.testing.assert_array_equal(swapped, face.image)


def test_a_face_cut_by_the_border_is_swapped_in_place(
    reference: ReferenceFace, face: Reconstruction
) -> None:
    x = round(float(face.landmarks[30, 0]))
    cut = np.ascontiguousarray(face.image[:, x:])
    moved = face.vertices - np.array([x, 0, 0], np.float32)
    swapped = swapper(reference).swap(cut, moved)
    inside = covered(face)[:, x:]
    np.testing.assert_array_equal(swapped[~inside], cut[~inside])
    assert np.abs(swapped.astype(int) - cut)[inside].mean() < 6


def test_the_target_keeps_its_teeth_where_the_reference_has_its_mouth_closed(
    reference: ReferenceFace, face: Reconstruction
) -> None:
    assert swapping.mouth_opening(face.landmarks) > 0.1
    red = painted(reference)
    x, y, _ = np.round(0.5 * (face.landmarks[62] + face.landmarks[66])).astype(int)
    shown = {}
    for opening in (0.0, 0.2):
        other = dataclasses.replace(red, mouth_opening=opening)
        swap = FaceSwapper(other, PartMask.named("lips", red.topology), match_colours=False)
        shown[opening] = swap.swap(face.image, face.vertices)[y, x].astype(int)
    assert np.abs(shown[0.0] - face.image[y, x]).max() < np.abs(shown[0.2] - face.image[y, x]).max()


def test_skin_tone_follows_the_target(
    reference: ReferenceFace, reconstructor: Reconstructor, face: Reconstruction
) -> None:
    dark = (0.5 * face.image).astype(np.uint8)
    swapped = swapper(reference).swap(dark, face.vertices)
    inside = covered(face)
    assert np.abs(swapped.astype(int) - dark)[inside].mean() < 6


def with_highlights(face: Reconstruction) -> np.ndarray:
    """The picture with white light on nose, cheeks and chin, until the camera saturates."""
    height, width = face.image.shape[:2]
    y, x = np.mgrid[:height, :width]
    marks, size = face.landmarks[:, :2], float(np.ptp(face.landmarks[:, 0]))
    light = images.linear_from_srgb(face.image / 255)
    for at in (marks[30], *(marks[[2, 14]] + marks[[31, 35]]) / 2, (marks[8] + marks[57]) / 2):
        distance = np.hypot(x - at[0], y - at[1]) / (0.08 * size)
        light = light + 0.8 * np.exp(-(distance**3))[:, :, None]
    return np.round(255 * images.srgb_from_linear(np.minimum(light, 1))).astype(np.uint8)


@pytest.mark.parametrize("tone", [(1.0, 1.0, 1.0), (0.5, 0.4, 0.33), (0.75, 0.6, 0.5)])
@pytest.mark.parametrize("onto", [False, True])
def test_highlights_are_skin_and_never_grey_or_blue(
    reference: ReferenceFace,
    reconstructor: Reconstructor,
    face: Reconstruction,
    tone: tuple[float, float, float],
    onto: bool,
) -> None:
    """Of the reference, on skin of several tones, and of the face that it is put onto."""
    light = with_highlights(face)
    target = (np.array(tone) * (light if onto else face.image)).astype(np.uint8)
    lit = reference if onto else ReferenceFace.of(reconstructor.reconstruct(light)[0])
    swap = swapper(lit)
    swapped = swap.swap(target, face.vertices)
    patch = swap.draw(target, face.vertices)
    assert patch is not None
    colours = swapped[patch.box][patch.skin & patch.mask].astype(int)
    brightest = colours[np.argsort(colours.mean(axis=1))[-len(colours) // 10 :]]
    assert np.mean(brightest[:, 0] >= brightest[:, 2] - 3) > 0.99, "red over blue, or white"
    assert np.mean(brightest[:, 0] >= brightest[:, 1] - 3) > 0.99


def test_a_turned_reference_is_completed_from_its_seen_half(
    reconstructor: Reconstructor, face: Reconstruction
) -> None:
    scale = 170.0 / float(np.ptp(face.topology.canonical[:, 1]))
    where = faces.known_pose(35.0, 0.0, 0.0, scale=scale, centre_xy=(160.0, 160.0))
    drawn = faces.draw(face.topology, face.texture(256, "mirror"), where)
    turned = reconstructor.reconstruct(drawn.image)[0]
    swapped = swapper(ReferenceFace.of(turned)).swap(face.image, face.vertices)
    inside = covered(face)
    assert np.abs(swapped.astype(int) - face.image)[inside].mean() < 20


def test_hair_over_the_forehead_of_the_target_stays(
    reference: ReferenceFace, face: Reconstruction
) -> None:
    swap = FaceSwapper(
        painted(reference), PartMask.named("face", face.topology), match_colours=False
    )
    covering = swap.covering(face.image, face.vertices)
    brows = face.landmarks[17:27]
    fringe = (face.vertices[:, 1] < brows[:, 1].min() - 8) & (covering > 0)
    cheeks = face.topology.parts["nose"]
    assert fringe.sum() > 1000
    assert not covering[cheeks].any()
    x, y = np.round(face.vertices[fringe, :2]).astype(int).T
    changed = np.abs(swap.swap(face.image, face.vertices).astype(int) - face.image)[y, x]
    assert (changed.max(axis=1) < 10).mean() > 0.95


def test_the_hair_of_the_reference_does_not_come_along(
    reference: ReferenceFace, face: Reconstruction
) -> None:
    bare = reference.textures[0].astype(float)
    size = bare.shape[0]
    above = face.charts.at(size).mask.copy()
    above[size // 10 :] = False
    cheek = bare[int(0.55 * size) : int(0.6 * size), int(0.25 * size) : int(0.3 * size)]
    hair = face.texture(size)[above].mean()
    assert hair < 0.75 * cheek.mean()
    assert bare[above].mean() > 0.8 * cheek.mean()


def test_the_shadow_below_the_chin_shows_no_dark_line_through_the_fade(
    reference: ReferenceFace, face: Reconstruction
) -> None:
    # A target whose lowest part of the face, as the mesh has it, is the shadow below its chin.
    large = cv2.resize(face.image[:256, 128:384], (1024, 1024), interpolation=cv2.INTER_CUBIC)
    vertices = (face.vertices - np.array([128, 0, 0], np.float32)) * np.float32(4)
    chin = vertices[face.topology.landmarks[8]]
    x, y = round(float(chin[0])), round(float(chin[1]))
    large[y - 12 :] //= 6
    swapped = swapper(reference).swap(large, vertices)
    column = swapped[:, x].astype(float).mean(axis=1)
    lowest = int(np.flatnonzero((swapped != large).any(axis=2)[:, x]).max())
    assert lowest > y - 6
    # Bright to within a few pixels of its edge: the shadow draws no band into the new chin.
    assert column[lowest - 5] > 0.8 * column[y - 80 : y - 40].mean()


def test_a_closed_mouth_shows_no_teeth_of_the_reference(
    reference: ReferenceFace, face: Reconstruction
) -> None:
    assert reference.mouth_opening > 0.1
    size = reference.textures[0].shape[0]
    inner = face.topology.uv[face.topology.landmarks[[62, 66]]].mean(axis=0)
    x, y = int(inner[0] * size), int((1 - inner[1]) * size)
    lips = face.topology.uv[face.topology.landmarks[[51, 57]]]
    lip = np.mean([reference.textures[0][int((1 - v) * size), int(u * size)] for u, v in lips])
    assert reference.texture_for(500.0, opening=0.3)[y, x].mean() > lip
    assert reference.texture_for(500.0, opening=0.01)[y, x].mean() < lip


def test_a_grey_picture_stays_grey(reference: ReferenceFace, face: Reconstruction) -> None:
    grey = np.repeat(face.image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    swapped = swapper(reference).swap(grey, face.vertices)
    assert (swapped != grey).any()
    assert np.ptp(swapped, axis=2).max() == 0


def test_a_mask_over_the_mouth_of_the_target_stays_where_asked(
    reference: ReferenceFace, face: Reconstruction
) -> None:
    picture = face.image.copy()
    x0, y0 = np.round(face.landmarks[:17, :2].min(axis=0)).astype(int)
    y0 = round(float(face.landmarks[33, 1])) + 3
    picture[y0 : y0 + 80, x0 - 10 : x0 + 110] = (60, 100, 170)
    part = PartMask.named("face", face.topology)
    x, y = np.round(face.landmarks[57, :2]).astype(int)
    shown = {
        occlusion: FaceSwapper(painted(reference), part, match_colours=False, occlusion=occlusion)
        .swap(picture, face.vertices)[y, x]
        .astype(int)
        for occlusion in (False, True)
    }
    assert np.abs(shown[True] - picture[y, x]).max() == 0
    assert np.abs(shown[False] - picture[y, x]).max() > 60
