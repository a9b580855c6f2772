"""A real RTSP camera (a server on loopback) through the whole pipeline to a subscriber."""

from __future__ import annotations

import threading
import time

from streamprn.config import Config
from streamprn.live.pipeline import Pipeline
from streamprn.records import Kind, SourceState
from streamprn.wire.subscribe import Subscriber
from tests.support.rtsp_server import RtspServer


def test_faces_of_an_rtsp_camera_arrive_and_come_back_after_it_was_away(engine, detector, clips):
    clip = clips.moving(frames=90)
    with RtspServer([clip.path]) as server:
        config = Config.from_mapping(
            {
                "sources": [{"uri": server.url, "name": "door", "stall_timeout_s": 1.0}],
                "publish": {"bind": "tcp://127.0.0.1:*"},
            }
        )
        stop, states = threading.Event(), []
        with (
            Pipeline(config, engine=engine, detector=detector) as pipeline,
            Subscriber(pipeline.endpoint, ["door/face", "door/status"], newest=False) as heard,
        ):
            thread = threading.Thread(target=pipeline.run, args=(stop,))
            thread.start()
            assert wait_for_faces(heard, states, 5)
            server.vanish()
            assert wait_for_state(heard, states, SourceState.RECONNECTING)
            server.come_back()
            assert wait_for_state(heard, states, SourceState.LIVE)
            assert wait_for_faces(heard, states, 5)
            stop.set()
            thread.join(3)
    assert not thread.is_alive()
    assert states[0] is SourceState.CONNECTING


def wait_for_faces(heard: Subscriber, states: list[SourceState], count: int) -> bool:
    deadline = time.monotonic() + 20
    while count and time.monotonic() < deadline:
        message = heard.receive(0.2)
        if message is not None and message.kind is Kind.STATUS:
            states.append(message.state)
        if message is not None and message.kind is Kind.FACE:
            count -= bool(message.faces)
    return not count


def wait_for_state(heard: Subscriber, states: list[SourceState], state: SourceState) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        message = heard.receive(0.2)
        if message is not None and message.kind is Kind.STATUS:
            states.append(message.state)
            if message.state is state:
                return True
    return False
