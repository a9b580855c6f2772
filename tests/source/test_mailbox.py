from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from streamprn.channel import Mailbox
from streamprn.records import Frame, FrameImage


def frame(seq: int) -> Frame:
    return Frame("s", seq, FrameImage.from_rgb(np.zeros((1, 1, 3), np.uint8)), 0, 0, 0, 0)


@pytest.fixture
def never():
    return threading.Event()


def test_the_newest_frames_stay_and_the_dropped_are_counted(never):
    box = Mailbox(2, newest=True, ready=threading.Condition())
    assert all(box.put(frame(seq), never) for seq in range(5))
    assert (box.accepted, box.dropped, len(box)) == (5, 3, 2)
    assert [box.take().seq, box.take().seq, box.take()] == [3, 4, None]


def test_a_full_box_makes_the_writer_wait_and_loses_nothing(never):
    ready = threading.Condition()
    box = Mailbox(2, newest=False, ready=ready)
    writer = threading.Thread(target=lambda: [box.put(frame(seq), never) for seq in range(50)])
    writer.start()
    taken: list[int] = []
    while len(taken) < 50:
        with ready:
            one = box.take()
            if one is None:
                assert ready.wait(5), "the writer never notified"
        if one is not None:
            taken.append(one.seq)
            assert len(box) <= 2
    writer.join(5)
    assert taken == list(range(50))
    assert box.dropped == 0


def test_a_waiting_writer_ends_when_told_to_stop():
    box, stop = Mailbox(1, newest=False, ready=threading.Condition()), threading.Event()
    assert box.put(frame(0), stop)
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    assert not box.put(frame(1), stop)
    assert time.monotonic() - began < 1


def test_closing_wakes_writer_and_reader_and_keeps_what_is_held(never):
    ready = threading.Condition()
    box = Mailbox(1, newest=False, ready=ready)
    assert box.put(frame(0), never)
    threading.Timer(0.1, box.close).start()
    assert not box.put(frame(1), never)
    with ready:
        assert ready.wait_for(lambda: box.closed, 5)
    assert box.take().seq == 0
    assert box.take() is None
    assert not box.put(frame(2), never)


def test_one_condition_serves_several_boxes(never):
    ready = threading.Condition()
    boxes = [Mailbox(1, newest=True, ready=ready) for _ in range(3)]
    threading.Timer(0.05, lambda: boxes[2].put(frame(7), never)).start()
    with ready:
        assert ready.wait_for(lambda: any(len(box) for box in boxes), 5)
    assert boxes[2].take().seq == 7


def test_a_box_for_no_frames_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Mailbox(0, newest=True, ready=threading.Condition())
