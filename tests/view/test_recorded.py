"""The time line of a recording: play, pause, jump; and what was recorded is there."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("viser", reason="viser missing: make test-view")


from streamprn.records import Kind
from streamprn.view.recorded import RecordedFeed
from tests.support.recordings import moving, record
from tests.support.wire import eventually

KINDS = frozenset({Kind.FACE, Kind.MESH})


@pytest.fixture
def feed(tmp_path):
    """Two streams, the first of four seconds."""
    frames = [moving(seq) for seq in range(100)]
    frames += [moving(seq, faces=2, stream="cam2") for seq in range(10)]
    record(tmp_path, frames, (Kind.FACE, Kind.MESH, Kind.TEXTURE, Kind.IMAGE, Kind.DEPTH))
    feed = RecordedFeed(tmp_path)
    yield feed
    feed.close()


def seq_of(feed) -> int:
    moment = feed.moment("cam1")
    return -1 if moment is None else moment.seq


def test_it_plays_at_its_own_pace_and_stands_still_when_told(feed):
    assert feed.length_s == pytest.approx(99 / 25, abs=0.01)
    feed.want("cam1", KINDS)
    began = time.monotonic()
    eventually(lambda: seq_of(feed) >= 20)
    assert time.monotonic() - began > 0.7
    feed.play(False)
    time.sleep(0.2)
    stood = seq_of(feed)
    time.sleep(0.4)
    assert seq_of(feed) == stood
    feed.play(True)
    eventually(lambda: seq_of(feed) > stood)


def test_a_jump_shows_the_frame_of_that_time_also_while_it_stands_still(feed):
    feed.want("cam1", KINDS)
    eventually(lambda: seq_of(feed) >= 0)
    feed.play(False)
    for time_s in (3.0, 0.4, 2.0):
        feed.seek(time_s)
        eventually(lambda at=time_s: seq_of(feed) == round(at * 25))
        assert feed.time_s == pytest.approx(time_s, abs=0.01)


def test_nothing_is_read_where_nobody_looks_and_at_the_end_it_starts_again(feed):
    time.sleep(0.2)
    assert feed.moment("cam1") is None
    feed.want("cam1", KINDS)
    feed.seek(3.8)
    eventually(lambda: seq_of(feed) >= 95)
    eventually(lambda: 0 <= seq_of(feed) < 20)


def test_another_stream_can_be_chosen_and_pictures_are_shown_where_they_were_recorded(feed):
    assert set(feed.states()) == {"cam1", "cam2"}
    feed.want("cam2", KINDS)
    eventually(lambda: feed.moment("cam2") is not None)
    moment = feed.moment("cam2")
    assert [face.id for face in moment.faces] == [1, 2] == sorted(moment.vertices)
    assert moment.image.shape == (24, 32, 3)
    assert moment.depth.shape == (24, 32) and np.isnan(moment.depth[0]).all()
