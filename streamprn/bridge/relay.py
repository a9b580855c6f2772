"""From a publisher to an output: one stream of it, some of its faces, no faster than asked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from streamprn.apps.liveness import silence
from streamprn.apps.narrow import Narrow
from streamprn.errors import InputError
from streamprn.records import PUBLISHER, Kind
from streamprn.wire import FaceMessage, Message, StatusMessage
from streamprn.wire.subscribe import Subscriber

if TYPE_CHECKING:
    from streamprn.bridge.output import Output
    from streamprn.wire import Face
    from streamprn.wire.bind import CurveKeys

__all__ = ["Choice", "Relay"]

_KINDS = (Kind.FACE, Kind.BLENDSHAPES, Kind.GAZE, Kind.STATUS)
_TICK_S = 0.1
#: Without a frame for so long the output is told, and then as often.
_IDLE_S = 1.0
#: For the streams of a publisher to make themselves known.
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Choice:
    """Which faces of a frame go on.

    Attributes:
        face: "largest", "all", or the id of one.
    """

    face: str | int = "largest"

    def of(self, faces: Sequence[Face]) -> Sequence[Face]:
        """Those chosen, perhaps none."""
        if self.face == "all":
            return faces
        if self.face == "largest":
            return sorted(faces, key=_area, reverse=True)[:1]
        return [face for face in faces if face.id == self.face]


class Relay:
    """Subscribes to one stream and gives its frames to an output until it is told to stop.

    Args:
        endpoint: of the publisher, which may start later and start again.
        stream: its stream; None takes the only one.
        choice: of faces.
        rate_hz: frames a second at most; None passes on all.
        server_key: the publisher's public CURVE key, where it encrypts.
        client_keys: our own, where the publisher lists its clients.
        say: told what changes, in words.
    """

    def __init__(
        self,
        endpoint: str,
        stream: str | None,
        choice: Choice,
        *,
        rate_hz: float | None = None,
        server_key: str | None = None,
        client_keys: CurveKeys | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.endpoint = endpoint
        self.sent = 0
        self._stream = stream
        self._choice = choice
        self._step_s = 0.0 if rate_hz is None else 1.0 / rate_hz
        self._keys = server_key, client_keys
        self._say = say
        self._state = self._said = ""
        self._due_s = self._heard_s = self._told_s = -math.inf

    def run(
        self, open_output: Callable[[str], Output], stop: Event, duration_s: float | None = None
    ) -> None:
        """Pass on frames until `stop` is set or the time is over.

        Args:
            open_output: makes the output once the name of the stream is known; closed at the end.
            stop: ends it within a tenth of a second.
            duration_s: None goes on for ever.

        Raises:
            InputError: there are several streams and none was named, or the output cannot be used.
        """
        until = math.inf if duration_s is None else time.monotonic() + duration_s

        def over() -> bool:
            return stop.is_set() or time.monotonic() >= until

        stream = self._stream or self._only_stream(over)
        if stream is None:
            return
        output = open_output(stream)
        try:
            with self._subscribe(_topics(stream), newest=output.newest) as subscriber:
                self._tell(f"waiting for {stream} from {self.endpoint}")
                while not over():
                    self._step(subscriber, output, stream)
        finally:
            output.close()

    def _subscribe(self, topics: Sequence[str], *, newest: bool) -> Subscriber:
        key, client = self._keys
        return Subscriber(self.endpoint, topics, newest=newest, server_key=key, client_keys=client)

    def _only_stream(self, over: Callable[[], bool]) -> str | None:
        """The name of the publisher's stream; None where it is over before there was one."""
        self._tell(f"waiting for {self.endpoint}")
        names: set[str] = set()
        since = math.inf
        with self._subscribe(("",), newest=True) as subscriber:
            narrow = Narrow(subscriber, _KINDS)
            while time.monotonic() - since < _LOOK_S:
                if over():
                    return None
                message = subscriber.receive(_TICK_S)
                narrow.hear(message)
                if message is not None and message.stream != PUBLISHER:
                    names.add(message.stream)
                    since = min(since, time.monotonic())
        if len(names) > 1:
            raise InputError(
                f"{self.endpoint} has several streams: {', '.join(sorted(names))}",
                hint=f"choose one: --stream {min(names)}",
            )
        return names.pop()

    def _step(self, subscriber: Subscriber, output: Output, stream: str) -> None:
        message = subscriber.receive(_TICK_S)
        now = time.monotonic()
        if isinstance(message, FaceMessage):
            self._heard_s = now
            if now >= self._due_s:
                self._pass_on(message, output, now)
        elif message is not None:
            self._note(message)
        if now - max(self._heard_s, self._told_s) >= _IDLE_S:
            self._told_s = now
            output.idle()
            why = silence(subscriber.liveness()) or self._state or "no frames"
            self._tell(f"{stream}: {_without_count(why)}; waiting for it to go on")

    def _pass_on(self, message: FaceMessage, output: Output, now: float) -> None:
        # From when it was due, so that the rate is kept on average.
        self._due_s = max(self._due_s + self._step_s, now - self._step_s)
        output.send(message, self._choice.of(message.faces))
        self.sent += not output.error
        problem = f", but nothing is sent: {output.error}" if output.error else ""
        self._tell(f"{message.stream} goes to {output.target}{problem}")

    def _note(self, message: Message) -> None:
        if isinstance(message, StatusMessage):
            live = str(message.state) == "live"
            self._state = "" if live else " ".join(f"{message.state} {message.cause}".split())

    def _tell(self, words: str) -> None:
        if words != self._said:
            self._said = words
            self._say(words)


def _topics(stream: str) -> list[str]:
    return [f"{stream}/{kind.value}" for kind in _KINDS]


def _without_count(why: str) -> str:
    """A silence without its seconds, which would be news every second."""
    return "silent" if why.startswith("silent") else why


def _area(face: Face) -> float:
    x0, y0, x1, y1 = face.box_xyxy.tolist()
    area = float((x1 - x0) * (y1 - y0))
    return area if math.isfinite(area) else 0.0
