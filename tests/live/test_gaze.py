"""Gaze through the pipeline: only while somebody asks."""

from __future__ import annotations

import threading

from streamprn import Subscriber
from streamprn.config import Config
from streamprn.engines.engine import open_engine
from streamprn.live.pipeline import Pipeline
from streamprn.records import Kind


def test_a_subscription_asks_for_the_gaze_of_a_stream(detector, clips):
    source = {"uri": clips.still().uri, "name": "cam", "loop": True}
    mapping = {"sources": [source], "publish": {"bind": "tcp://127.0.0.1:*"}}
    stop = threading.Event()
    engine = open_engine("facemesh2", backend="openvino")
    with Pipeline(Config.from_mapping(mapping), engine=engine, detector=detector) as pipeline:
        runner = threading.Thread(target=pipeline.run, args=(stop,))
        with Subscriber(pipeline.endpoint, "cam/face", newest=False) as subscriber:
            runner.start()
            try:
                assert gazes(subscriber, present=False) is None
                subscriber.subscribe("cam/gaze")
                gaze = gazes(subscriber, present=True)
                subscriber.unsubscribe("cam/gaze")
                assert gazes(subscriber, present=False) is None
            finally:
                stop.set()
                runner.join(10)
    engine.close()
    assert gaze.right.direction[2] > 0.95
    assert 0.2 < gaze.left.openness < 0.5


def gazes(subscriber, present, limit=200):
    """The gaze in the next message with (without) one; earlier ones were made before we asked."""
    for _ in range(limit):
        message = subscriber.receive(10)
        assert message is not None
        assert message.kind is Kind.FACE
        if message.faces and (message.faces[0].gaze is not None) == present:
            return message.faces[0].gaze
    raise AssertionError(f"{limit} messages, none as asked for")
