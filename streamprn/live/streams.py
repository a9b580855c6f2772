"""The streams of a pipeline: added, removed, paused and changed while the loops run."""

from __future__ import annotations

import difflib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from streamprn.config import SourceConfig
from streamprn.config.address import free_name
from streamprn.config.secrets import address_of
from streamprn.errors import ConfigError, NoSuchStreamError, StreamExistsError
from streamprn.live.stream import Stream, log_status
from streamprn.records import SourceState, SourceStatus

if TYPE_CHECKING:
    from streamprn.live.stream import StreamMaker
    from streamprn.wire.publish import Publisher

__all__ = ["Streams", "no_such_stream"]

#: How long the threads of all streams together may take to end.
STOP_TIMEOUT_S = 0.5


class Streams:
    """All streams, in the order in which they were added. Any thread may call any method.

    No call waits for a camera, a network or another stream.

    Args:
        maker: makes them.
        publisher: told of their states.
        ready: notified when a frame waits, or a stream comes or goes.
    """

    def __init__(
        self, maker: StreamMaker, publisher: Publisher, ready: threading.Condition
    ) -> None:
        self.ready = ready
        self.on_event: Callable[[SourceStatus], None] | None = None
        self.on_removed: Callable[[str], None] = lambda name: None
        self._maker = maker
        self._publisher = publisher
        # Replaced, never changed: the look loop reads it without a lock.
        self._streams: tuple[Stream, ...] = ()
        self._leaving: list[Stream] = []
        self._lock = threading.Lock()
        self._running = False

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all streams."""
        return tuple(stream.name for stream in self._streams)

    @property
    def ended(self) -> bool:
        """Whether there are streams, and none of them has or will have another frame."""
        streams = self._streams
        return bool(streams) and all(stream.channel.drained for stream in streams)

    def find(self, name: str) -> Stream:
        """The stream of a name.

        Raises:
            NoSuchStreamError: there is none.
        """
        for stream in self._streams:
            if stream.name == name:
                return stream
        raise no_such_stream(name, self.names)

    def add(self, source: SourceConfig | str) -> str:
        """Add a stream; it is read at once where the pipeline runs.

        Args:
            source: its settings, or its `uri` alone.

        Returns:
            Its name: the one in the settings, or one made from the address.

        Raises:
            InputError: the address cannot be used.
            StreamExistsError: the name is taken.
            SourceError: a file does not exist.
        """
        if isinstance(source, str):
            source = SourceConfig(uri=source)
        address = address_of(source)
        with self._lock:
            name = source.name or free_name(address.name, self.names)
            if name in self.names:
                raise StreamExistsError(
                    f"there is a stream {name!r} already", hint="remove it, or choose another name"
                )
            stream = self._maker.make(source, address.renamed(name), self._on_status)
            self._put((*self._streams, stream))
            if self._running:
                stream.reader.start()
        return name

    def remove(self, name: str) -> None:
        """Remove a stream; nothing of it is published after the state `ended`.

        Raises:
            NoSuchStreamError: there is no such stream.
        """
        with self._lock:
            stream = self.find(name)
            self._put(tuple(one for one in self._streams if one is not stream))
            self._leave(stream)
        ended = SourceStatus(name, SourceState.ENDED, "removed", wall_ns=time.time_ns())
        with stream.lock:
            stream.gone = True
            self._publisher.publish_status(ended)
            self._publisher.forget(name)
        self.on_removed(name)
        self._tell(ended)

    def pause(self, name: str) -> None:
        """Stop reading a stream until `resume`: a camera is let go, a file keeps its place.

        Raises:
            NoSuchStreamError: there is no such stream.
        """
        self.find(name).reader.pause()

    def resume(self, name: str) -> None:
        """Go on reading a stream that was paused.

        Raises:
            NoSuchStreamError: there is no such stream.
        """
        self.find(name).reader.resume()

    def reconfigure(self, name: str, changes: Mapping[str, Any]) -> None:
        """Change settings of a stream, which is opened again; its frames and ids count on.

        Args:
            name: of the stream; it stays.
            changes: keys of `SourceConfig` with their new values.

        Raises:
            NoSuchStreamError: there is no such stream.
            InputError: a setting cannot be used.
            SourceError: a file does not exist.
        """
        with self._lock:
            old = self.find(name)
            if changes.get("name", name) != name:
                raise ConfigError(
                    f"{name}: a stream keeps its name", hint="remove it, and add another one"
                )
            known = SourceConfig.__dataclass_fields__
            for key in changes:
                if key not in known:
                    near = difflib.get_close_matches(key, known, 1)
                    hint = f"did you mean {near[0]!r}?" if near else ""
                    raise ConfigError("unknown key", where=f"{name}.{key}", hint=hint)
            source = replace(old.source, **changes)
            address = address_of(source).renamed(name)
            with old.lock:
                old.gone = True
            new = self._maker.make(
                source,
                address,
                self._on_status,
                first_seq=old.reader.next_seq,
                first_id=old.follower.next_id,
            )
            self._put(tuple(new if one is old else one for one in self._streams))
            self._leave(old)
            if self._running:
                new.reader.start()

    def start(self) -> None:
        """Start to read all streams, and each one that is added from now on."""
        with self._lock:
            self._running = True
            for stream in self._streams:
                stream.reader.start()

    def stop(self) -> None:
        """End all readers; those that do not end in half a second are left to themselves."""
        with self._lock:
            self._running = False
            streams = (*self._streams, *self._leaving)
        for stream in streams:
            stream.stop()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for stream in streams:
            stream.reader.stop(timeout=max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """End everything that belongs to streams."""
        self.stop()
        for stream in (*self._streams, *self._leaving):
            stream.follower.close()

    def _put(self, streams: tuple[Stream, ...]) -> None:
        self._streams = streams
        with self.ready:
            self.ready.notify_all()

    def _leave(self, stream: Stream) -> None:
        self._leaving = [one for one in self._leaving if one.reader.running]
        self._leaving.append(stream)
        stream.stop()
        stream.channel.clear()

    def _on_status(self, stream: Stream, status: SourceStatus) -> None:
        with stream.lock:
            if stream.gone:
                return
            self._publisher.publish_status(status)
        self._tell(status, stream)

    def _tell(self, status: SourceStatus, stream: Stream | None = None) -> None:
        log_status(status, stream)
        if self.on_event is not None:
            self.on_event(status)


def no_such_stream(name: str, names: Sequence[str]) -> NoSuchStreamError:
    """The error where none of the streams `names` is called `name`."""
    near = difflib.get_close_matches(name, names, 1)
    known = f"there are: {', '.join(names)}" if names else "there are none"
    return NoSuchStreamError(
        f"there is no stream {name!r}", hint=f"did you mean {near[0]!r}?" if near else known
    )
