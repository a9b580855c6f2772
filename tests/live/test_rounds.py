"""Rounds of several streams: they overlap, every stream has its turn, and none loses a frame."""

from __future__ import annotations

import threading

import pytest

from streamprn.config import Config
from streamprn.engines.predict_host import HostPredictor
from streamprn.live.pipeline import Pipeline
from streamprn.records import Kind
from tests.live.conftest import Collector


@pytest.fixture
def predictor(engine):
    return HostPredictor(engine)


def pipeline(uri, names, predictor, detector, sink):
    sources = [{"uri": uri, "name": name, "realtime": False} for name in names]
    config = Config.from_mapping({"sources": sources, "publish": {"bind": "tcp://127.0.0.1:*"}})
    return Pipeline(config, engine=predictor, detector=detector, sinks=[sink])


def watch(predictor):
    """Note how many predictions are under way, and of how many views each is."""
    begin, finish, under_way, most, sizes = predictor.begin, predictor.finish, [], [], []

    def begin_and_note(views, **options):
        pending = begin(views, **options)
        if pending.ticket is not None:
            under_way.append(pending)
            sizes.append(len(views))
        most.append(len(under_way))
        return pending

    def finish_and_note(pending):
        if pending in under_way:
            under_way.remove(pending)
        return finish(pending)

    predictor.begin, predictor.finish = begin_and_note, finish_and_note
    return most, sizes


@pytest.mark.parametrize("streams", [2, 6])
def test_one_round_is_computed_while_another_is_cut(predictor, detector, clips, streams):
    names = [f"s{k}" for k in range(streams)]
    sink = Collector(Kind.FACE)
    with pipeline(clips.moving(frames=90).uri, names, predictor, detector, sink) as running:
        most, sizes = watch(predictor)
        running.run()
    assert max(most) == 2
    assert max(sizes) <= 4
    for name in names:
        assert [result.frame.seq for result in sink.of(name)] == list(range(90))
        assert all(len(result.faces) == 1 for result in sink.of(name))


def test_every_stream_has_its_turn(predictor, detector, clips):
    names = [f"s{k}" for k in range(9)]
    sink = Collector()
    with pipeline(clips.moving(frames=90).uri, names, predictor, detector, sink) as running:
        running.run(max_frames=270)
    counts = [len(sink.of(name)) for name in names]
    # Readers start one after the other; after that nobody is served twice before all were once.
    assert max(counts) - min(counts) <= 15


def test_what_is_under_way_at_a_stop_is_given_up(predictor, detector, clips):
    stop = threading.Event()
    sink = Collector()
    with pipeline(clips.moving(frames=90).uri, "abcd", predictor, detector, sink) as running:
        begin = predictor.begin

        def begin_then_stop(views, **options):
            pending = begin(views, **options)
            if pending.ticket is not None and len(sink.results) > 20:
                stop.set()
            return pending

        predictor.begin = begin_then_stop
        running.run(stop)
        assert 20 < len(sink.results) < 4 * 90
        # All buffers came back.
        assert len(predictor._free) >= 1
