"""What a client may do with the streams, as plain calls that give plain values."""

from __future__ import annotations

import json
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NoReturn

from streamprn.config import SourceConfig
from streamprn.config.convert import build, plain
from streamprn.config.schema import MAX_SOURCES
from streamprn.errors import ConfigError
from streamprn.records import SourceState
from streamprn.redact import HIDDEN, redact_text
from streamprn.serve.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from streamprn.live.stream import Stream
    from streamprn.live.streams import Streams
    from streamprn.serve.reload import Reloader
    from streamprn.serve.timings import Timings

__all__ = [
    "FINE",
    "Control",
    "check_room",
    "parse_json",
    "reloaded",
    "shown_settings",
    "source_from_body",
]

#: How long a pause may take to show in the answer; a camera may be in the middle of connecting.
SETTLE_S = 1.0
#: States of a stream for which nobody has to wait.
FINE = (SourceState.LIVE, SourceState.PAUSED, SourceState.ENDED)


class Control:
    """Lists and changes streams. Any thread may call any method.

    Args:
        streams: of the pipeline.
        reloader: reads the configuration file again.
        timings: of their frames.
    """

    def __init__(self, streams: Streams, reloader: Reloader, timings: Timings) -> None:
        self._streams = streams
        self._reloader = reloader
        self._timings = timings

    def streams(self) -> list[dict[str, Any]]:
        """Every stream; see `stream`."""
        return [self._shown(stream) for stream in self._streams]

    def stream(self, name: str) -> dict[str, Any]:
        """How a stream stands, and its settings without credentials.

        Raises:
            NoSuchStreamError: there is none of this name.
        """
        return self._shown(self._streams.find(name))

    def exists(self, name: str) -> bool:
        """Whether there is a stream of this name."""
        return name in self._streams.names

    def add(self, body: object) -> dict[str, Any]:
        """Add a stream.

        Args:
            body: keys of an item of `sources`.

        Raises:
            ProblemError: there are too many streams.
            StreamPRNError: a key or value cannot be used, or the name is taken.
        """
        source = source_from_body({}, body)
        with self._reloader.lock:
            check_room(len(self._streams))
            # A new stream does not inherit the figures of one that had its name.
            self._timings.keep(self._streams.names)
            return self.stream(self._streams.add(source))

    def change(self, name: str, body: object) -> dict[str, Any]:
        """Change settings of a stream; it is opened again where one of them differs.

        Args:
            name: of the stream; it stays.
            body: keys of an item of `sources` with their new values.

        Raises:
            StreamPRNError: there is no such stream, or a key or value cannot be used.
        """
        with self._reloader.lock:
            stream = self._streams.find(name)
            settings = plain(stream.source)
            assert isinstance(settings, dict)
            source = source_from_body(settings, body)
            changes = {
                field.name: getattr(source, field.name)
                for field in fields(SourceConfig)
                if getattr(source, field.name) != getattr(stream.source, field.name)
            }
            if changes:
                paused = stream.reader.status.state is SourceState.PAUSED
                self._streams.reconfigure(name, changes)
                if paused:
                    self._streams.pause(name)
            return self.stream(name)

    def remove(self, name: str) -> None:
        """Remove a stream.

        Raises:
            NoSuchStreamError: there is none of this name.
        """
        with self._reloader.lock:
            self._streams.remove(name)

    def pause(self, name: str) -> dict[str, Any]:
        """Pause a stream; returns how it stands then, or after a second.

        Raises:
            NoSuchStreamError: there is none of this name.
        """
        self._streams.pause(name)
        return self._settled(name, lambda state: state is SourceState.PAUSED)

    def resume(self, name: str) -> dict[str, Any]:
        """Let a stream go on; returns how it stands then, or after a second.

        Raises:
            NoSuchStreamError: there is none of this name.
        """
        self._streams.resume(name)
        return self._settled(name, lambda state: state is not SourceState.PAUSED)

    def reload(self) -> dict[str, Any]:
        """Read the configuration file again.

        Raises:
            StreamPRNError: there is none, or it cannot be used; then nothing has changed.
        """
        return reloaded(self._reloader)

    def not_ready(self) -> list[dict[str, str]]:
        """The streams that must be live and are not, with their states."""
        return [
            {
                "name": stream.name,
                "state": str(stream.reader.status.state),
                "cause": redact_text(stream.reader.status.cause),
            }
            for stream in self._streams
            if stream.source.required and stream.reader.status.state not in FINE
        ]

    def _settled(self, name: str, good: Callable[[SourceState], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + SETTLE_S
        while True:
            stream = self._streams.find(name)
            over = stream.reader.status.state in (SourceState.ENDED, SourceState.FAILED)
            if over or good(stream.reader.status.state) or time.monotonic() > deadline:
                return self._shown(stream)
            time.sleep(0.005)

    def _shown(self, stream: Stream) -> dict[str, Any]:
        status, counted = stream.reader.status, stream.summary()
        age_s = self._timings.age_s(stream.name)
        return {
            "name": stream.name,
            "state": str(status.state),
            "cause": redact_text(stream.reader.status.cause),
            "attempt": status.attempt,
            "frames": counted.frames,
            "faces": counted.faces,
            "dropped": counted.dropped,
            "corrupt": counted.corrupt,
            "reconnects": counted.reconnects,
            "fps": round(stream.statistics.recent_fps(), 2),
            "last_frame_age_s": None if age_s is None else round(age_s, 3),
            "latency_ms": {name: round(ms, 3) for name, ms in counted.latency_ms.items()},
            "source": shown_settings(stream.source, stream.reader.address.safe_uri),
        }


def check_room(streams: int) -> None:
    """Refuse one stream more than `streams` where these are as many as there may be.

    Raises:
        ProblemError: they are.
    """
    if streams >= MAX_SOURCES:
        raise ProblemError(
            "too-many-streams",
            f"there are {streams} streams, the most that one engine takes",
            "remove one, or start another engine",
        )


def reloaded(reloader: Reloader) -> dict[str, Any]:
    """Read the configuration file again; what came of it.

    Raises:
        StreamPRNError: there is none, or it cannot be used; then nothing has changed.
    """
    done = reloader.reload()
    return {
        **{field: list(names) for field, names in done.counted()},
        "needs_restart": list(done.needs_restart),
    }


def shown_settings(source: SourceConfig, safe_uri: str) -> dict[str, Any]:
    """The settings of a source without its credentials.

    Args:
        source: with them.
        safe_uri: see `Address.safe_uri`.
    """
    settings = plain(source)
    assert isinstance(settings, dict)
    settings["uri"] = safe_uri
    settings["options"] = dict.fromkeys(settings["options"], HIDDEN)
    return settings


def source_from_body(settings: Mapping[str, Any], body: object) -> SourceConfig:
    """A source with the keys of a body laid over its settings, checked as config.yaml is."""
    if not isinstance(body, dict):
        raise ConfigError(
            f"expected an object of keys, got {type(body).__name__}",
            where="body",
            hint='e.g. {"uri": "rtsp://camera.local/stream", "name": "door"}',
        )
    for key in ("uri", "options"):
        if HIDDEN in str(body.get(key, "")):
            raise ConfigError(
                f"holds {HIDDEN}, which stands for what is not shown",
                where=f"body: {key}",
                hint="leave the key out to keep its value",
            )
    if settings and body.get("name", settings["name"]) != settings["name"]:
        raise ConfigError(
            "a stream keeps its name", where="body: name", hint="remove it, and add another one"
        )
    return build(SourceConfig, {**settings, **body}, "body")


def parse_json(data: bytes) -> object:
    """One JSON value, without the freedoms that Python's own parser takes.

    Raises:
        ProblemError: it is not UTF-8, not JSON, or has a key twice.
    """
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise ProblemError(
            "bad-request", f"the body is not JSON: {reason}", 'e.g. {"uri": "testsrc2"}'
        ) from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")
