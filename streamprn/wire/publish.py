"""The last stage: results out over a ZeroMQ XPUB socket, only what somebody asked for.

Threads. Every call of `Publisher` may come from any thread: one lock guards the socket, which
libzmq allows (a lock is the full memory barrier that it asks for). The lock is held for tens of
microseconds, and no hand-over to an I/O thread of ours adds to the latency; libzmq's own I/O
thread does the network. A small thread sleeps on the socket's file descriptor and reads
subscriptions when they arrive, so that a late joiner gets its topology and last status at once
even while no frame passes. It also sends the heartbeats.

Bounds. When a subscriber's queue is full, sending waits one millisecond, since a burst may just
have outrun libzmq's thread. Then that subscriber is left out, without another wait, until it has
read half of its queue. Subscriptions are taken in by turns of bounded length with rests between
them, what is not taken in waits in the subscriber, and a peer that floods the publisher with them
is disconnected (`streamprn.wire.subscriptions`).
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import zmq

from streamprn.errors import InputError
from streamprn.records import PUBLISHER, FrameResult, Kind, SourceStatus
from streamprn.wire import (
    FRAME_KINDS,
    MeshFormat,
    Parts,
    check_stream,
    encode_faces,
    encode_frame,
    encode_stats,
    encode_topology,
    topic,
)
from streamprn.wire.address import is_local
from streamprn.wire.allow import AllowList
from streamprn.wire.bind import CurveKeys
from streamprn.wire.counters import PublishCounters
from streamprn.wire.greetings import GREETED, Greetings
from streamprn.wire.heartbeat import HEARTBEAT_S, Heartbeats
from streamprn.wire.inbound import EVERY_S
from streamprn.wire.outlet import Outlet
from streamprn.wire.subscriptions import PeerBudgets, Subscriptions
from streamprn.wire.topics import streams_asked
from streamprn.wire.turns import SendLock

if TYPE_CHECKING:
    from pathlib import Path

    from streamprn.wire.encode import TopologyArrays
    from streamprn.wire.header import Scalar

__all__ = ["CurveKeys", "PublishCounters", "Publisher"]

DEFAULT_BIND = "tcp://127.0.0.1:5870"

#: Subscriptions taken in one turn: with a frame on its way out, and by the thread of their own.
_TAKE_SENDING = 1
_TAKE_IDLE = 64
#: How long the thread rests after a turn that left some waiting, in turns: frames go first.
_REST_TURNS = 3.0
_MAX_REST_S = 0.02

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked of one stream; `of_frames` in the order of sending."""

    kinds: frozenset[Kind]
    of_frames: tuple[Kind, ...]


class Publisher:
    """Publishes results, states and statistics of any number of streams.

    Args:
        bind: ZeroMQ address; port `*` takes a free one, see `endpoint`.
        topology: what subscribers of `<stream>/topology` get, unless `set_topology` says else.
        send_hwm: messages that wait for one slow subscriber before it starts to miss some.
        mesh_format: how vertices travel: "float32", or "int16" at half the size.
        withheld: kinds that nobody gets, whatever they subscribe to.
        curve: encrypt, with these server keys; subscribers need the public one.
        allow: folder of the public keys of those who may connect; it needs `curve`.
        heartbeat_s: seconds between two messages on `_publisher/status`, and on `<stream>/status`
            of each stream, while somebody subscribes to them.
        behind_proxy: its one subscriber is a `Proxy`, which bounds what its own ask for.
        context: to share with a subscriber on `inproc://`.

    Attributes:
        run: names this run in every message.

    Raises:
        PublishError: the address is malformed, in use, or not of this machine.
    """

    def __init__(
        self,
        bind: str = DEFAULT_BIND,
        *,
        topology: TopologyArrays | None = None,
        send_hwm: int = 16,
        mesh_format: MeshFormat = "float32",
        withheld: frozenset[Kind] = frozenset(),
        curve: CurveKeys | None = None,
        allow: Path | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        behind_proxy: bool = False,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        if mesh_format not in ("float32", "int16"):
            raise InputError(f"mesh format {mesh_format!r}", hint='use "float32" or "int16"')
        self._mesh_format: MeshFormat = mesh_format
        self._withheld = withheld
        self._own_context = context is None
        self._context = context or zmq.Context()
        self._lock = SendLock()
        self._closed = False
        self.run = secrets.token_hex(8)
        self._subscriptions = Subscriptions()
        self._budgets = None if behind_proxy else PeerBudgets()
        self._wanted: dict[str, _Wanted] = {}
        self._default_topology = topology
        self._topologies: dict[str, TopologyArrays] = {}
        self._topology_parts: dict[str, Parts] = {}
        self._heartbeats = Heartbeats(self.run, heartbeat_s)
        self._seqs: dict[tuple[str, Kind], int] = {}
        self._streams: set[str] = set()
        self._allowed: AllowList | None = None
        try:
            if allow is not None:
                self._allowed = AllowList(self._context, allow)
            self._outlet = Outlet(self._context, bind, send_hwm, curve)
        except BaseException:
            if self._allowed is not None:
                self._allowed.close()
            if self._own_context:
                self._context.term()
            raise
        self.endpoint: str = self._outlet.endpoint
        self._greetings = Greetings(self._outlet, self._greeting)
        if curve is None and not is_local(self.endpoint):
            _log.warning(
                "%s can be reached from other machines and is not encrypted; "
                "bind to 127.0.0.1 or give CURVE keys",
                self.endpoint,
            )
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._thread = threading.Thread(target=self._attend, name="publish", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def counters(self) -> PublishCounters:
        """A snapshot."""
        return self._outlet.counters

    def wanted(self, stream: str) -> frozenset[Kind]:
        """The kinds of a stream that somebody subscribes to now. Costs a dictionary look-up."""
        return self._look_up(stream).kinds

    def _look_up(self, stream: str) -> _Wanted:
        found = self._wanted.get(stream)
        if found is None:
            # Under the lock, so that a new subscription does not meet an answer from before it.
            with self._lock:
                kinds = self._subscriptions.kinds(stream) - self._withheld
                found = _Wanted(kinds, tuple(kind for kind in FRAME_KINDS if kind in kinds))
                self._wanted[stream] = found
        return found

    def publish(self, result: FrameResult, kinds: Set[Kind] = frozenset(FRAME_KINDS)) -> int:
        """Send what is wanted of one frame's result; waits a millisecond at most for each kind.

        Large arrays are not copied: they must not change afterwards.

        Args:
            result: what was found.
            kinds: nothing but these is sent.

        Returns:
            The stamp `published`, monotonic nanoseconds.
        """
        published_ns = time.monotonic_ns()
        stream = result.frame.stream
        self._know(stream)
        self._heartbeats.saw(stream, result.frame.seq, result.frame.captured_ns)
        wanted = self._look_up(stream)
        to_send = [kind for kind in wanted.of_frames if kind in kinds]
        faces = []
        if to_send:
            faces = encode_faces(
                result,
                visible=Kind.FACE in wanted.kinds,
                blendshapes=Kind.BLENDSHAPES in wanted.kinds,
                gaze=Kind.GAZE in wanted.kinds,
            )
        for kind in to_send:
            parts = encode_frame(
                kind, result, faces, published_ns, mesh_format=self._mesh_format, run=self.run
            )
            with self._lock:
                self._send_now(parts)
        return published_ns

    def relay(self, stream: str, kind: Kind, parts: Parts, seq: int, captured_ns: int) -> None:
        """Send a message about a frame that is encoded already, if anybody wants it."""
        self._know(stream)
        self._heartbeats.saw(stream, seq, captured_ns)
        if kind in self.wanted(stream):
            with self._lock:
                self._send_now(parts)

    def publish_status(self, status: SourceStatus) -> None:
        """Send a source's state, and keep it for those who join later."""
        self._know(status.stream)
        with self._lock:
            self._heartbeats.note(status)
            self._send_now(self._encode_status(status.stream))

    def _encode_status(self, stream: str) -> Parts:
        return self._heartbeats.encode(stream, self._next_seq(stream, Kind.STATUS))

    def publish_stats(self, stream: str, stats: Mapping[str, Scalar]) -> None:
        """Send counters of a stream by name, if anybody wants them."""
        self._know(stream)
        if Kind.STATS in self.wanted(stream):
            with self._lock:
                seq = self._next_seq(stream, Kind.STATS)
                now = time.monotonic_ns()
                parts = encode_stats(stream, stats, seq, now, time.time_ns(), run=self.run)
                self._send_now(parts)

    def set_topology(self, stream: str, topology: TopologyArrays) -> None:
        """Say what the vertices of a stream mean; those who asked already get it now."""
        self._know(stream)
        with self._lock:
            self._topologies[stream] = topology
            self._topology_parts.pop(stream, None)
            self._greetings.ask(stream, Kind.TOPOLOGY)
        self._wake()

    def forget(self, stream: str) -> None:
        """Let go of all that is kept of a stream that has ended for good."""
        with self._lock:
            self._streams.discard(stream)
            self._wanted.pop(stream, None)
            self._heartbeats.forget(stream)
            self._topologies.pop(stream, None)
            self._topology_parts.pop(stream, None)
            self._greetings.forget(stream)
            for kind in Kind:
                self._seqs.pop((stream, kind), None)

    def close(self) -> None:
        """Close the socket; what is still queued gets a fifth of a second to leave."""
        with self._lock:
            if self._closed:
                return
            self._heartbeats.end()
            if Kind.STATUS in self._subscriptions.kinds(PUBLISHER):
                self._outlet.attempt(self._encode_status(PUBLISHER), zmq.DONTWAIT)
            self._closed = True
        self._wake()
        self._thread.join(timeout=2.0)
        with self._lock:
            self._outlet.close()
        if self._allowed is not None:
            self._allowed.close()
        if self._own_context:
            self._context.term()
        self._wake_read.close()
        self._wake_write.close()

    def _know(self, stream: str) -> None:
        """Take note of a stream on its first mention: earlier subscribers may wait for it."""
        if stream in self._streams:
            return
        check_stream(stream)
        with self._lock:
            self._streams.add(stream)
            self._greetings.ask(stream, Kind.TOPOLOGY)
        self._wake()

    def _next_seq(self, stream: str, kind: Kind) -> int:
        seq = self._seqs.get((stream, kind), -1) + 1
        self._seqs[stream, kind] = seq
        return seq

    def _send_now(self, parts: Parts) -> None:
        """Send, with the lock held."""
        if self._closed:
            return
        self._outlet.send(parts)
        # Sending may have taken in subscriptions without the descriptor showing it again.
        more = self._take_subscriptions(_TAKE_SENDING)
        if more or self._greetings:
            self._wake()

    def _attend(self) -> None:
        """The thread: read subscriptions as they come, greet late joiners, send heartbeats."""
        with selectors.DefaultSelector() as selector:
            selector.register(int(self._outlet.socket.getsockopt(zmq.FD)), selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            beat_ns = time.monotonic_ns() + self._heartbeats.interval_ns
            pause = 0.0
            while True:
                selector.select(max(0.0, min(pause, (beat_ns - time.monotonic_ns()) / 1e9)))
                self._drain_wake()
                with self._lock.patient:
                    if self._closed:
                        return
                    began = time.perf_counter()
                    more = self._take_subscriptions(_TAKE_IDLE)
                    self._greetings.send()
                    pause = 0.0 if more else 0.002 if self._greetings else EVERY_S
                if more:
                    time.sleep(min(_MAX_REST_S, _REST_TURNS * (time.perf_counter() - began)))
                self._outlet.inbound.check()
                if time.monotonic_ns() >= beat_ns:
                    beat_ns = max(beat_ns, time.monotonic_ns() - self._heartbeats.interval_ns)
                    beat_ns += self._heartbeats.interval_ns
                    self._beat()

    def _beat(self) -> None:
        """Repeat every state to those who ask for it, with the age of the stream's last frame."""
        if self._allowed is not None:
            self._allowed.refresh()
        for stream in self._heartbeats.streams():
            if Kind.STATUS not in self.wanted(stream):
                continue
            with self._lock:
                if stream in self._heartbeats and not self._closed:
                    self._send_now(self._encode_status(stream))

    def _take_subscriptions(self, limit: int) -> bool:
        """Take in so many subscriptions at most, with the lock held; whether more may wait.

        Ends early where somebody waits for the lock.
        """
        for _ in range(limit):
            message = self._outlet.take()
            if message is None:
                return False
            self._take(message)
            if self._lock.wanted:
                break
        return True

    def _take(self, message: zmq.Frame) -> None:
        data = message.bytes
        prefix = data[1:]
        overflowed = self._subscriptions.full
        if data[:1] == b"\x00":
            self._subscriptions.discard(prefix)
        else:
            if self._budgets is not None:
                self._budgets.spend_message(message)
            if data[:1] != b"\x01" or not self._subscriptions.add(prefix):
                self._outlet.counted.ignored += 1
                return
            for stream in streams_asked(prefix, (PUBLISHER, *self._streams)):
                for kind in GREETED:
                    if topic(stream, kind).startswith(prefix):
                        self._greetings.ask(stream, kind)
        if self._subscriptions.full != overflowed:
            self._wanted = {}
        for stream in streams_asked(prefix, self._wanted):
            del self._wanted[stream]

    def _greeting(self, stream: str, kind: Kind) -> Parts | None:
        if kind not in self._subscriptions.kinds(stream):
            return None
        if kind is Kind.STATUS:
            if stream not in self._heartbeats:
                return None
            return self._heartbeats.last(stream) or self._encode_status(stream)
        if stream == PUBLISHER:
            return None
        topology = self._topologies.get(stream, self._default_topology)
        if topology is not None and stream not in self._topology_parts:
            self._topology_parts[stream] = encode_topology(
                stream,
                topology,
                self._next_seq(stream, Kind.TOPOLOGY),
                time.monotonic_ns(),
                time.time_ns(),
                run=self.run,
            )
        return self._topology_parts.get(stream)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake already
            self._wake_write.send(b"\0")

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)
