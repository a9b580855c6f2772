"""Streams of a running publisher: a thread with a subscriber that asks for what is on show."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from streamprn.apps.liveness import silence
from streamprn.records import PUBLISHER, Kind
from streamprn.view.shown import Moment, StreamState
from streamprn.wire import (
    DepthMessage,
    FrameMessage,
    ImageMessage,
    MeshMessage,
    StatusMessage,
    TextureMessage,
    TopologyMessage,
)
from streamprn.wire.address import is_local
from streamprn.wire.subscribe import Subscriber

if TYPE_CHECKING:
    from streamprn.records import Stamps
    from streamprn.wire import Message
    from streamprn.wire.bind import CurveKeys

__all__ = ["LiveFeed"]

_TICK_S = 0.05
# Frames whose latency is kept, and messages of a kind, among which those of one frame are found.
_TRAIL, _KEPT = 150, 4
# A picture waits for the rest of its frame; more than these many messages never wait.
_RECEIVE_HWM = 8
_FPS_WINDOW_NS = 2_000_000_000
# The last part of a frame that comes, of those that are asked for; see `records.FRAME_KINDS`.
_LAST_KIND = (Kind.IMAGE, Kind.DEPTH, Kind.TEXTURE, Kind.MESH, Kind.FACE)


class _Stream:
    """What came of one stream."""

    def __init__(self) -> None:
        self.status: StatusMessage | None = None
        self.topology: TopologyMessage | None = None
        self.newest: dict[Kind, deque[FrameMessage]] = defaultdict(lambda: deque(maxlen=_KEPT))
        self.trail: deque[tuple[Stamps, int]] = deque(maxlen=_TRAIL)
        self.arrivals: deque[int] = deque(maxlen=512)
        self.gaps = 0

    def note(self, message: FrameMessage, *, local: bool) -> None:
        self.newest[message.kind].append(message)
        if message.kind is Kind.FACE:
            self.trail.append((message.stamps, message.received_ns if local else 0))
            self.arrivals.append(message.received_ns)

    def state(self) -> StreamState:
        now = time.monotonic_ns()
        recent = [at for at in self.arrivals if now - at < _FPS_WINDOW_NS]
        fps = (len(recent) - 1) * 1e9 / max(now - recent[0], 1) if len(recent) > 1 else 0.0
        newest = self.newest[Kind.FACE]
        faces = len(newest[-1].faces) if newest and recent else 0
        status = self.status
        state, cause = (str(status.state), status.cause) if status is not None else ("?", "")
        return StreamState(state, cause, fps, faces, self.gaps)

    def moment(self, kinds: frozenset[Kind]) -> Moment | None:
        """The newest frame of which the last part has come."""
        last = next((kind for kind in _LAST_KIND if kind in kinds and self.newest[kind]), None)
        if last is None:
            return None
        seq = self.newest[last][-1].seq
        found = [one for kind in kinds for one in self.newest[kind] if one.seq == seq]
        parts = {one.kind: one for one in found}
        frame = parts[last]
        image, mesh = parts.get(Kind.IMAGE), parts.get(Kind.MESH)
        texture, depth = parts.get(Kind.TEXTURE), parts.get(Kind.DEPTH)
        return Moment(
            seq,
            frame.frame_size_wh,
            frame.faces,
            image.image if isinstance(image, ImageMessage) else None,
            mesh.vertices if isinstance(mesh, MeshMessage) else {},
            texture.textures if isinstance(texture, TextureMessage) else {},
            depth.depth if isinstance(depth, DepthMessage) else None,
            self.topology,
        )


class LiveFeed:
    """See `streamprn.view.shown.Feed`.

    Nothing but the publisher's heartbeat, which names its streams, is subscribed as long as nothing
    is wanted.

    Args:
        endpoint: of the publisher, which may start later.
        server_key: its public CURVE key, where it encrypts.
        client_keys: our own, where it lists its clients.
    """

    def __init__(
        self,
        endpoint: str,
        server_key: str | None = None,
        client_keys: CurveKeys | None = None,
    ) -> None:
        self._subscriber = Subscriber(
            endpoint,
            f"{PUBLISHER}/{Kind.STATUS.value}",
            receive_hwm=_RECEIVE_HWM,
            server_key=server_key,
            client_keys=client_keys,
        )
        self._local = is_local(endpoint)
        self._lock = threading.Lock()
        self._streams: dict[str, _Stream] = {}
        self._wanted: tuple[str, frozenset[Kind]] = ("", frozenset())
        self._asked: set[str] = set()
        self._silence = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="view-feed", daemon=True)
        self._thread.start()

    def want(self, stream: str, kinds: frozenset[Kind]) -> None:
        """See `Feed`."""
        self._wanted = stream, kinds

    def moment(self, stream: str) -> Moment | None:
        """See `Feed`."""
        with self._lock:
            found = self._streams.get(stream)
            return found.moment(self._wanted[1]) if found is not None else None

    def states(self) -> dict[str, StreamState]:
        """See `Feed`."""
        with self._lock:
            return {name: one.state() for name, one in sorted(self._streams.items())}

    def stamps(self, stream: str) -> list[tuple[Stamps, int]]:
        """See `Feed`."""
        with self._lock:
            found = self._streams.get(stream)
            return list(found.trail) if found is not None else []

    def trouble(self) -> str:
        """See `Feed`."""
        return self._silence

    def close(self) -> None:
        """See `Feed`."""
        self._closing.set()
        self._thread.join()
        self._subscriber.close()

    def _work(self) -> None:
        while not self._closing.is_set():
            self._ask()
            message = self._subscriber.receive(_TICK_S)
            if message is not None and message.stream != PUBLISHER:
                self._note(message)
            elif isinstance(message, StatusMessage):
                self._know(message.streams)
            self._silence = silence(self._subscriber.liveness())

    def _know(self, names: tuple[str, ...]) -> None:
        """Take up streams that are new, and let go of those that are gone."""
        with self._lock:
            self._streams = {name: self._streams.get(name) or _Stream() for name in names}

    def _note(self, message: Message) -> None:
        with self._lock:
            stream = self._streams.get(message.stream)
            if stream is None:  # on its way since before it went
                return
            stream.gaps = self._subscriber.gaps_of(message.stream)
            if isinstance(message, StatusMessage):
                stream.status = message
            elif isinstance(message, TopologyMessage):
                stream.topology = message
            elif isinstance(message, FrameMessage):
                stream.note(message, local=self._local)

    def _ask(self) -> None:
        """Bring the subscriptions to what is wanted."""
        topics = self._topics()
        for one in topics - self._asked:
            self._subscriber.subscribe(one)
        for one in self._asked - topics:
            self._subscriber.unsubscribe(one)
        self._asked = topics

    def _topics(self) -> set[str]:
        stream, kinds = self._wanted
        if not kinds:
            return set()
        topics = {f"{name}/{Kind.STATUS.value}" for name in self._streams}
        if stream in self._streams:
            asked = kinds | {Kind.FACE}
            if kinds & {Kind.MESH, Kind.FACE}:
                asked |= {Kind.TOPOLOGY}
            topics |= {f"{stream}/{kind.value}" for kind in asked}
        return topics
