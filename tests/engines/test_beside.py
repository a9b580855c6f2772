"""Predictions that are computed beside their caller are those of the caller's own thread."""

from __future__ import annotations

import numpy as np
import pytest

from streamprn.engines.engine import open_engine
from streamprn.engines.predict import View
from streamprn.engines.predict_host import HostPredictor
from streamprn.errors import BackendError
from streamprn.records import FrameImage, Roi

ROIS = [Roi(245.0 + 3 * k, 150.0 - 2 * k, 210.0 + 5 * k) for k in range(7)]


@pytest.fixture
def predictor(facemesh):
    return HostPredictor(facemesh)


@pytest.fixture
def views(astronaut):
    return [View(FrameImage.from_rgb(astronaut), roi) for roi in ROIS]


def same(one, other) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert mine.score == theirs.score
        assert mine.next_roi == theirs.next_roi
        vertices = [each.face(id=1, score=1.0).vertices for each in (mine, theirs)]
        assert np.array_equal(*vertices)


def test_several_batches_under_way_give_what_each_gives_alone(predictor, views):
    parts = [views[:1], views[1:3], views[3:]]
    alone = [predictor.predict(part)[0] for part in parts]
    pending = [predictor.begin(part) for part in parts]
    between = predictor.predict(views[:2])[0]
    assert all(one.ticket is not None for one in pending)
    for one, expected in zip(pending, alone, strict=True):
        found, times = predictor.finish(one)
        same(found, expected)
        assert times.crop_ns > 0 and times.network_ns > 0
    same(between, predictor.predict(views[:2])[0])


def test_a_caller_with_nothing_else_to_do_computes_by_itself(predictor, views):
    assert predictor.begin(views[:1], beside=False).ticket is None


def test_more_views_than_a_batch_holds_wait_for_finish(predictor, views):
    many = views * 2
    pending = predictor.begin(many)
    assert pending.ticket is None
    same(predictor.finish(pending)[0], predictor.predict(views)[0] * 2)


def test_what_is_given_up_leaves_the_predictor_usable(predictor, views):
    for _ in range(3):
        predictor.cancel(predictor.begin(views[:4]))
    pending = predictor.begin(views[:4])
    predictor.cancel(pending)
    predictor.cancel(pending)
    same(predictor.predict(views[:4])[0], predictor.finish(predictor.begin(views[:4]))[0])


def test_buffers_and_requests_are_used_again(predictor, views, facemesh):
    for _ in range(5):
        predictor.finish(predictor.begin(views[:4]))
    buffers = len(predictor._free)
    requests = {size: len(free) for size, free in facemesh._runtime._free.items()}
    for _ in range(5):
        predictor.finish(predictor.begin(views[:4]))
    assert len(predictor._free) == buffers == 1
    assert requests == {size: len(free) for size, free in facemesh._runtime._free.items()}


def test_a_runtime_that_cannot_says_so(views):
    engine = open_engine("facemesh", backend="onnxruntime")
    assert not engine.can_start
    predictor = HostPredictor(engine)
    assert predictor.in_flight == 1 and predictor.frames_at_once is None
    assert predictor.begin(views[:1]).ticket is None
    with pytest.raises(BackendError, match="caller's thread"):
        engine.start(np.zeros((1, 192, 192, 3), np.float32))


def test_crops_of_a_wrong_shape_are_refused_before_the_start(facemesh):
    with pytest.raises(ValueError, match="crops must be"):
        facemesh.start(np.zeros((1, 64, 64, 3), np.float32))
