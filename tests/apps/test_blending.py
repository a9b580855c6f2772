from __future__ import annotations

import numpy as np
import pytest

from streamprn.apps import blending, images


def disc(
    size: int = 80, radius: float = 28.0, centre: tuple[float, float] | None = None
) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    cy, cx = centre or (size / 2, size / 2)
    return np.hypot(x - cx, y - cy) < radius


def test_a_membrane_continues_a_linear_function_exactly() -> None:
    y, x = np.mgrid[:70, :90].astype(np.float32)
    truth = np.stack([x, 2 * y - x, 0 * x + 7], axis=2)
    known = np.ones((70, 90), bool)
    known[10:60, 15:80] = False
    filled = blending.membrane(truth, known, np.ones_like(known))
    assert np.abs(filled - truth).max() < 1.0


def test_a_membrane_stays_between_its_least_and_largest_value() -> None:
    random = np.random.default_rng(3)
    values = random.uniform(-5, 9, (64, 64, 1)).astype(np.float32)
    known = random.random((64, 64)) < 0.05
    domain = disc(64, 30)
    filled = blending.membrane(values, known & domain, domain)
    inside = values[known & domain]
    assert filled[domain].min() >= inside.min() - 0.5
    assert filled[domain].max() <= inside.max() + 0.5
    assert not filled[~domain].any()


def test_a_membrane_without_known_values_is_zero() -> None:
    nothing = np.zeros((20, 20), bool)
    filled = blending.membrane(np.ones((20, 20, 3), np.float32), nothing, disc(20, 8))
    assert not filled.any()


def test_pixels_outside_of_the_mask_stay() -> None:
    random = np.random.default_rng(1)
    target = random.integers(0, 256, (80, 80, 3), np.uint8)
    source = random.integers(0, 256, (80, 80, 3), np.uint8)
    mask = disc()
    blended = blending.poisson_blend(target, source, mask)
    np.testing.assert_array_equal(blended[~mask], target[~mask])
    assert (blended[mask] != target[mask]).any()


def test_a_constant_difference_of_colour_disappears() -> None:
    y, x = np.mgrid[:80, :80]
    target = np.stack([x + 60, y + 60, 0 * x + 90], axis=2).astype(np.uint8)
    source = (target.astype(int) + np.array([30, -20, 10])).astype(np.uint8)
    blended = blending.poisson_blend(target, source, disc())
    assert np.abs(blended.astype(int) - target).max() <= 3


def test_the_source_stays_at_its_place_at_the_border_of_the_picture() -> None:
    target = np.full((80, 80, 3), 100, np.uint8)
    source = np.full((80, 80, 3), 100, np.uint8)
    source[4:9, 30:36] = 220
    mask = disc(80, 25, centre=(2.0, 33.0))
    blended = blending.poisson_blend(target, source, mask).astype(int)
    bright = np.argwhere(blended[:, :, 0] > 160)
    np.testing.assert_array_equal(bright.min(axis=0), [4, 30])
    np.testing.assert_array_equal(bright.max(axis=0), [8, 35])


def test_an_empty_or_a_whole_mask_is_no_trouble() -> None:
    target = np.full((30, 30, 3), 10, np.uint8)
    source = np.full((30, 30, 3), 200, np.uint8)
    nothing = blending.poisson_blend(target, source, np.zeros((30, 30), bool))
    np.testing.assert_array_equal(nothing, target)
    everything = blending.poisson_blend(target, source, np.ones((30, 30), bool))
    np.testing.assert_array_equal(everything, source)


def skin(seed: int = 2) -> np.ndarray:
    random = np.random.default_rng(seed)
    light = random.uniform(0.75, 1.1, (50, 50, 1))
    return np.clip(light * (205, 160, 130), 0, 255).astype(np.uint8)


def test_matching_colours_with_themselves_changes_nothing() -> None:
    picture = skin()
    everywhere = np.ones(picture.shape[:2], bool)
    match = blending.match_colours(picture, picture, everywhere)
    assert np.abs(match.apply(picture) - picture).max() < 1.5


def test_matched_skin_has_the_colour_of_the_target() -> None:
    source = skin()
    target = np.clip(0.6 * skin(9).astype(float) * (1.0, 0.9, 0.7), 0, 255).astype(np.uint8)
    everywhere = np.ones(source.shape[:2], bool)
    mapped = blending.match_colours(source, target, everywhere).apply(source)
    np.testing.assert_allclose(mapped.mean(axis=(0, 1)), target.mean(axis=(0, 1)), atol=4)


def test_neutral_colours_stay_neutral_and_black_stays_dark() -> None:
    target = np.clip(skin(4).astype(float) * (0.8, 0.85, 1.2), 0, 255).astype(np.uint8)
    match = blending.match_colours(skin(), target, np.ones((50, 50), bool))
    greys = np.repeat(np.array([[8], [90], [230]], np.uint8), 3, axis=1)
    mapped = match.apply(greys)
    assert np.ptp(mapped, axis=1).max() < 4
    assert mapped[0].max() < 25


def test_a_match_moves_smoothly_to_another() -> None:
    first = blending.match_colours(skin(), skin(), np.ones((50, 50), bool))
    second = blending.match_colours(
        skin(), (skin() * 0.5).astype(np.uint8), np.ones((50, 50), bool)
    )
    middle = first.towards(second, 0.5).apply(skin()).mean()
    assert second.apply(skin()).mean() < middle < first.apply(skin()).mean()
    assert first.towards(second, 1.0).apply(skin()).mean() == pytest.approx(
        second.apply(skin()).mean(), abs=1e-3
    )


def test_a_feather_rises_from_the_rim_but_not_from_the_border_of_the_picture() -> None:
    mask = np.zeros((40, 40), bool)
    mask[:, :20] = True
    alpha = blending.feathered(mask, 6.0)
    assert (alpha[:, 20:] == 0).all()
    assert (alpha[:, :12] == 1).all()
    assert (np.diff(alpha[20]) <= 0).all()


def test_highlights_stay_skin_under_another_light() -> None:
    """White light over warm skin: no part of it turns to the side of the skin's opposite."""
    shine = np.linspace(0.0, 0.5, 200)[:, None]
    ours = np.array([0.45, 0.22, 0.13])
    theirs = np.array([0.40, 0.20, 0.34])
    source = np.round(255 * images.srgb_from_linear(ours + shine)).astype(np.uint8)
    have, want = (np.log(one) for one in (ours, theirs))
    out = blending.ColourMatch(have, want).apply(source[None])[0]
    assert (out[:, 0] >= out[:, 2] - 0.5).all(), "never bluer than red"
    light = blending.LOG_LIGHT[np.round(out).astype(np.uint8)]
    tint = (light - light.mean(axis=1, keepdims=True))[:, 0]
    assert np.abs(np.diff(tint)).max() < 0.03, "no edge"
    np.testing.assert_allclose(out[0], 255 * images.srgb_from_linear(theirs), atol=3)
