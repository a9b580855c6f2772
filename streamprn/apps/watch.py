"""Showing what a publisher sends: a live table, plain lines, or JSON lines."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Iterator
from threading import Event
from typing import TYPE_CHECKING, TextIO

from streamprn.apps.board import Board
from streamprn.apps.lines import as_json
from streamprn.apps.liveness import liveness_json, silence
from streamprn.apps.narrow import Narrow
from streamprn.records import Kind
from streamprn.wire.address import is_local
from streamprn.wire.subscribe import Life, Subscriber

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from streamprn.wire import Message
    from streamprn.wire.bind import CurveKeys

__all__ = ["Board", "as_json", "run"]

#: What a watcher needs; images, depth and meshes would make the publisher work for nothing.
_LIGHT = (Kind.FACE, Kind.BLENDSHAPES, Kind.GAZE, Kind.STATUS, Kind.STATS)
_TICK_S = 0.1
_LINE_S = 1.0


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
            only `face`, `blendshapes`, `gaze`, `status` and `stats` are asked for.
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
        narrow = None if wanted else Narrow(subscriber, _LIGHT)
        messages = _Limited(subscriber, narrow, max_messages, duration_s, stop)
        try:
            return _show(subscriber, messages, json_lines, sink, console)
        except KeyboardInterrupt:
            return messages.count


class _Limited:
    """Messages until a number or a time is reached; None at least ten times a second."""

    def __init__(
        self,
        subscriber: Subscriber,
        narrow: Narrow | None,
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

    def draw() -> Text:
        return board.table(_title(subscriber), time.monotonic_ns(), console.width)

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
