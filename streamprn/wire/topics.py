"""Topics `<stream>/<kind>` and what a subscription asks for."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Set

from streamprn.errors import InputError, WireError
from streamprn.records import PUBLISHER, Kind

_STREAM = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TOPIC = re.compile(rb"([A-Za-z0-9_.-]{1,64})/([a-z]{1,32})")

#: No topic is longer, so no longer subscription can match one.
MAX_TOPIC_BYTES = 64 + 1 + 32


def check_stream(name: str) -> str:
    """Return a stream's name if it may stand in a topic.

    Raises:
        InputError: it is empty, longer than 64 characters, or has other characters than letters,
            digits, `_`, `.` and `-`, or is that of the publisher itself.
    """
    if name == PUBLISHER:
        raise InputError(f"{name!r} is the publisher's own", hint="choose another name")
    if not _STREAM.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a stream",
            hint="use 1 to 64 of the characters A-Z a-z 0-9 _ . -",
        )
    return name


def topic(stream: str, kind: Kind) -> bytes:
    """The topic of one kind of one stream."""
    return f"{stream}/{kind.value}".encode("ascii")


#: Of the publisher's own heartbeats.
HEARTBEAT = topic(PUBLISHER, Kind.STATUS)


def parse_topic(data: bytes) -> tuple[str, str]:
    """The stream and the kind of a topic; the kind may be one that this version does not know.

    Raises:
        WireError: it is not `<stream>/<kind>`.
    """
    match = _TOPIC.fullmatch(data)
    if match is None:
        raise WireError(f"topic {data[:80]!r} is not <stream>/<kind>")
    return match[1].decode("ascii"), match[2].decode("ascii")


def streams_asked(prefix: bytes, streams: Collection[str]) -> list[str]:
    """Those of the streams of which a subscription may match some topic."""
    name, slash, _ = prefix.partition(b"/")
    asked = name.decode("ascii", "replace")
    if slash:
        return [asked] if asked in streams else []
    return [stream for stream in streams if stream.startswith(asked)]


def kinds_wanted(stream: str, subscriptions: Iterable[bytes]) -> frozenset[Kind]:
    """The kinds of a stream that some subscription matches.

    A subscription is a prefix of the topic, byte for byte; the empty one matches everything. Of a
    set, the time does not depend on its size.
    """
    known = subscriptions if isinstance(subscriptions, Set) else frozenset(subscriptions)
    return frozenset(kind for kind in Kind if _matches(topic(stream, kind), known))


def _matches(name: bytes, prefixes: Set[bytes]) -> bool:
    return any(name[:length] in prefixes for length in range(len(name) + 1))
