"""What leaves the finish loop, and in which order."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import pairwise

import pytest

from streamprn import Subscriber
from streamprn.channel import Channel
from streamprn.config import Config, SourceConfig
from streamprn.config.secrets import address_of
from streamprn.engines.predict_host import HostPredictor
from streamprn.live.finish import FinishLoop
from streamprn.live.look import Looked
from streamprn.live.stream import StreamMaker
from streamprn.records import FRAME_KINDS, Kind
from streamprn.wire.publish import Publisher
from tests.live.conftest import Collector
from tests.support.wire import eventually

FRAMES = 3
TOPICS = [f"{name}/{kind}" for name in "ab" for kind in FRAME_KINDS]


@pytest.fixture
def streams(engine, detector):
    maker = StreamMaker(Config(), HostPredictor(engine), detector, threading.Condition())
    sources = [SourceConfig(uri="/dev/video9", name=name) for name in ("a", "b")]
    return [
        maker.make(source, replace(address_of(source), name=source.name), lambda *_: None)
        for source in sources
    ]


@pytest.fixture
def found(run, clips):
    _, collected = run({"uri": clips.still().uri, "name": "a"}, max_frames=1)
    return collected.results[0]


def finish(streams, found, publisher, *sinks):
    """Let a finish loop do frames of all streams in turn, which wait from the beginning."""
    inbox = Channel(len(streams) * FRAMES)
    loop = FinishLoop(inbox, publisher, sinks, mesh_format="int16", stats_interval_s=60)
    for seq in range(FRAMES):
        for stream in streams:
            frame = replace(found.frame, stream=stream.name, seq=seq)
            inbox.put(Looked(stream, frame, [replace(face) for face in found.faces]))
    loop.start()
    loop.stop()
    loop.join(10)
    assert loop.failure is None
    return loop


def heard_by(subscriber, count):
    messages = [subscriber.receive(5) for _ in range(count)]
    assert subscriber.receive(0.05) is None
    return messages


def test_faces_of_frames_that_wait_go_before_all_else(streams, found):
    with (
        Publisher("tcp://127.0.0.1:*", send_hwm=100) as publisher,
        Subscriber(publisher.endpoint, TOPICS, newest=False) as subscriber,
    ):
        eventually(lambda: publisher.wanted("a") & publisher.wanted("b") == set(FRAME_KINDS))
        sink = Collector(Kind.FACE)
        loop = finish(streams, found, publisher, sink)
        assert loop.statistics().frames == 2 * FRAMES
        told = heard_by(subscriber, 2 * FRAMES * len(FRAME_KINDS))
    order = [(message.stream, message.seq, message.kind) for message in told]
    for name in "ab":
        in_order = [(name, seq, kind) for seq in range(FRAMES) for kind in FRAME_KINDS]
        assert [one for one in order if one[0] == name] == in_order
    assert order[:2] == [("a", 0, Kind.FACE), ("b", 0, Kind.FACE)]
    # The last frames' faces, with nothing behind them, are out before the rest of either.
    last = [order.index((name, FRAMES - 1, Kind.FACE)) for name in "ab"]
    assert max(last) < order.index(("a", FRAMES - 1, Kind.MESH))
    taken = [(result.frame.stream, result.frame.seq) for result in sink.results]
    assert sorted(taken) == [(name, seq) for name in "ab" for seq in range(FRAMES)]
    for message, after in pairwise(told):
        assert message.stamps.published <= after.stamps.published
    spans = {message.kind: message.spans_ns for message in told if message.seq == 0}
    assert spans[Kind.DEPTH]["geometry"] > spans[Kind.FACE]["geometry"] > 0


@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_one_kind_alone_comes_once_a_frame(streams, found, kind):
    with (
        Publisher("tcp://127.0.0.1:*") as publisher,
        Subscriber(publisher.endpoint, [f"a/{kind}"], newest=False) as subscriber,
    ):
        eventually(lambda: publisher.wanted("a") == {kind})
        sink = Collector()
        loop = finish(streams[:1], found, publisher, sink)
        told = heard_by(subscriber, FRAMES)
    assert [(message.seq, message.kind) for message in told] == [(n, kind) for n in range(FRAMES)]
    assert loop.statistics().frames == len(sink.results) == FRAMES
    assert streams[0].statistics.frames == FRAMES


def test_what_is_left_of_a_removed_stream_is_not_published(streams, found):
    gone = streams[0]

    class Remover(Publisher):
        def publish(self, result, kinds=frozenset(FRAME_KINDS)):
            published_ns = super().publish(result, kinds)
            if result.frame.stream == gone.name:
                gone.gone = True
            return published_ns

    with (
        Remover("tcp://127.0.0.1:*") as publisher,
        Subscriber(publisher.endpoint, TOPICS, newest=False) as subscriber,
    ):
        eventually(lambda: publisher.wanted("a") & publisher.wanted("b") == set(FRAME_KINDS))
        sink = Collector()
        finish(streams, found, publisher, sink)
        told = heard_by(subscriber, 1 + FRAMES * len(FRAME_KINDS))
    assert [one.kind for one in told if one.stream == gone.name] == [Kind.FACE]
    assert [result.frame.stream for result in sink.results] == ["b"] * FRAMES
    assert gone.statistics.frames == 0
