"""Expressions of real faces through the pipeline: only while somebody asks."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from streamprn import BLENDSHAPES, Subscriber
from streamprn.config import Config
from streamprn.engines.blendshapes import SharedBlendshapes
from streamprn.engines.predict_host import HostPredictor
from streamprn.live.pipeline import Pipeline
from streamprn.records import Kind
from tests.live.conftest import Collector


class Counted:
    """The network of expressions, and how often it was asked."""

    def __init__(self):
        self.count = 0
        self._shared = SharedBlendshapes()

    def __call__(self, points):
        self.count += 1
        return self._shared(points)


def messages_with(subscriber, present, limit=200):
    """The next message with (without) blendshapes; earlier ones were made before we asked."""
    for _ in range(limit):
        message = subscriber.receive(5)
        assert message is not None
        if message.faces and (message.faces[0].blendshapes is not None) == present:
            return message
    raise AssertionError(f"{limit} messages, none as asked for")


@pytest.mark.parametrize("smoothed", [False, True])
def test_a_subscription_asks_for_the_expressions_of_a_stream(engine, detector, clips, smoothed):
    source = {"uri": clips.still().uri, "name": "cam", "loop": True}
    mapping = {"sources": [source], "publish": {"bind": "tcp://127.0.0.1:*"}}
    changes = {"track.smoothing.enabled": smoothed}
    config = Config.from_mapping(mapping).with_overrides(changes)
    expressions, stop = Counted(), threading.Event()
    predictor = HostPredictor(engine, expressions=expressions)
    with Pipeline(config, engine=predictor, detector=detector) as pipeline:
        runner = threading.Thread(target=pipeline.run, args=(stop,))
        with Subscriber(pipeline.endpoint, "cam/face", newest=False) as subscriber:
            runner.start()
            try:
                for _ in range(5):
                    messages_with(subscriber, present=False)
                assert expressions.count == 0
                subscriber.subscribe("cam/blendshapes")
                message = messages_with(subscriber, present=True)
                assert message.kind is Kind.FACE
                subscriber.unsubscribe("cam/blendshapes")
                messages_with(subscriber, present=False)
                asked = expressions.count
                for _ in range(5):
                    messages_with(subscriber, present=False)
                assert expressions.count == asked
            finally:
                stop.set()
                runner.join(10)
    found = dict(zip(BLENDSHAPES, message.faces[0].blendshapes.tolist(), strict=True))
    assert min(found["mouthSmileLeft"], found["mouthSmileRight"]) > 0.7
    assert found["jawOpen"] < 0.2


def test_expressions_alone_are_not_counted_as_no_message_has_them(engine, detector, clips):
    config = Config.from_mapping(
        {
            "sources": [{"uri": clips.still().uri, "name": "cam", "realtime": False}],
            "publish": {"bind": "tcp://127.0.0.1:*"},
            # Else they are computed once.
            "track": {"still_change": 0.0},
        }
    )
    for kinds, expected in (((Kind.BLENDSHAPES,), 1), ((Kind.BLENDSHAPES, Kind.MESH), 6)):
        expressions, sink = Counted(), Collector(*kinds)
        predictor = HostPredictor(engine, expressions=expressions)
        with Pipeline(config, engine=predictor, detector=detector, sinks=[sink]) as pipeline:
            pipeline.run(max_frames=5)
        # One by the warm-up, which runs through all that a sink wants.
        assert expressions.count == expected
        shown = [face.blendshapes for result in sink.results for face in result.faces]
        assert len(shown) == 5
        assert np.isfinite(shown).all()
