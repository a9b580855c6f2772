"""Showing what a publisher sends: a live table, plain lines, or JSON lines."""

from __future__ import annotations

import json
import math
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, TextIO

import numpy as np

from streamprn.apps.lines import age_at_arrival, as_json
from streamprn.apps.liveness import liveness_json, silence
from streamprn.records import BLENDSHAPES, Kind
from streamprn.wire import (
    Face,
    FrameMessage,
    Message,
    StatusMessage,
)
from streamprn.wire.address import is_local
from streamprn.wire.heartbeat import HEARTBEAT_S
from streamprn.wire.subscribe import Life, Liveness, Subscriber

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from streamprn.wire.bind import CurveKeys

__all__ = ["Board", "as_json", "run"]

#: What a watcher needs; images, depth and meshes would make the publisher work for nothing.
_LIGHT = (Kind.FACE, Kind.BLENDSHAPES, Kind.STATUS, Kind.STATS)
#: Below this an expression is not worth showing.
_SHOWN_BLENDSHAPE = 0.2
_SILENCE_S = 2.0
_TICK_S = 0.1
_LINE_S = 1.0
_FPS_WINDOW_NS = 2_000_000_000
_COLUMNS = (
    "stream",
    "state",
    "frame",
    "fps",
    "faces",
    "yaw",
    "pitch",
    "roll",
    "age",
    "gaps",
    "strongest",
)


@dataclass(slots=True)
class _Stream:
    state: str = "?"
    cause: str = ""
    size: str = ""
    faces: tuple[Face, ...] = ()
    age_ns: int | None = None
    gaps: int = 0
    seq: int = -1
    last_ns: int = 0
    arrivals: deque[int] = field(default_factory=lambda: deque(maxlen=512))

    def fps(self, now_ns: int) -> float:
        """Frames per second over the last two seconds."""
        while self.arrivals and now_ns - self.arrivals[0] > _FPS_WINDOW_NS:
            self.arrivals.popleft()
        if len(self.arrivals) < 2:
            return 0.0
        return (len(self.arrivals) - 1) * 1e9 / max(1, now_ns - self.arrivals[0])


class Board:
    """The latest facts of every stream, ready to be drawn.

    Args:
        local: the publisher shares this machine's monotonic clock; else ages are by wall clock.
    """

    def __init__(self, *, local: bool) -> None:
        self._local = local
        self._streams: dict[str, _Stream] = {}
        self._silence = ""
        self._fresh_ns = round(2e9 * HEARTBEAT_S)

    def hear(self, liveness: Liveness) -> None:
        """Take in whether the publisher lives."""
        self._silence = silence(liveness)
        self._fresh_ns = round(2e9 * liveness.heartbeat_s)

    def note(self, message: Message, gaps: int = 0) -> None:
        """Take in one message; `gaps` is what its stream misses so far."""
        stream = self._streams.setdefault(message.stream, _Stream())
        stream.gaps = gaps
        if isinstance(message, StatusMessage):
            stream.state, stream.cause = str(message.state), message.cause
        elif isinstance(message, FrameMessage):
            stream.faces = message.faces
            stream.size = "{}x{}".format(*message.frame_size_wh)
            stream.age_ns = age_at_arrival(message, self._local)
            stream.last_ns = message.received_ns
            if message.seq != stream.seq:  # several kinds tell of one frame
                stream.seq = message.seq
                stream.arrivals.append(message.received_ns)

    def rows(self, now_ns: int) -> list[tuple[str, ...]]:
        """One row of texts for each stream, in the order of `_COLUMNS`, by name."""
        return [self._row(name, stream, now_ns) for name, stream in sorted(self._streams.items())]

    def table(self, title: str, now_ns: int) -> Table:
        """The rows as a rich table."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
        for column in _COLUMNS:
            table.add_column(column, justify="left" if column in ("stream", "state") else "right")
        for row in self.rows(now_ns):
            # Text, so that nothing received is taken for markup.
            table.add_row(*(Text(cell) for cell in row))
        return table

    def lines(self, now_ns: int) -> list[str]:
        """The rows as `stream state key=value ...` lines."""
        return [
            " ".join(
                [row[0], row[1]]
                + [f"{key}={cell}" for key, cell in zip(_COLUMNS[2:], row[2:], strict=True) if cell]
            )
            for row in self.rows(now_ns)
        ]

    def _row(self, name: str, stream: _Stream, now_ns: int) -> tuple[str, ...]:
        if self._silence:
            return (name, self._silence, stream.size, *[""] * 6, str(stream.gaps), "")
        state = f"{stream.state}: {stream.cause}" if stream.cause else stream.state
        if now_ns - stream.last_ns > self._fresh_ns:  # what was seen before is no news
            return (name, _printable(state), stream.size, "0.0", *[""] * 5, str(stream.gaps), "")
        largest = max(stream.faces, key=_area, default=None)
        angles, strongest = ("", "", ""), ""
        if largest is not None:
            strongest = _strongest(largest)
            pose = largest.pose
            angles = (f"{pose.yaw:+.1f}", f"{pose.pitch:+.1f}", f"{pose.roll:+.1f}")
        age = "" if stream.age_ns is None else f"{stream.age_ns / 1e6:.1f}ms"
        fps = f"{stream.fps(now_ns):.1f}"
        faces = str(len(stream.faces))
        gaps = str(stream.gaps)
        first = (name, _printable(state), stream.size, fps, faces)
        return (*first, *angles, age, gaps, strongest)


def run(
    endpoint: str,
    topics: Iterable[str] = (),
    *,
    json_lines: bool = False,
    max_messages: int | None = None,
    duration_s: float | None = None,
    server_key: str | None = None,
    client_keys: CurveKeys | None = None,
    stop: Event | None = None,
    out: TextIO | None = None,
    console: Console | None = None,
) -> int:
    """Show messages until the limits or Ctrl-C; return how many came.

    Args:
        endpoint: of the publisher, which may start later.
        topics: prefixes to subscribe to. Without any, the streams are found first, and of each
            only `face`, `blendshapes`, `status` and `stats` are asked for.
        json_lines: one JSON object a line, for every message.
        max_messages: stop after so many.
        duration_s: stop after so long.
        server_key: the publisher's public CURVE key, where it encrypts.
        client_keys: our own, where the publisher lists its clients.
        stop: end within a tenth of a second once it is set.
        out: where lines go; standard output.
        console: where the table goes; without a terminal there are plain lines, one a second.
    """
    wanted = tuple(topics)
    sink = out or sys.stdout
    with Subscriber(
        endpoint,
        wanted or ("",),
        newest=not json_lines,
        server_key=server_key,
        client_keys=client_keys,
    ) as subscriber:
        narrow = None if wanted else _Narrow(subscriber)
        messages = _Limited(subscriber, narrow, max_messages, duration_s, stop)
        try:
            return _show(subscriber, messages, json_lines, sink, console)
        except KeyboardInterrupt:
            return messages.count


class _Narrow:
    """Finds the streams by subscribing to everything, then asks for the light kinds alone."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self._asked: set[str] = set()
        self._wide = True
        self._since = 0.0
        self._last = time.monotonic()

    def hear(self, message: Message | None) -> bool:
        """Adapt the subscriptions; whether the message is one to show."""
        now = time.monotonic()
        if message is None:
            if self._wide and self._since and now - self._since > _TICK_S:
                self._close()
            elif not self._wide and now - self._last > _SILENCE_S:
                self._open()
            return False
        self._last = now
        self._ask_for(message.stream)
        if self._wide:
            self._since = self._since or now
            if now - self._since > _TICK_S:
                self._close()
        return message.kind in _LIGHT

    def _ask_for(self, stream: str) -> None:
        if stream not in self._asked:
            self._asked.add(stream)
            for kind in _LIGHT:
                self._subscriber.subscribe(f"{stream}/{kind.value}")

    def _close(self) -> None:
        self._wide = False
        self._subscriber.unsubscribe("")

    def _open(self) -> None:
        self._wide, self._since = True, 0.0
        self._last = time.monotonic()
        self._subscriber.subscribe("")


class _Limited:
    """Messages until a number or a time is reached; None at least ten times a second."""

    def __init__(
        self,
        subscriber: Subscriber,
        narrow: _Narrow | None,
        max_messages: int | None,
        duration_s: float | None,
        stop: Event | None,
    ) -> None:
        self.count = 0
        self._subscriber = subscriber
        self._narrow = narrow
        self._limit = math.inf if max_messages is None else max_messages
        self._until = math.inf if duration_s is None else time.monotonic() + duration_s
        self._stop = stop or Event()

    def __iter__(self) -> Iterator[Message | None]:
        while self.count < self._limit and not self._over():
            message = self._subscriber.receive(_TICK_S)
            if self._narrow is not None and not self._narrow.hear(message):
                message = None
            self.count += message is not None
            yield message

    def _over(self) -> bool:
        return self._stop.is_set() or time.monotonic() >= self._until


def _show(
    subscriber: Subscriber,
    messages: _Limited,
    json_lines: bool,
    sink: TextIO,
    console: Console | None,
) -> int:
    local = is_local(subscriber.endpoint)
    if json_lines:
        _show_json(subscriber, messages, sink, local=local)
        return messages.count
    board = Board(local=local)
    terminal = console or _console(sink)
    if terminal.is_terminal:
        _show_table(subscriber, messages, board, terminal)
    else:
        _show_lines(subscriber, messages, board, sink)
    return messages.count


def _show_json(subscriber: Subscriber, messages: _Limited, sink: TextIO, *, local: bool) -> None:
    told: tuple[Life, int] | None = None
    for message in messages:
        liveness = subscriber.liveness()
        if told is not None and told != (liveness.state, liveness.restarts):
            print(json.dumps(liveness_json(liveness)), file=sink, flush=True)
        if liveness.state is not Life.WAITING:
            told = (liveness.state, liveness.restarts)
        if message is not None:
            gaps = subscriber.gaps_of(message.stream)
            print(json.dumps(as_json(message, local=local, gaps=gaps)), file=sink, flush=True)


def _console(sink: TextIO) -> Console:
    from rich.console import Console

    return Console(file=sink, highlight=False)


def _show_table(subscriber: Subscriber, messages: _Limited, board: Board, console: Console) -> None:
    from rich.live import Live

    def draw() -> Table:
        return board.table(_title(subscriber), time.monotonic_ns())

    with Live(console=console, auto_refresh=False, transient=False) as live:
        due = 0.0
        for message in messages:
            if message is not None:
                board.note(message, subscriber.gaps_of(message.stream))
            if time.monotonic() >= due:
                due = time.monotonic() + _TICK_S
                board.hear(subscriber.liveness())
                live.update(draw(), refresh=True)
        live.update(draw(), refresh=True)


def _show_lines(subscriber: Subscriber, messages: _Limited, board: Board, sink: TextIO) -> None:
    due = time.monotonic() + _LINE_S
    waiting = True
    for message in messages:
        if message is not None:
            board.note(message, subscriber.gaps_of(message.stream))
        if time.monotonic() >= due:
            due = time.monotonic() + _LINE_S
            board.hear(subscriber.liveness())
            lines = board.lines(time.monotonic_ns())
            if not lines and waiting:
                lines, waiting = [_title(subscriber)], False
            print(*lines, sep="\n", end="\n" if lines else "", file=sink, flush=True)
    lines = board.lines(time.monotonic_ns()) or [f"nothing came from {subscriber.endpoint}"]
    print(*lines, sep="\n", file=sink, flush=True)


def _title(subscriber: Subscriber) -> str:
    counters = subscriber.counters
    if not counters.received:
        return f"waiting for {subscriber.endpoint}"
    title = f"{subscriber.endpoint}: {counters.received} messages, {counters.stale} skipped as old"
    liveness = subscriber.liveness()
    if liveness.restarts:
        title += f", started again {liveness.restarts} times"
    if silence(liveness):
        title += f"; {silence(liveness)}"
    return f"{title}, {counters.errors} unreadable" if counters.errors else title


def _area(face: Face) -> float:
    x0, y0, x1, y1 = face.box_xyxy.tolist()
    area = (x1 - x0) * (y1 - y0)
    return float(area) if math.isfinite(area) else 0.0


def _printable(text: str) -> str:
    """A text from the network, without control characters that a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _strongest(face: Face) -> str:
    """The expression that a face shows most, with how much; empty where none is to be seen."""
    if face.blendshapes is None or not np.isfinite(face.blendshapes).all():
        return ""
    place = int(face.blendshapes.argmax())
    value = float(face.blendshapes[place])
    return f"{BLENDSHAPES[place]}:{value:.2f}" if value >= _SHOWN_BLENDSHAPE else ""
