"""Topics, names of streams and what a subscription asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamprn.errors import InputError, WireError
from streamprn.records import Kind
from streamprn.wire import check_stream, kinds_wanted, parse_topic, topic
from streamprn.wire.address import is_local

NAMES = st.from_regex(r"[A-Za-z0-9_.\-]{1,64}", fullmatch=True)
EVERYTHING = frozenset(Kind)


@given(NAMES, st.sampled_from(Kind))
def test_a_topic_parses_to_what_it_was_made_of(stream, kind):
    assert parse_topic(topic(stream, kind)) == (stream, kind.value)


@given(NAMES)
def test_the_empty_subscription_wants_every_kind(stream):
    assert kinds_wanted(stream, [b""]) == EVERYTHING


@given(NAMES, st.sampled_from(Kind), st.data())
def test_every_prefix_of_a_topic_wants_its_kind(stream, kind, data):
    name = topic(stream, kind)
    cut = data.draw(st.integers(0, len(name)))
    assert kind in kinds_wanted(stream, [name[:cut]])


@given(NAMES, st.binary(max_size=12))
def test_a_subscription_wants_a_kind_exactly_when_its_topic_begins_with_it(stream, prefix):
    wanted = kinds_wanted(stream, [prefix])
    assert wanted == {kind for kind in Kind if topic(stream, kind)[: len(prefix)] == prefix}


@given(NAMES, st.lists(st.sampled_from([b"", b"a", b"cam1", b"cam1/", b"cam1/fa", b"cam1/t"])))
def test_subscriptions_add_up(stream, prefixes):
    together = kinds_wanted(stream, prefixes)
    assert together == frozenset().union(*(kinds_wanted(stream, [p]) for p in prefixes))


@pytest.mark.parametrize(
    ("prefix", "kinds"),
    [
        (b"cam1", EVERYTHING),
        (b"cam1/", EVERYTHING),
        (b"cam1/fa", {Kind.FACE}),
        (b"cam1/st", {Kind.STATUS, Kind.STATS}),
        (b"cam1/face/", set()),
        (b"cam10", set()),
        (b"Cam1", set()),
    ],
)
def test_prefixes_of_cam1(prefix, kinds):
    assert kinds_wanted("cam1", [prefix]) == kinds


@pytest.mark.parametrize("name", ["", "a/b", "a b", "cam\n", "é", "x" * 65, "cam1/face", "*"])
def test_a_name_that_cannot_stand_in_a_topic_is_refused_with_the_allowed_characters(name):
    with pytest.raises(InputError, match="A-Z a-z 0-9"):
        check_stream(name)


@pytest.mark.parametrize("data", [b"", b"/face", b"cam1", b"cam1/", b"cam1/Face", b"cam1/face\n"])
def test_what_is_no_topic_is_a_wire_error(data):
    with pytest.raises(WireError):
        parse_topic(data)


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("tcp://127.0.0.1:5870", True),
        ("tcp://127.9.9.9:1", True),
        ("tcp://[::1]:5870", True),
        ("tcp://localhost:5870", True),
        ("ipc:///tmp/x", True),
        ("inproc://x", True),
        ("tcp://0.0.0.0:5870", False),
        ("tcp://[::]:5870", False),
        ("tcp://192.168.1.4:5870", False),
        ("tcp://camera.example:5870", False),
        ("tcp://*:5870", False),
    ],
)
def test_who_can_reach_an_address(endpoint, local):
    assert is_local(endpoint) is local
