"""The One Euro filter adds the lag that its setting states."""

from __future__ import annotations

import re

import numpy as np
import pytest

from streamprn.config.document import settings
from streamprn.faces.geometry import Smoother, Smoothing
from streamprn.records import RestoredFace, Roi

FPS = 30
STATED = next(item.rule.doc for item in settings() if item.path == "track.smoothing.enabled")


def _lag_ms(speed: float, seconds: float = 10.0) -> float:
    """How late the filtered vertices of a face are that moves at `speed` px/s."""
    smoother = Smoother(Smoothing())
    for frame in range(round(seconds * FPS)):
        x = speed * frame / FPS
        vertices = np.full((4, 3), [x, 50, 9], np.float32)
        face = RestoredFace(1, 1.0, Roi(x, 50, 100), vertices, np.zeros(4, np.float32))
        (smooth,) = smoother.smooth([face], round(1e9 * (1 + frame / FPS)))
    return 1e3 * (x - float(smooth.vertices[0, 0])) / speed


@pytest.mark.parametrize("speed", [100, 300])
def test_a_moving_face_lags_as_stated(speed):
    stated = re.search(rf"(\d+) ms at {speed} px/s", STATED)
    assert _lag_ms(speed) == pytest.approx(float(stated[1]), abs=1.0)


def test_a_face_at_rest_lags_as_stated():
    stated = re.search(r"(\d+) ms at rest", STATED)
    assert _lag_ms(0.01) == pytest.approx(float(stated[1]), abs=1.0)
