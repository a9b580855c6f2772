"""Streams come and go while a pipeline runs, and the others do not notice."""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest

from streamprn import memory
from streamprn.config import Config, SourceConfig
from streamprn.errors import ConfigError, InputError, SourceError
from streamprn.live.pipeline import Pipeline
from streamprn.records import Kind, SourceState
from streamprn.wire.subscribe import Subscriber
from tests.live.conftest import Collector
from tests.support.rtsp_server import RtspServer
from tests.support.wire import eventually

EMPTY = {"publish": {"bind": "tcp://127.0.0.1:*"}}


@contextmanager
def running(engine, detector, sink=None, **mapping):
    """A pipeline that runs until the block ends."""
    stop, events = threading.Event(), []
    config = Config.from_mapping(EMPTY | mapping)
    with Pipeline(config, engine=engine, detector=detector, sinks=[sink] if sink else []) as one:
        failed = []

        def run():
            try:
                one.run(stop, until_stopped=True, on_event=events.append)
            except BaseException as error:  # noqa: BLE001
                failed.append(error)

        thread = threading.Thread(target=run, name="runner")
        thread.start()
        one.events = events
        try:
            yield one
        finally:
            stop.set()
            thread.join(10)
            assert not thread.is_alive()
            assert failed == []


@pytest.fixture
def settled(monkeypatch):
    """The garbage collector as in a service, and no rest between two collections."""
    monkeypatch.setattr(memory, "_COLLECT_EVERY_S", 0.0)
    monkeypatch.setattr(memory, "_next_s", 0.0)
    before = gc.get_threshold()
    gc.set_threshold(0)  # what is freed is freed by `collect`
    memory.settle()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.parametrize("kind", ["film", "camera"])
def test_nothing_is_left_of_streams_that_were_removed(engine, detector, clips, settled, kind):
    sink = Collector(Kind.FACE)
    with (
        RtspServer([clips.still().path]) as server,
        running(engine, detector, sink) as pipeline,
    ):
        for number in range(6):
            uri = server.url if kind == "camera" else clips.still().uri
            name = pipeline.streams.add(SourceConfig(uri, name=f"guest{number}"))
            eventually(lambda name=name: name in names(sink))
            pipeline.streams.remove(name)
            sink.results.clear()
        left = Counter(type(one).__name__ for one in gc.get_objects())
        # The last ones may be on their way.
        assert left["SourceReader"] <= 2
        assert left["VideoCodecContext"] <= 2


def names(sink):
    return {result.frame.stream for result in list(sink.results)}


def test_a_pipeline_starts_without_a_stream_and_takes_what_is_added(engine, detector, clips):
    sink = Collector(Kind.FACE)
    with running(engine, detector, sink) as pipeline:
        assert len(pipeline.streams) == 0
        time.sleep(0.1)
        name = pipeline.streams.add(SourceConfig(clips.still().uri, name="door", realtime=False))
        assert name == "door"
        assert pipeline.streams.names == ("door",)
        eventually(lambda: len(sink.results) == 30)
        assert sum(len(result.faces) for result in sink.results) == 30
        # The first has ended; another one goes on.
        again = pipeline.streams.add(clips.still().uri)
        eventually(lambda: again in names(sink))


def test_names_are_made_from_addresses_and_are_unique(engine, detector, clips):
    uri = clips.still().uri
    with running(engine, detector) as pipeline:
        first, second = pipeline.streams.add(uri), pipeline.streams.add(uri)
        assert second == f"{first}-2"
        with pytest.raises(ConfigError, match="already"):
            pipeline.streams.add(SourceConfig(uri, name=first))
        pipeline.streams.remove(first)
        assert pipeline.streams.add(uri) == first


def test_a_removed_stream_says_that_it_ended_and_is_forgotten(engine, detector, clips):
    with (
        running(engine, detector) as pipeline,
        Subscriber(pipeline.endpoint, "door/", newest=False) as heard,
    ):
        pipeline.streams.add(SourceConfig(clips.moving(frames=90).uri, name="door", loop=True))
        seen = []

        def until(kind):
            def arrived():
                message = heard.receive(0.2)
                if message is not None:
                    seen.append(message)
                return message is not None and message.kind is kind

            return arrived

        eventually(until(Kind.FACE), 20)
        pipeline.streams.remove("door")
        while (message := heard.receive(0.5)) is not None:
            seen.append(message)
        last = seen[-1]
        assert (last.kind, last.state, last.cause) == (Kind.STATUS, SourceState.ENDED, "removed")
        with Subscriber(pipeline.endpoint, "door/", newest=False) as late:
            assert late.receive(0.5) is None
        with pytest.raises(InputError, match="there is no stream 'door'"):
            pipeline.streams.remove("door")


def test_what_cannot_be_added_changes_nothing(engine, detector, clips):
    with running(engine, detector) as pipeline:
        with pytest.raises(SourceError, match="no such file"):
            pipeline.streams.add("missing.mp4")
        with pytest.raises(InputError, match="unknown scheme"):
            pipeline.streams.add("gopher://x/y")
        pipeline.streams.add(SourceConfig(clips.still().uri, name="door"))
        with pytest.raises(InputError, match="did you mean 'door'"):
            pipeline.streams.pause("dor")
        assert pipeline.streams.names == ("door",)


def test_a_paused_camera_is_let_go_and_comes_back(engine, detector, clips):
    clip, sink = clips.moving(frames=90), Collector(Kind.FACE)
    with (
        RtspServer([clip.path]) as server,
        running(engine, detector, sink) as pipeline,
    ):
        pipeline.streams.add(SourceConfig(server.url, name="door"))
        (stream,) = pipeline.streams
        eventually(lambda: len(sink.results) > 5, 20)
        pipeline.streams.pause("door")
        eventually(lambda: stream.reader.status.state is SourceState.PAUSED)
        time.sleep(0.3)
        count = len(sink.results)
        time.sleep(0.5)
        assert len(sink.results) == count
        pipeline.streams.resume("door")
        eventually(lambda: len(sink.results) > count + 5, 20)
        seqs = [result.frame.seq for result in sink.results]
        assert seqs == sorted(set(seqs))


def test_a_changed_stream_keeps_its_name_and_counts_on(engine, detector, clips):
    sink = Collector(Kind.FACE)
    with running(engine, detector, sink) as pipeline:
        uri = clips.moving(frames=90).uri
        pipeline.streams.add(SourceConfig(uri, name="door", loop=True))
        eventually(lambda: len(sink.results) > 10)
        pipeline.streams.reconfigure("door", {"crop": (0, 0, 320, 480), "max_fps": 10})
        width = lambda: sink.results[-1].frame.image.width  # noqa: E731
        eventually(lambda: width() == 320)
        assert pipeline.streams.names == ("door",)
        seqs = [result.frame.seq for result in sink.results]
        assert seqs == sorted(set(seqs))
        before = {face.id for r in sink.results if r.frame.image.width == 640 for face in r.faces}
        eventually(lambda: sink.results[-1].faces)
        after = {face.id for r in sink.results if r.frame.image.width == 320 for face in r.faces}
        assert before
        assert min(after) > max(before)
        with pytest.raises(ConfigError, match=r"door\.crops: unknown key \(did you mean 'crop'"):
            pipeline.streams.reconfigure("door", {"crops": None})
        with pytest.raises(ConfigError, match="max_fps"):
            pipeline.streams.reconfigure("door", {"max_fps": -1})
        with pytest.raises(ConfigError, match="keeps its name"):
            pipeline.streams.reconfigure("door", {"name": "yard"})
        count = len(sink.results)
        eventually(lambda: len(sink.results) > count)


@pytest.mark.timed
def test_a_hundred_additions_and_removals_are_quick_and_lose_a_neighbour_no_frame(
    engine, detector, clips
):
    """`benchmarks/churn.py` measures what it does to the neighbour's latency."""
    sink, took = Collector(Kind.FACE), []
    clip = clips.moving(frames=90).uri
    with running(engine, detector, sink) as pipeline:
        pipeline.streams.add(SourceConfig(clip, name="neighbour", loop=True))
        eventually(lambda: len(sink.of("neighbour")) > 5)
        threads = threading.active_count()
        for number in range(100):
            name = f"guest{number}"
            began = time.monotonic()
            pipeline.streams.add(SourceConfig(clip, name=name, loop=True))
            took.append(time.monotonic() - began)
            time.sleep(0.01)
            began = time.monotonic()
            pipeline.streams.remove(name)
            took.append(time.monotonic() - began)
        assert np.quantile(took, 0.95) < 0.2
        eventually(lambda: threading.active_count() <= threads)
        assert pipeline.streams.names == ("neighbour",)
        seqs = np.diff([result.frame.seq for result in sink.of("neighbour")])
        assert set(seqs) == {1}
        assert len(pipeline.streams._leaving) < 100


def test_any_thread_may_add_and_remove(engine, detector, clips):
    uri, errors = clips.still().uri, []
    with running(engine, detector) as pipeline:

        def work(number):
            try:
                for turn in range(10):
                    name = pipeline.streams.add(SourceConfig(uri, name=f"t{number}-{turn}"))
                    pipeline.streams.pause(name)
                    pipeline.streams.resume(name)
                    pipeline.streams.reconfigure(name, {"loop": True})
                    pipeline.streams.remove(name)
            except BaseException as error:  # noqa: BLE001
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        assert pipeline.streams.names == ()
        sources = [t.name for t in threading.enumerate() if t.name.startswith("source ")]
        eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("source ")])
        del sources


def test_a_listener_may_remove_a_stream_that_ended(engine, detector, clips):
    stop = threading.Event()
    config = Config.from_mapping(EMPTY)
    with Pipeline(config, engine=engine, detector=detector) as pipeline:
        pipeline.streams.add(SourceConfig(clips.still().uri, name="door", realtime=False))

        def on_event(status):
            if status.state is SourceState.ENDED and status.cause != "removed":
                pipeline.streams.remove(status.stream)

        thread = threading.Thread(target=pipeline.run, args=(stop,), kwargs={"on_event": on_event})
        thread.start()
        eventually(lambda: not len(pipeline.streams), 20)
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def test_each_loop_tells_what_it_has_done(run, clips, engine, detector):
    sink = Collector(Kind.FACE)
    mapping = {"sources": [{"uri": clips.still().uri, "realtime": False}]}
    config = Config.from_mapping(EMPTY | mapping)
    with Pipeline(config, engine=engine, detector=detector, sinks=[sink]) as pipeline:
        pipeline.run()
        found = pipeline.statistics()
    assert found["look"].frames == found["finish"].frames == 30
    assert found["look"].busy_ns > 0 < found["finish"].busy_ns
    assert found["look"].waiting == found["finish"].waiting == 0
