"""Laws of the score: a probability that falls with disagreement, and when to look again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamprn.engines import registry
from streamprn.engines.head import HeadFit
from streamprn.engines.protocol import CropRule, ScoreRule
from streamprn.engines.score import SIZES, TURNS, Check, Look, difference, second_regions
from streamprn.records import Roi

RULE = ScoreRule(-19.0, 0.8, -7.0)
CROP = CropRule(192, 192.0, 1.5, square="max")
ROI = Roi(100, 120, 80, 0.3)
chances = st.floats(0, 1)
differences = st.floats(0, 10)


def look(points: np.ndarray, roi: Roi = ROI, residual: float = 0.1, own: float = 0.99) -> Look:
    """A look whose 68 points are at these places `(68, 2)` of the frame."""
    matrix = CROP.crop_from_frame(roi)
    crop = np.column_stack([points @ matrix[:, :2].T + matrix[:, 2], np.zeros(68)])
    return Look(roi, crop.astype(np.float32), HeadFit(0.0, 60.0, 0.0, residual), own)


@given(chances, differences, differences)
def test_a_score_is_a_probability_that_falls_with_disagreement(own, one, other):
    less, more = RULE.probability(own, max(one, other)), RULE.probability(own, min(one, other))
    assert 0 <= less <= more <= 1


@given(chances, chances, differences)
def test_a_score_rises_with_the_networks_own(one, other, apart):
    assert RULE.probability(min(one, other), apart) <= RULE.probability(max(one, other), apart)


@given(chances, differences, differences, differences)
def test_looks_at_other_sizes_lower_a_score_where_they_are_far_apart(own, apart, one, other):
    less, more = (RULE.probability(own, apart, by) for by in (max(one, other), min(one, other)))
    assert less <= more <= RULE.probability(own, apart)
    assert RULE.probability(own, apart, 0.12) == RULE.probability(own, apart)


@pytest.mark.parametrize("apart", [math.inf, math.nan])
def test_looks_that_cannot_be_compared_give_no_chance(apart):
    assert RULE.probability(1.0, apart) == RULE.probability(1.0, 0.0, apart) == 0.0


@pytest.mark.parametrize(
    ("own", "others", "score"),
    [
        (0.9, (0.9, 0.6), 0.8),
        (0.7, (0.9, 0.95), 0.7),
        (0.9, (math.nan, 0.6), 0.9),
        (math.nan, (math.nan, math.nan), RULE.probability(math.nan, 0.0)),
    ],
)
def test_a_score_is_no_more_than_the_network_says_now_and_at_turned_regions(own, others, score):
    points = np.random.default_rng(0).uniform(70, 130, (68, 2))
    said = [*others, 0.0, 0.0]
    looks = [look(points, roi, own=one) for roi, one in zip(second_regions(ROI), said, strict=True)]
    check = Check.of(CROP, look(points, own=own), looks)
    assert check.score(RULE, own) == pytest.approx(score)


def test_a_check_tells_turned_looks_from_resized_ones():
    points = np.random.default_rng(0).uniform(70, 130, (68, 2))
    regions, size = second_regions(ROI), 60.0 * ROI.side / CROP.span
    looks = [look(points + 2 * number, roi) for number, roi in enumerate(regions)]
    check = Check.of(CROP, look(points), looks)
    assert check.difference == pytest.approx(math.sqrt(8) / size, rel=1e-3)
    assert check.resized == pytest.approx(math.sqrt(72) / size, rel=1e-3)


def test_a_network_without_a_score_counts_as_even():
    assert RULE.probability(math.nan, 0.1) == RULE.probability(0.5, 0.1)


def test_looks_agree_where_the_points_stay_in_the_frame_whatever_the_region():
    points = np.random.default_rng(0).uniform(70, 130, (68, 2))
    first = look(points)
    others = [look(points, roi) for roi in second_regions(ROI)]
    turns, sizes = [*TURNS, 0, 0], [1, 1, *SIZES]
    assert [one.roi.roll for one in others] == pytest.approx([0.3 + turn for turn in turns])
    assert [one.roi.side for one in others] == pytest.approx([80 * size for size in sizes])
    assert difference(CROP, first, others) < 1e-4
    moved = look(points + np.array([3.0, 4.0]), others[0].roi)
    size = 60.0 * ROI.side / CROP.span
    assert difference(CROP, first, [others[1], moved]) == pytest.approx(5.0 / size, rel=1e-3)


def test_looks_whose_points_are_no_numbers_differ_without_bound():
    points = np.full((68, 2), 100.0)
    good, bad = look(points), look(points * np.nan)
    assert difference(CROP, good, [good, bad]) == difference(CROP, good, [bad, good]) == math.inf
    assert difference(CROP, bad, [good, good]) == math.inf


@pytest.mark.parametrize(
    ("residual", "own", "holds"),
    [(0.1, 0.99, True), (0.12, 0.95, True), (0.13, 0.99, False), (0.1, 0.9, False)],
)
def test_a_check_holds_until_the_mesh_or_the_network_gets_worse(residual, own, holds):
    check = Check(difference=0.05, resized=0.05, residual=0.1, own=0.99, own_mean=0.99)
    assert check.still_holds(look(np.zeros((68, 2)), residual=residual, own=own)) is holds


@pytest.mark.parametrize("name", ["facemesh", "facemesh2"])
def test_the_shipped_engines_trust_agreement_and_mistrust_disagreement(name):
    rule = registry.find(name).score
    assert rule is not None
    assert rule.probability(0.9999, 0.04) > 0.98
    assert rule.probability(0.9999, 0.35) < 0.2
