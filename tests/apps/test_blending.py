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


PALE, BROWN, DARK = ([0.62, 0.44, 0.34], [0.28, 0.13, 0.08], [0.10, 0.045, 0.028])


def srgb(linear: np.ndarray) -> np.ndarray:
    return np.round(255 * images.srgb_from_linear(np.clip(linear, 0, 1))).astype(np.uint8)


def on_skin(match: blending.ColourMatch, rgb: np.ndarray) -> np.ndarray:
    """Linear light of what the match makes of pixels that are skin."""
    return images.linear_from_srgb(match.apply(rgb, np.ones(rgb.shape[:-1], np.float32)) / 255)


@pytest.mark.parametrize("ours", [PALE, BROWN, DARK, [0.45, 0.22, 0.13]])
@pytest.mark.parametrize("theirs", [PALE, BROWN, DARK, [0.40, 0.20, 0.34]])
@pytest.mark.parametrize("strength", [0.25, 0.6, 1.0])
def test_highlights_stay_skin_under_another_light(
    ours: list[float], theirs: list[float], strength: float
) -> None:
    """White light over skin, up to where the camera saturates: never colder than the skin."""
    shine = np.linspace(0.0, 1.0, 300)[:, None]
    source = srgb(np.array(ours) + shine)
    match = blending.ColourMatch(np.log(ours), np.log(theirs), highlights=strength)
    out = on_skin(match, source)
    levels = 255 * images.srgb_from_linear(out)
    assert (np.maximum.accumulate(levels) - levels).max() < 5, "more light is never darker"
    assert np.abs(np.diff(levels, axis=0)).max() < 16, "no edge"
    np.testing.assert_allclose(out[0], theirs, atol=0.02)
    light = np.log(out)
    for warm, cold in ((0, 1), (1, 2), (0, 2)):
        if theirs[warm] > theirs[cold]:
            assert (out[:, warm] >= out[:, cold] - 0.006).all(), "white at most, never blue"
        ratio = np.abs(light[:, warm] - light[:, cold])
        assert ratio.max() <= ratio[0] + 0.25, "no colour that the skin has not"


def test_sunlit_skin_becomes_sunlit_skin_and_not_a_white_patch() -> None:
    sun = np.linspace(1.0, 3.5, 100)[:, None]
    match = blending.ColourMatch(np.log(BROWN), np.log(PALE))
    out = on_skin(match, srgb(np.array(BROWN) * sun))
    levels = 255 * images.srgb_from_linear(out)
    assert (np.maximum.accumulate(levels) - levels).max() < 3
    assert (out[-1, 1:] < 0.8).all()
    tints = out[:, 0] / out[:, 2]
    assert np.abs(tints / tints[0] - 1).max() < 0.25


def test_skin_that_is_half_as_warm_stays_half_as_warm() -> None:
    """A cheek lit by the sky: on paler skin a cheek lit by the sky, not a violet one."""
    match = blending.ColourMatch(np.log(BROWN), np.log(PALE))
    half = np.array(BROWN) * np.array([1.0, 1.0, 1.45])
    out = on_skin(match, srgb(half[None]))[0]
    assert out[0] > out[1] > out[2]


def test_tints_of_skin_vary_no_more_than_those_of_the_target() -> None:
    random = np.random.default_rng(5)
    source = srgb(np.array(BROWN) * np.exp(random.normal(0, 0.25, (60, 60, 3))))
    target = srgb(np.array(PALE) * np.exp(random.normal(0, 0.04, (60, 60, 3))))
    everywhere = np.ones((60, 60), bool)
    match = blending.match_colours(source, target, everywhere)
    assert 0.3 <= match.tints < 0.6

    def spread(linear: np.ndarray) -> float:
        return float(np.std(np.log(linear[..., 0] / linear[..., 1])))

    calm = spread(on_skin(match, source))
    assert calm < 0.7 * spread(images.linear_from_srgb(match.apply(source) / 255))
    assert blending.match_colours(source, source, everywhere).tints == pytest.approx(1, abs=0.02)


def test_matching_with_itself_changes_no_highlight_either() -> None:
    colours = np.random.default_rng(6).integers(0, 256, (4000, 3), np.uint8)
    match = blending.ColourMatch(np.log(BROWN), np.log(BROWN))
    kept = match.apply(colours, np.ones(len(colours), np.float32))
    assert np.abs(kept - colours).max() < 1.5
