"""Which stream, which face, how often; and what a bridge costs the publisher."""

import time
from itertools import pairwise

import pytest

from streamprn.bridge.output import split_address
from streamprn.bridge.relay import Choice
from streamprn.errors import InputError
from streamprn.records import Kind
from tests.bridge.conftest import bridged, head
from tests.support.wire import eventually


class Kept:
    """An output that keeps what it gets."""

    target = "the test"
    newest = True
    error = ""

    def __init__(self):
        self.got, self.idles, self.closed = [], 0, False

    def send(self, message, faces):
        self.got.append((time.monotonic(), message, list(faces)))

    def idle(self):
        self.idles += 1

    def close(self):
        self.closed = True


def test_the_largest_face_of_the_only_stream_goes_on(source):
    larger = source.show(head(), id_=5, size=28)
    source.show(head(), id_=1, size=10, further=[larger])
    kept = Kept()
    with bridged(source.publisher.endpoint, lambda _: kept) as said:
        eventually(lambda: len(kept.got) > 5)
    _, message, faces = kept.got[-1]
    assert message.stream == "cam1"
    assert [face.id for face in faces] == [5]
    assert faces[0].blendshapes is not None
    assert faces[0].gaze is not None
    assert said[-1] == "cam1 goes to the test"
    assert kept.closed


def test_only_what_is_needed_is_asked_for(source):
    kept = Kept()
    with bridged(source.publisher.endpoint, lambda _: kept, stream="cam1"):
        eventually(lambda: kept.got)
        expected = {Kind.FACE, Kind.BLENDSHAPES, Kind.GAZE, Kind.STATUS}
        assert source.publisher.wanted("cam1") == expected


def test_a_rate_is_kept(source):
    kept = Kept()
    with bridged(source.publisher.endpoint, lambda _: kept, rate_hz=10):
        eventually(lambda: len(kept.got) >= 16)
    times = [at for at, _, _ in kept.got]
    steps = [after - before for before, after in pairwise(times[2:])]
    assert sum(steps) / len(steps) > 0.085


def test_several_streams_are_named_where_none_was_chosen(source):
    source.streams = ("cam1", "garage")
    time.sleep(0.2)
    kept = Kept()
    with (
        pytest.raises(InputError, match=r"several streams: cam1, garage \(choose one: --stream"),
        bridged(source.publisher.endpoint, lambda _: kept),
    ):
        time.sleep(1.5)
    with bridged(source.publisher.endpoint, lambda _: kept, stream="garage"):
        eventually(lambda: kept.got)
    assert {message.stream for _, message, _ in kept.got} == {"garage"}


def test_a_stream_without_frames_is_idle(source):
    kept = Kept()
    with bridged(source.publisher.endpoint, lambda _: kept, stream="attic") as said:
        eventually(lambda: kept.idles >= 2)
        assert said[-1] == "attic: no frames; waiting for it to go on"


@pytest.mark.timed
def test_an_output_that_is_slow_does_not_slow_the_publisher(source):
    class Slow(Kept):
        def send(self, message, faces):
            super().send(message, faces)
            time.sleep(0.4)

    slow = Slow()
    with bridged(source.publisher.endpoint, lambda _: slow, stream="cam1"):
        eventually(lambda: len(slow.got) >= 4)
    seqs = [message.seq for _, message, _ in slow.got]
    # The publisher went on at its pace; the bridge took the newest each time.
    assert min(b - a for a, b in pairwise(seqs[1:])) > 3
    assert all(at - message.received_ns / 1e9 < 0.3 for at, message, _ in slow.got[1:])


def test_a_face_that_is_not_there_is_none(source):
    faces = [source.faces[0]]
    assert Choice(9).of(faces) == []
    assert Choice("largest").of([]) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ("127.0.0.1", 39539)),
        ("host", ("host", 39539)),
        ("host:40000", ("host", 40000)),
        ("[::1]:40000", ("::1", 40000)),
        ("::1", ("::1", 39539)),
    ],
)
def test_addresses(text, expected):
    assert split_address(text, 39539) == expected


@pytest.mark.parametrize("text", ["", ":1", "host:0", "host:70000", "host:x"])
def test_what_is_no_address_is_said_with_one_that_is(text):
    with pytest.raises(InputError, match=r"write it like 127\.0\.0\.1:39539"):
        split_address(text, 39539)
