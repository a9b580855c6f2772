"""Ids stay with their faces where one passes behind another, and where one leaves and returns."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import crossings
from streamprn.engines.detectors import open_detector
from streamprn.faces.tracker import open_engine


@pytest.fixture(scope="module")
def stage():
    predictor, detector = open_engine("facemesh"), open_detector()
    people = crossings.heads(None, predictor, detector, 2)
    assert len(people) == 2
    yield predictor, detector, people
    predictor.close()


@pytest.mark.parametrize("kind", crossings.KINDS)
def test_no_id_is_switched(stage, kind):
    predictor, detector, people = stage
    rng = np.random.default_rng(1)
    ground = crossings.ground()
    placed = list(crossings.scene(kind, people, rng))
    frames = [(one, crossings.render(one, ground, rng)) for one in placed]
    by_look, by_place = crossings.Counts(), crossings.Counts()
    crossings.follow(frames, crossings.follower_of(predictor, detector, 10.0), by_look)
    crossings.follow(frames, crossings.follower_of(predictor, detector, 0.0), by_place)
    assert by_look.switches == 0
    assert by_place.switches > 0
    assert by_look.found >= 0.97 * by_place.found
