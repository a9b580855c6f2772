"""What a client may do with the streams of all workers; the same calls as of one pipeline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from streamprn.cluster.calls import ask, streams_of
from streamprn.config.address import free_name
from streamprn.config.convert import plain
from streamprn.errors import StreamPRNError
from streamprn.live.streams import no_such_stream
from streamprn.records import SourceState
from streamprn.redact import HIDDEN, redact_text
from streamprn.serve.control import (
    FINE,
    check_room,
    reloaded,
    shown_settings,
    source_from_body,
)
from streamprn.serve.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from streamprn.cluster.crew import Crew
    from streamprn.config import SourceConfig
    from streamprn.config.address import Address
    from streamprn.serve.reload import Reloader

__all__ = ["CrewStreams", "FrontControl"]

#: How long a worker may take to say whether it can take a stream.
TAKE_S = 5.0


class Named(NamedTuple):
    """A stream and its settings."""

    name: str
    source: SourceConfig


class CrewStreams:
    """The streams of all workers, for `Reloader`. Any thread may call any method."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    def __iter__(self) -> Iterator[Named]:
        return iter([Named(name, source) for name, source in self._crew.sources.items()])

    def find(self, name: str) -> SourceConfig:
        """The settings of a stream.

        Raises:
            NoSuchStreamError: there is none of this name.
        """
        sources = self._crew.sources
        if name not in sources:
            raise no_such_stream(name, tuple(sources))
        return sources[name]

    def add(self, source: SourceConfig) -> str:
        """Add a stream, which has a name.

        Raises:
            StreamExistsError: the name is taken.
        """
        assert source.name is not None
        self._crew.add(source)
        return source.name

    def remove(self, name: str) -> None:
        """Remove a stream.

        Raises:
            NoSuchStreamError: there is none of this name.
        """
        self.find(name)
        self._crew.remove(name)

    def reconfigure(self, name: str, changes: Mapping[str, Any]) -> None:
        """Change settings of a stream, at its worker and wherever it goes.

        Raises:
            NoSuchStreamError: there is none of this name.
            ProblemError: its worker refuses; then nothing has changed.
        """
        source = replace(self.find(name), **changes)
        # One that its worker could not take is given away anew by `keep`.
        if self._crew.member_of(name) is not None and self._crew.problem(name) is None:
            ask(self._crew, name, "change", name, plain(source))
        self._crew.keep(source, paused=self._crew.paused(name))


class FrontControl:
    """Lists and changes the streams of all workers; see `serve.control.Control`.

    Args:
        crew: the workers.
        reloader: reads the configuration file again.
        check: of a new source before a worker gets it; gives its address.
    """

    def __init__(
        self, crew: Crew, reloader: Reloader, check: Callable[[SourceConfig], Address]
    ) -> None:
        self._crew = crew
        self._streams = CrewStreams(crew)
        self._reloader = reloader
        self._check = check

    def streams(self) -> list[dict[str, Any]]:
        """Every stream; see `stream`."""
        members = self._crew.members
        now = streams_of(members)
        reported = self._crew.reports()
        shown = []
        for name, source in self._crew.sources.items():
            member = self._crew.member_of(name)
            slot = member.slot if member is not None else ""
            mine = (one for one in now.get(slot, ()) if one["name"] == name)
            one = next(mine, None) or reported.get(name) or self._waiting(name, source)
            shown.append({**one, "worker": slot})
        return shown

    def stream(self, name: str) -> dict[str, Any]:
        """How a stream stands, its settings without credentials, and its worker.

        Raises:
            NoSuchStreamError: there is none of this name.
        """
        self._streams.find(name)
        for one in self.streams():
            if one["name"] == name:
                return one
        self._streams.find(name)  # it went meanwhile
        raise AssertionError(name)

    def exists(self, name: str) -> bool:
        """Whether there is a stream of this name."""
        return name in self._crew.names

    def add(self, body: object) -> dict[str, Any]:
        """Add a stream; the worker with the least to do gets it.

        Args:
            body: keys of an item of `sources`.

        Raises:
            ProblemError: there are too many streams, or the worker refuses it.
            StreamPRNError: a key or value cannot be used, or the name is taken.
        """
        source = source_from_body({}, body)
        address = self._check(source)
        with self._reloader.lock:
            names = self._crew.names
            check_room(len(names))
            name = source.name or free_name(address.name, names)
            self._streams.add(replace(source, name=name))
            problem = self._crew.settled(name, TAKE_S)
            if problem is not None:
                self._crew.remove(name)
                raise ProblemError(problem.key, problem.detail, problem.next_step)
            return self.stream(name)

    def change(self, name: str, body: object) -> dict[str, Any]:
        """Change settings of a stream; see `Control.change`.

        Raises:
            ProblemError: its worker refuses, or does not answer.
            StreamPRNError: there is no such stream, or a key or value cannot be used.
        """
        with self._reloader.lock:
            before = self._streams.find(name)
            settings = plain(before)
            assert isinstance(settings, dict)
            source = source_from_body(settings, body)
            self._check(source)
            changed = plain(source)
            assert isinstance(changed, dict)
            keys = [key for key in changed if changed[key] != settings.get(key)]
            if keys:
                self._streams.reconfigure(name, {key: getattr(source, key) for key in keys})
            return self.stream(name)

    def remove(self, name: str) -> None:
        """Remove a stream.

        Raises:
            NoSuchStreamError: there is none of this name.
        """
        with self._reloader.lock:
            self._streams.remove(name)

    def pause(self, name: str) -> dict[str, Any]:
        """Pause a stream, wherever it goes; returns how it stands then, or after a second.

        Raises:
            NoSuchStreamError: there is none of this name.
            WorkerGoneError: its worker does not answer; the next one gets it paused.
        """
        return self._set(name, "pause", paused=True)

    def resume(self, name: str) -> dict[str, Any]:
        """Let a stream go on; see `pause`.

        Raises:
            NoSuchStreamError: there is none of this name.
            WorkerGoneError: its worker does not answer; the next one gets it running.
        """
        return self._set(name, "resume", paused=False)

    def reload(self) -> dict[str, Any]:
        """Read the configuration file again.

        Raises:
            StreamPRNError: there is none, or it cannot be used; then nothing has changed.
        """
        return reloaded(self._reloader)

    def not_ready(self) -> list[dict[str, str]]:
        """The streams that must be live and are not, with their states."""
        return [
            {key: one[key] for key in ("name", "state", "cause")}
            for one in self.streams()
            if one["source"]["required"] and one["state"] not in FINE
        ]

    def _set(self, name: str, action: str, *, paused: bool) -> dict[str, Any]:
        self._crew.keep(self._streams.find(name), paused=paused)
        if self._crew.member_of(name) is not None and self._crew.problem(name) is None:
            ask(self._crew, name, action, name)
        return self.stream(name)

    def _waiting(self, name: str, source: SourceConfig) -> dict[str, Any]:
        """A stream that no worker shows: none has it yet, or its worker could not take it."""
        problem = self._crew.problem(name)
        state = SourceState.CONNECTING if problem is None else SourceState.FAILED
        try:
            uri = self._check(source).safe_uri
        except StreamPRNError:  # what cannot be read now may hold a secret anywhere
            uri = HIDDEN
        return {
            "name": name,
            "state": str(state),
            "cause": redact_text(problem.detail) if problem else "it waits for a worker",
            "attempt": 0,
            **dict.fromkeys(("frames", "faces", "dropped", "corrupt", "reconnects"), 0),
            "fps": 0.0,
            "last_frame_age_s": None,
            "latency_ms": {},
            "source": shown_settings(source, uri),
        }
