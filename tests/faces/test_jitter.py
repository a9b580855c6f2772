"""A still face stands still, and a moving one keeps up: the values that the settings promise.

Nothing here depends on time: the same noisy frames give the same points on every run.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import jitter
from streamprn.config.schema import SmoothingConfig
from streamprn.faces.smooth import Smoothing
from streamprn.faces.tracker import open_engine

FRAMES = 75


@pytest.fixture(scope="module")
def engine():
    opened = open_engine("facemesh")
    yield opened
    opened.close()


def test_a_still_face_in_noise_stands_still_within_a_seventh_of_a_pixel(engine):
    clip = jitter.still(FRAMES)
    raw = jitter.jitter_px(jitter.followed(clip.frames, engine, None))
    calm = jitter.jitter_px(jitter.followed(clip.frames, engine, Smoothing()))
    # The noise is one to be seen without the filter.
    assert 0.15 < raw < 0.3
    assert calm < 0.15
    assert calm < 0.5 * raw


@pytest.mark.parametrize("speed", [110.0, 330.0])
def test_a_moving_face_lags_by_less_than_half_a_frame(engine, speed):
    clip = jitter.moving(speed, FRAMES)
    points = {
        smoothing: jitter.followed(clip.frames, engine, smoothing)
        for smoothing in (None, Smoothing())
    }
    lags = {one: jitter.lag_frames(found, clip.truth) for one, found in points.items()}
    assert abs(lags[None]) < 0.1
    assert 0.05 < lags[Smoothing()] < 0.5


def test_the_settings_of_the_pipeline_are_those_of_the_filter():
    settings, filter_ = SmoothingConfig(), Smoothing()
    for name in ("min_cutoff_hz", "beta", "derivative_cutoff_hz"):
        assert getattr(settings, name) == getattr(filter_, name)


@pytest.mark.parametrize("late", [0.0, 0.5, 2.25])
def test_the_lag_of_a_path_that_is_late_is_found(late):
    clip_truth = np.column_stack([50 * np.sin(np.arange(90) / 5), 9 * np.cos(np.arange(90) / 7)])
    times = np.arange(90) - late
    path = [np.interp(times, np.arange(90), clip_truth[:, axis]) for axis in (0, 1)]
    points = np.stack(path, axis=1)[:, None] + np.array([[3.0, -2.0], [8.0, 1.0]])
    assert jitter.lag_frames(points, clip_truth) == pytest.approx(late, abs=0.02)


def test_jitter_is_the_distance_from_the_mean_place():
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.2, (3000, 4, 2)) + rng.uniform(0, 99, (4, 2))
    assert jitter.jitter_px(points) == pytest.approx(0.2 * np.sqrt(2), rel=0.03)
