from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamprn.channel import Channel


def test_the_newest_items_stay_and_the_dropped_are_counted():
    channel: Channel[int] = Channel(2, newest=True)
    assert all(channel.put(number) for number in range(5))
    seen = channel.statistics()
    assert (seen.accepted, seen.dropped, seen.waiting, seen.capacity) == (5, 3, 2, 2)
    assert [channel.take(), channel.take(), channel.take()] == [3, 4, None]


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5))
def test_what_went_in_is_held_taken_or_counted_as_dropped(steps, capacity):
    channel: Channel[int] = Channel(capacity, newest=True)
    taken = []
    for number, puts in enumerate(steps):
        if puts:
            channel.put(number)
        elif (item := channel.take()) is not None:
            taken.append(item)
    seen = channel.statistics()
    assert seen.waiting <= capacity
    assert seen.accepted == seen.waiting + seen.dropped + len(taken)
    assert taken == sorted(taken)


def test_a_full_channel_makes_the_writer_wait_and_loses_nothing():
    channel: Channel[int] = Channel(2)
    writer = threading.Thread(
        target=lambda: [channel.put(number) for number in range(50)] and channel.close()
    )
    writer.start()
    taken = []
    for number in channel:
        taken.append(number)
        assert len(channel) <= 2
    writer.join(5)
    assert taken == list(range(50))
    assert channel.statistics().dropped == 0


@pytest.mark.timed
def test_the_age_of_the_oldest_item_is_told():
    channel: Channel[int] = Channel(2)
    assert channel.statistics().oldest_age_ns == 0
    channel.put(1)
    time.sleep(0.02)
    channel.put(2)
    assert 20_000_000 <= channel.statistics().oldest_age_ns < 5_000_000_000
    channel.take()
    assert channel.statistics().oldest_age_ns < 20_000_000


@pytest.mark.timed
def test_closing_wakes_a_writer_and_keeps_what_is_held():
    channel: Channel[int] = Channel(1)
    assert channel.put(0)
    threading.Timer(0.1, channel.close).start()
    began = time.monotonic()
    assert not channel.put(1)
    assert time.monotonic() - began < 1
    assert channel.closed
    assert not channel.drained
    assert channel.take() == 0
    assert channel.drained
    assert channel.receive() is None


@pytest.mark.timed
def test_closing_wakes_a_reader():
    channel: Channel[int] = Channel(1)
    threading.Timer(0.1, channel.close).start()
    began = time.monotonic()
    assert channel.receive() is None
    assert time.monotonic() - began < 1


def test_one_condition_serves_several_channels():
    ready = threading.Condition()
    channels: list[Channel[int]] = [Channel(1, newest=True, ready=ready) for _ in range(3)]
    threading.Timer(0.05, lambda: channels[2].put(7)).start()
    with ready:
        assert ready.wait_for(lambda: any(len(channel) for channel in channels), 5)
    assert channels[2].take() == 7
    threading.Timer(0.05, channels[0].close).start()
    with ready:
        assert ready.wait_for(lambda: channels[0].closed, 5)


def test_a_channel_for_no_items_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Channel(0)
