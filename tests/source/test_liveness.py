"""What the packets of a live source tell, at times of our own."""

import pytest

from streamprn.config import SourceConfig
from streamprn.source import liveness
from streamprn.source.liveness import Liveness, Sign

CAMERA = SourceConfig("rtsp://camera.test/live")


@pytest.fixture
def clock(monkeypatch):
    """Seconds in a list, which a test sets."""
    now = [100.0]
    monkeypatch.setattr(liveness.time, "monotonic_ns", lambda: round(now[0] * 1e9))
    return now


def begun(*, may_change, outputs=1):
    alive = Liveness(CAMERA)
    alive.begin(may_change=may_change)
    for _ in range(outputs):
        alive.note_packet(is_key_frame=True)
        alive.note_output()
        alive.note_picture(liveness.time.monotonic_ns())
    return alive


def swallow(alive, packets):
    """A key frame and those after it, of which nothing comes."""
    for number in range(packets):
        alive.note_packet(is_key_frame=number == 0)


def test_a_decoder_that_worked_and_gives_nothing_for_a_key_frame_meets_another_codec(clock):
    alive = begun(may_change=True)
    swallow(alive, 13)
    clock[0] += 0.4
    assert alive.sign is Sign.PICTURES
    clock[0] += 0.2
    assert alive.has_changed
    assert alive.sign is Sign.HOPELESS


@pytest.mark.parametrize(
    ("alive", "packets"),
    [
        (lambda: begun(may_change=False), 13),  # RTSP names its codec once
        (lambda: begun(may_change=True, outputs=0), 13),  # holds pictures back, perhaps
        (lambda: begun(may_change=True), 12),
    ],
)
def test_else_a_second_key_frame_is_waited_for(clock, alive, packets):
    alive = alive()
    swallow(alive, packets)
    clock[0] += 0.6
    assert not alive.has_changed
    assert alive.sign is Sign.PICTURES


def test_damaged_pictures_are_of_the_same_codec(clock):
    """Nothing whole comes, as on a bad line: the connection that is there is the better one."""
    alive = begun(may_change=True)
    for _ in range(3):
        swallow(alive, 10)
        alive.note_output()
    clock[0] += 0.6
    assert not alive.has_changed


def test_a_new_connection_forgets_what_the_last_one_gave(clock):
    alive = begun(may_change=True)
    swallow(alive, 13)
    alive.begin(may_change=True)
    swallow(alive, 13)
    clock[0] += 0.6
    assert not alive.has_changed
