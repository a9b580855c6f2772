"""What a watcher has seen of every stream: a table that fits its terminal, and plain lines."""

from __future__ import annotations

import math
import textwrap
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamprn.apps.lines import age_at_arrival
from streamprn.apps.liveness import silence
from streamprn.records import BLENDSHAPES, PUBLISHER
from streamprn.wire import Face, FrameMessage, Message, StatsMessage, StatusMessage
from streamprn.wire.heartbeat import HEARTBEAT_S
from streamprn.wire.liveness import Life

if TYPE_CHECKING:
    from rich.text import Text

    from streamprn.wire.liveness import Liveness

__all__ = ["Board"]

#: Below this an expression is not worth showing.
_SHOWN_BLENDSHAPE = 0.2
_EXPRESSIONS = 3
_FPS_WINDOW_NS = 2_000_000_000
_GAP = "  "
_STYLES = {
    "live": "green",
    "stalled": "yellow",
    "connecting": "yellow",
    "reconnecting": "yellow",
    "silent": "bold red",
    "failed": "bold red",
}


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
    stats: Mapping[str, object] = field(default_factory=dict)
    spans_ns: Mapping[str, int] = field(default_factory=dict)
    arrivals: deque[int] = field(default_factory=lambda: deque(maxlen=512))

    def fps(self, now_ns: int) -> float:
        """Frames per second over the last two seconds."""
        while self.arrivals and now_ns - self.arrivals[0] > _FPS_WINDOW_NS:
            self.arrivals.popleft()
        if len(self.arrivals) < 2:
            return 0.0
        return (len(self.arrivals) - 1) * 1e9 / max(1, now_ns - self.arrivals[0])

    def stat(self, name: str, digits: int = 0) -> str:
        """A number that the publisher told of the stream, empty where it told none."""
        value = self.stats.get(name)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return ""
        return f"{value:.{digits}f}"


class _Row(NamedTuple):
    """What is to be shown of a stream now: cells by the names of `_COLUMNS`."""

    name: str
    state: str
    cause: str
    cells: Mapping[str, str]
    faces: tuple[Face, ...]


#: The first of these always, the others as far as the terminal is wide: heading and width.
_COLUMNS = {
    "frame px": 9,
    "fps": 5,
    "age ms": 7,
    "drops": 5,
    "faces": 5,
    "p50 ms": 7,
    "p99 ms": 7,
    "network ms": 10,
    "geometry ms": 11,
    "dropped by engine": 17,
    "reconnects": 10,
    "frame number": 12,
}
_ALWAYS = 4
_STATE_WIDTH = 12


class Board:
    """The latest facts of every stream, ready to be drawn.

    Args:
        local: the publisher shares this machine's monotonic clock; else ages are by wall clock.
    """

    def __init__(self, *, local: bool) -> None:
        self._local = local
        self._streams: dict[str, _Stream] = {}
        self._life = Life.WAITING
        self._silence = ""
        self._fresh_ns = round(2e9 * HEARTBEAT_S)

    def hear(self, liveness: Liveness) -> None:
        """Take in whether the publisher lives."""
        self._life = liveness.state
        self._silence = silence(liveness)
        self._fresh_ns = round(2e9 * liveness.heartbeat_s)

    def note(self, message: Message, gaps: int = 0) -> None:
        """Take in one message; `gaps` is what its stream misses so far."""
        if message.stream == PUBLISHER:
            return
        stream = self._streams.setdefault(message.stream, _Stream())
        stream.gaps = gaps
        if isinstance(message, StatusMessage):
            stream.state, stream.cause = _printable(str(message.state)), _printable(message.cause)
        elif isinstance(message, StatsMessage):
            stream.stats = message.stats
        elif isinstance(message, FrameMessage):
            stream.faces = message.faces
            stream.size = "{}x{}".format(*message.frame_size_wh)
            stream.age_ns = age_at_arrival(message, self._local)
            stream.last_ns = message.received_ns
            stream.spans_ns = message.spans_ns
            if message.seq != stream.seq:  # several kinds tell of one frame
                stream.seq = message.seq
                stream.arrivals.append(message.received_ns)

    def table(self, title: str, now_ns: int, width: int) -> Text:
        """A line for each stream and below it its cause and one for each face.

        Names and causes are whole: what is too long for a line gets further lines. A wider
        terminal shows more of each stream and face.
        """
        from rich.text import Text

        lines = [*map(Text, textwrap.wrap(_printable(title), width) or [""])]
        rows = self._rows(now_ns)
        if rows:
            room = width - len(_GAP) - _STATE_WIDTH
            columns = _columns_in(room - max(len(row.name) for row in rows))
            used = sum(len(_GAP) + _COLUMNS[name] for name in columns)
            names = max(len("stream"), min(max(len(row.name) for row in rows), room - used))
            heading = _GAP.join(
                [f"{'state':{_STATE_WIDTH}}", *(f"{c:>{_COLUMNS[c]}}" for c in columns)]
            )
            lines.append(Text(f"{'stream':{names}}{_GAP}{heading}", style="bold"))
            for row in rows:
                lines += _drawn(row, columns, names, width)
        table = Text("\n", no_wrap=True, overflow="ignore").join(lines)
        table.no_wrap, table.overflow = True, "ignore"
        return table

    def lines(self, now_ns: int) -> list[str]:
        """The same for programs: `stream state key=value ...`, of the largest face, cause last."""
        return [self._line(row) for row in self._rows(now_ns)]

    def _line(self, row: _Row) -> str:
        cells = row.cells
        words = [row.name, row.state]
        words += [
            f"{key}={cells[name]}{unit}"
            for key, name, unit in (
                ("frame", "frame px", ""),
                ("fps", "fps", ""),
                ("faces", "faces", ""),
            )
            if cells[name]
        ]
        largest = max(row.faces, key=_area, default=None)
        if largest is not None:
            pose = largest.pose
            words += [f"yaw={pose.yaw:+.1f}", f"pitch={pose.pitch:+.1f}", f"roll={pose.roll:+.1f}"]
        if cells["age ms"]:
            words.append(f"age={cells['age ms']}ms")
        words.append(f"gaps={cells['drops']}")
        if largest is not None and (strongest := _strongest(largest, 1)):
            words.append(f"strongest={strongest[0].replace(' ', ':')}")
        if row.cause:
            words.append(f'cause="{row.cause}"')
        return " ".join(words)

    def _rows(self, now_ns: int) -> list[_Row]:
        return [self._row(name, stream, now_ns) for name, stream in sorted(self._streams.items())]

    def _row(self, name: str, stream: _Stream, now_ns: int) -> _Row:
        cells = dict.fromkeys(_COLUMNS, "")
        cells["frame px"], cells["drops"] = stream.size, str(stream.gaps)
        if self._silence:
            state = "silent" if self._life is Life.SILENT else "ended"
            return _Row(name, state, self._silence, cells, ())
        cells |= {
            "dropped by engine": stream.stat("dropped"),
            "reconnects": stream.stat("reconnects"),
        }
        if now_ns - stream.last_ns > self._fresh_ns:  # what was seen before is no news
            cells["fps"] = "0.0"
            return _Row(name, stream.state, stream.cause, cells, ())
        cells |= {
            "fps": f"{stream.fps(now_ns):.1f}",
            "age ms": "" if stream.age_ns is None else f"{stream.age_ns / 1e6:.1f}",
            "faces": str(len(stream.faces)),
            "p50 ms": stream.stat("latency_p50_ms", 1),
            "p99 ms": stream.stat("latency_p99_ms", 1),
            "network ms": _span(stream, "network"),
            "geometry ms": _span(stream, "geometry"),
            "frame number": str(stream.seq),
        }
        return _Row(name, stream.state, stream.cause, cells, stream.faces)


def _columns_in(room: int) -> list[str]:
    """The columns to show where so many characters are left beside the longest name."""
    shown = []
    for place, (name, width) in enumerate(_COLUMNS.items()):
        room -= len(_GAP) + width
        if place >= _ALWAYS and room < 0:
            break
        shown.append(name)
    return shown


def _drawn(row: _Row, columns: list[str], names: int, width: int) -> list[Text]:
    """The lines of one stream."""
    from rich.text import Text

    lines = []
    name = row.name
    if len(name) > names:
        # Alone on lines of its own, whole.
        lines += [Text(name[at : at + width], style="bold") for at in range(0, len(name), width)]
        name = ""
    first = Text(f"{name:{names}}{_GAP}", style="bold")
    first.append(f"{row.state:{_STATE_WIDTH}}", style=f"not bold {_STYLES.get(row.state, '')}")
    cells = "".join(f"{_GAP}{row.cells[column]:>{_COLUMNS[column]}}" for column in columns)
    lines.append(first.append(cells, style="not bold"))
    lines += [
        Text(f"{_GAP}{part}", style=_STYLES.get(row.state, ""))
        for part in textwrap.wrap(row.cause, width - len(_GAP), break_on_hyphens=False)
    ]
    lines += [Text(_face_line(face, width)) for face in sorted(row.faces, key=lambda one: one.id)]
    return lines


def _face_line(face: Face, width: int) -> str:
    pose = face.pose
    line = _GAP.join(
        [
            f"{_GAP}face {face.id:<3}",
            f"score {face.score:.2f}",
            f"yaw {pose.yaw:+6.1f}°",
            f"pitch {pose.pitch:+6.1f}°",
            f"roll {pose.roll:+6.1f}°",
        ]
    )
    for further in _FURTHER:
        cell = further(face)
        if cell and len(line) + len(_GAP) + len(cell) <= width:
            line += _GAP + cell
    return line


def _gaze_cell(face: Face) -> str:
    if face.gaze is None:
        return ""
    eyes = (face.gaze.right, face.gaze.left)
    yaw, pitch = (sum(getattr(eye, axis) for eye in eyes) / 2 for axis in ("yaw", "pitch"))
    openness = " ".join(f"{eye.openness:.2f}" for eye in eyes)
    return f"gaze {yaw:+5.1f}° {pitch:+5.1f}°{_GAP}open {openness}"


def _box_cell(face: Face) -> str:
    x0, y0, x1, y1 = face.box_xyxy.tolist()
    return f"{x1 - x0:.0f}x{y1 - y0:.0f} px at {(x0 + x1) / 2:.0f},{(y0 + y1) / 2:.0f}"


def _expression_cell(first: int, last: int) -> Callable[[Face], str]:
    return lambda face: _GAP.join(_strongest(face, last)[first:])


#: What a face's line has besides, the most wanted first.
_FURTHER: tuple[Callable[[Face], str], ...] = (
    _expression_cell(0, 1),
    _gaze_cell,
    _box_cell,
    _expression_cell(1, _EXPRESSIONS),
)


def _span(stream: _Stream, name: str) -> str:
    return f"{stream.spans_ns[name] / 1e6:.1f}" if name in stream.spans_ns else ""


def _area(face: Face) -> float:
    x0, y0, x1, y1 = face.box_xyxy.tolist()
    area = (x1 - x0) * (y1 - y0)
    return float(area) if math.isfinite(area) else 0.0


def _printable(text: str) -> str:
    """A text from the network, without control characters that a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _strongest(face: Face, count: int) -> list[str]:
    """The expressions that a face shows most, with how much; those that are to be seen at all."""
    if face.blendshapes is None or not np.isfinite(face.blendshapes).all():
        return []
    places = np.argsort(-face.blendshapes, kind="stable")[:count].tolist()
    shown = [(BLENDSHAPES[place], float(face.blendshapes[place])) for place in places]
    return [f"{name} {value:.2f}" for name, value in shown if value >= _SHOWN_BLENDSHAPE]
