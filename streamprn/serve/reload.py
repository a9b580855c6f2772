"""The configuration file again: streams that were added, removed or changed in it."""

from __future__ import annotations

import dataclasses
import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from streamprn.config.secrets import address_of
from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from streamprn.config import Config, SourceConfig

__all__ = ["NoConfigurationError", "Reloaded", "Reloader", "StreamSet"]

log = logging.getLogger("streamprn.serve")


class NoConfigurationError(InputError):
    """A reload was asked of a program that was started without a configuration file."""


class Named(Protocol):
    """A stream."""

    @property
    def name(self) -> str:
        """By which all know it."""

    @property
    def source(self) -> SourceConfig:
        """Its settings."""


class StreamSet(Protocol):
    """Streams that can be changed; see `live.streams.Streams`."""

    def __iter__(self) -> Iterator[Named]: ...

    def add(self, source: SourceConfig) -> str:
        """Add a stream; returns its name."""

    def remove(self, name: str) -> None:
        """Remove a stream."""

    def reconfigure(self, name: str, changes: Mapping[str, Any]) -> None:
        """Change settings of a stream."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload did.

    Attributes:
        added: names of streams that are new.
        removed: that the file no longer names.
        changed: that were opened again with other settings.
        unchanged: that went on as they were.
        needs_restart: settings that differ, and count only from the next start on.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    needs_restart: tuple[str, ...]

    def __str__(self) -> str:
        parts = (f"{len(names)} {field}" for field, names in self.counted() if names)
        return ", ".join(parts) or "there is no stream"

    def counted(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Names by what happened to them."""
        fields = ("added", "removed", "changed", "unchanged")
        return tuple((field, getattr(self, field)) for field in fields)


class Reloader:
    """Makes the streams those of the configuration file, as it is now.

    The streams of the file get the settings of the file; those that were added by other means
    stay as they are. Any thread may call.

    Args:
        streams: of the pipeline, or of all workers.
        config: that is run.
        read_again: reads the file with the flags laid over it; None where there is no file.
        check: of a source before anything changes.

    Attributes:
        lock: held while streams are changed; whoever else changes some holds it too.
    """

    def __init__(
        self,
        streams: StreamSet,
        config: Config,
        read_again: Callable[[], Config] | None,
        check: Callable[[SourceConfig], object] = address_of,
    ) -> None:
        self.lock = threading.Lock()
        self._streams = streams
        self._started = self._config = config
        self._read_again = read_again
        self._check = check

    def reload(self) -> Reloaded:
        """Read the file and do what it says; where it has an error, nothing changes.

        Raises:
            NoConfigurationError: there is no file.
            ConfigError: it cannot be used.
            StreamPRNError: a source in it cannot be used.
        """
        if self._read_again is None:
            raise NoConfigurationError(
                "there is no configuration file to read again",
                hint="start with `streamprn run --config FILE`",
            )
        with self.lock:
            config = self._read_again()
            wanted, before = _sources(config), _sources(self._config)
            running = {stream.name: stream.source for stream in self._streams}
            new = [name for name in wanted if name not in running]
            changed = [name for name in wanted if name in running and wanted[name] != running[name]]
            # All that may be wrong comes to light before anything changes.
            for name in (*new, *changed):
                self._check(wanted[name])
            gone = [name for name in before if name in running and name not in wanted]
            for name in gone:
                self._streams.remove(name)
            for name in changed:
                self._streams.reconfigure(name, _differences(running[name], wanted[name]))
            for name in new:
                self._streams.add(wanted[name])
            same = [name for name in wanted if name not in (*new, *changed)]
            self._config = config
            done = Reloaded(
                added=tuple(new),
                removed=tuple(gone),
                changed=tuple(changed),
                unchanged=tuple(same),
                needs_restart=tuple(_other_settings(self._started, config)),
            )
        log.info("reloaded: %s", done)
        for key in done.needs_restart:
            log.warning("%s has changed; it counts from the next start on", key)
        return done


def _sources(config: Config) -> dict[str, SourceConfig]:
    names = config.stream_names()
    return {
        name: replace(source, name=name) for name, source in zip(names, config.sources, strict=True)
    }


def _differences(old: SourceConfig, new: SourceConfig) -> Mapping[str, object]:
    fields = (field.name for field in dataclasses.fields(new))
    return {name: getattr(new, name) for name in fields if getattr(new, name) != getattr(old, name)}


def _other_settings(old: Config, new: Config) -> list[str]:
    """Dotted keys outside of `sources` that differ."""
    return list(_differing(old.to_mapping() | {"sources": []}, new.to_mapping() | {"sources": []}))


def _differing(old: Mapping[str, object], new: Mapping[str, object], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            found += _differing(before, value, f"{prefix}{key}.")
        elif value != before:
            found.append(f"{prefix}{key}")
    return found
