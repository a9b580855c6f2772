"""Recordings played again: the same messages at the same pace, as if they were live."""

from __future__ import annotations

import heapq
import logging
import time
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from streamprn.errors import InputError, WireError
from streamprn.records import FRAME_KINDS, Kind, SourceState, SourceStatus
from streamprn.wire import TopologyMessage, decode, parse_topic, topic
from streamprn.wire.header import Header
from streamprn.wire.record import read_parts
from streamprn.wire.segments import SUFFIX, recordings, segments

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from streamprn.wire.encode import Parts
    from streamprn.wire.publish import Publisher

__all__ = ["Replay", "find"]

#: Longer pauses of a recording, as between two runs, are passed over.
LONGEST_PAUSE_S = 5.0
_SKIPPED_TO_S = 0.5
_KINDS = frozenset(kind.value for kind in FRAME_KINDS)

_log = logging.getLogger(__name__)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Header)


def find(path: Path) -> dict[str, list[Path]]:
    """The files of each stream: in a folder of `--record`, in that of one stream, or one file.

    Raises:
        InputError: there is no recording.
    """
    if path.is_file():
        return {path.stem: [path]}
    if path.is_dir():
        own = segments(path)
        found = recordings(path) or ({path.resolve().name: own} if own else {})
        if found:
            return found
        raise InputError(f"{path}: no recording in it", hint=f"recordings end in {SUFFIX}")
    raise InputError(f"{path}: no such file or folder", hint="name the folder of `--record`")


@dataclass(slots=True)
class _Message:
    """One recorded message.

    Attributes:
        due_ns: when it was published, by the wall clock.
        age_ns: how long before that its frame was captured.
    """

    due_ns: int
    age_ns: int
    stream: str
    name: str
    header: Header
    arrays: list[bytes]


class Replay:
    """Publishes a recording.

    Time stamps become those of now, with the spans between them kept; frames are numbered on where
    the recording starts again.

    Args:
        files: of each stream, see `find`.
        publisher: to publish through.
        speed: 2 is twice as fast; the pace of the recording is 1.
    """

    def __init__(
        self, files: Mapping[str, Sequence[Path]], publisher: Publisher, speed: float = 1.0
    ) -> None:
        self._files = files
        self._publisher = publisher
        self._speed = speed
        self._seq_base: dict[str, int] = {}
        self._last_seq: dict[str, int] = {}
        self._runs: dict[str, str] = {}
        self.messages = 0

    def play(self, stop: threading.Event) -> None:
        """Play everything once; returns early where `stop` is set."""
        self._runs.clear()
        began = time.monotonic_ns()
        passed, last_ns = 0, 0
        for message in self._merged():
            pause = max(0, message.due_ns - last_ns) if last_ns else 0
            if pause > LONGEST_PAUSE_S * 1e9:
                pause = round(_SKIPPED_TO_S * 1e9)
            last_ns = max(last_ns, message.due_ns)
            passed += round(pause / self._speed)
            wait_s = (began + passed - time.monotonic_ns()) / 1e9
            if stop.wait(wait_s) if wait_s > 0 else stop.is_set():
                return
            self._publish(message)

    def end(self) -> None:
        """Say that every stream has ended."""
        for stream in self._last_seq:
            self._publisher.publish_status(SourceStatus(stream, SourceState.ENDED, "replayed"))

    def _merged(self) -> Iterator[_Message]:
        each = (self._messages(files) for files in self._files.values())
        return heapq.merge(*each, key=attrgetter("due_ns"))

    def _messages(self, files: Sequence[Path]) -> Iterator[_Message]:
        for path in files:
            try:
                yield from self._of_file(path)
            except WireError as error:
                _log.warning("%s; what follows in it is left out", error)

    def _of_file(self, path: Path) -> Iterator[_Message]:
        for number, parts in enumerate(read_parts(path)):
            message = decode(parts)
            if isinstance(message, TopologyMessage):
                if number == 0:
                    self._publisher.set_topology(message.stream, message)
                continue
            name = parse_topic(parts[0])[1]
            if name in _KINDS:
                stamps = message.stamps
                age = stamps.published - stamps.captured if stamps.captured else 0
                header = _decoder.decode(parts[1])
                yield _Message(stamps.wall + age, age, message.stream, name, header, parts[2:])

    def _publish(self, message: _Message) -> None:
        stream, header = message.stream, message.header
        if self._runs.get(stream) != header.run:
            self._runs[stream] = header.run
            # The numbers of the frames go on from those that were played before.
            last = self._last_seq.get(stream)
            self._seq_base[stream] = 0 if last is None else last + 1 - header.seq
            self._publisher.publish_status(SourceStatus(stream, SourceState.LIVE))
        stamps = header.stamps
        shift = time.monotonic_ns() - stamps.published
        for name in ("captured", "decoded", "tracked", "inferred", "published"):
            if value := getattr(stamps, name):
                setattr(stamps, name, value + shift)
        stamps.wall = time.time_ns() - message.age_ns
        header.seq += self._seq_base[stream]
        self._last_seq[stream] = header.seq
        header.run = self._publisher.run
        kind = Kind(message.name)
        parts: Parts = [topic(stream, kind), _encoder.encode(header), *message.arrays]
        self._publisher.relay(stream, kind, parts, header.seq, stamps.captured)
        self.messages += 1
