"""The last stage: results out over a ZeroMQ XPUB socket, only what somebody asked for.

Threads. Every call of `Publisher` may come from any thread: one lock guards the socket, which
libzmq allows (a lock is the full memory barrier that it asks for). The lock is held for tens of
microseconds, and no hand-over to an I/O thread of ours adds to the latency; libzmq's own I/O
thread does the network. A small thread sleeps on the socket's file descriptor and reads
subscriptions when they arrive, so that a late joiner gets its topology and last status at once
even while no frame passes.

Bounds. When a subscriber's queue is full, sending waits one millisecond, since a burst may just
have outrun libzmq's thread. Then that subscriber is left out, without another wait, until it has
read half of its queue.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import selectors
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import zmq

from streamprn.errors import InputError, PublishError
from streamprn.records import FrameResult, Kind, SourceStatus
from streamprn.wire import (
    FRAME_KINDS,
    MeshFormat,
    Parts,
    check_stream,
    encode_faces,
    encode_frame,
    encode_stats,
    encode_status,
    encode_topology,
    kinds_wanted,
)
from streamprn.wire.address import has_bad_port, is_local
from streamprn.wire.topics import MAX_TOPIC_BYTES

if TYPE_CHECKING:
    from streamprn.wire.encode import TopologyArrays
    from streamprn.wire.header import Scalar

__all__ = ["CurveKeys", "PublishCounters", "Publisher"]

DEFAULT_BIND = "tcp://127.0.0.1:5870"

#: Parts from this size on are sent without a copy. Latency is the same either way; a full mesh
#: takes the caller's thread 0.1 to 0.2 ms less, while below some 100 KB the bookkeeping costs more.
ZERO_COPY_BYTES = 128 * 1024
#: A subscription is at most one topic long; CURVE's handshake needs a few hundred bytes.
_MAX_INBOUND_BYTES = 4096
_MAX_SUBSCRIPTIONS = 65_536
_LINGER_MS = 200
#: How long one message waits for room in a queue: the I/O thread may need the processor first.
_PATIENCE_MS = 1
_HEARTBEAT_MS = 10_000
#: How long a greeting waits for room in a subscriber's queue.
_GREETING_PATIENCE_NS = 1_000_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """A CURVE key pair in Z85 text, 40 characters each."""

    public: str
    secret: str

    @classmethod
    def load(cls, path: Path) -> CurveKeys:
        """Read a `.key_secret` file as written by `create` or `zmq.auth.create_certificates`.

        Raises:
            InputError: the file is missing or holds no secret key.
        """
        from zmq.auth import load_certificate

        try:
            public, secret = load_certificate(path)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: no CURVE key file: {error}", hint="make a pair with CurveKeys.create"
            ) from error
        if secret is None:
            raise InputError(f"{path}: holds only a public key", hint="give the .key_secret file")
        return cls(public.decode("ascii"), secret.decode("ascii"))

    @classmethod
    def create(cls, folder: Path, name: str = "server") -> CurveKeys:
        """Make a pair and write `<name>.key` (public) and `<name>.key_secret` into a folder."""
        from zmq.auth import create_certificates

        folder.mkdir(parents=True, exist_ok=True)
        _, secret_file = create_certificates(folder, name)
        Path(secret_file).chmod(0o600)
        return cls.load(Path(secret_file))


@dataclass(slots=True)
class PublishCounters:
    """What a publisher did so far.

    Attributes:
        messages: sent, each counted once whatever the number of subscribers.
        bytes: of those messages.
        overruns: times that a subscriber's queue was found full; from then on that subscriber
            misses messages, which it sees as gaps in `seq`, until it reads again.
        incomplete: messages not sent because the result lacked what the kind needs.
        ignored: messages from peers that were no usable subscription.
    """

    messages: int = 0
    bytes: int = 0
    overruns: int = 0
    incomplete: int = 0
    ignored: int = 0


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
        curve: encrypt, with these server keys; subscribers need the public one.
        context: to share with a subscriber on `inproc://`.

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
        curve: CurveKeys | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        if mesh_format not in ("float32", "int16"):
            raise InputError(f"mesh format {mesh_format!r}", hint='use "float32" or "int16"')
        self._mesh_format: MeshFormat = mesh_format
        self._own_context = context is None
        self._context = context or zmq.Context()
        self._lock = threading.Lock()
        self._closed = False
        self._counters = PublishCounters()
        self._subscriptions: set[bytes] = set()
        self._wanted: dict[str, _Wanted] = {}
        self._default_topology = topology
        self._topologies: dict[str, TopologyArrays] = {}
        self._topology_parts: dict[str, Parts] = {}
        self._status_parts: dict[str, Parts] = {}
        self._seqs: dict[tuple[str, Kind], int] = {}
        self._streams: set[str] = set()
        self._greetings: dict[tuple[str, Kind], int] = {}
        try:
            self._socket = _bind(self._context, bind, send_hwm, curve)
        except BaseException:
            if self._own_context:
                self._context.term()
            raise
        self.endpoint: str = self._socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
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
        return replace(self._counters)

    def wanted(self, stream: str) -> frozenset[Kind]:
        """The kinds of a stream that somebody subscribes to now. Costs a dictionary look-up."""
        return self._look_up(stream).kinds

    def _look_up(self, stream: str) -> _Wanted:
        found = self._wanted.get(stream)
        if found is None:
            # Under the lock, so that a new subscription does not meet an answer from before it.
            with self._lock:
                kinds = kinds_wanted(stream, self._subscriptions)
                found = _Wanted(kinds, tuple(kind for kind in FRAME_KINDS if kind in kinds))
                self._wanted[stream] = found
        return found

    def publish(self, result: FrameResult) -> int:
        """Send every wanted kind of one frame's result; waits a millisecond at most for each.

        Large arrays are not copied: they must not change afterwards.

        Returns:
            The stamp `published`, monotonic nanoseconds.
        """
        published_ns = time.monotonic_ns()
        stream = result.frame.stream
        self._know(stream)
        kinds = self._look_up(stream).of_frames
        faces = encode_faces(result) if kinds else []
        for kind in kinds:
            parts = encode_frame(kind, result, faces, published_ns, mesh_format=self._mesh_format)
            if parts is not None:
                self._send(parts)
            else:
                with self._lock:
                    self._counters.incomplete += 1
        return published_ns

    def publish_status(self, status: SourceStatus) -> None:
        """Send a source's state, and keep it for those who join later."""
        self._know(status.stream)
        with self._lock:
            seq = self._next_seq(status.stream, Kind.STATUS)
            parts = encode_status(status, seq, time.monotonic_ns(), time.time_ns())
            self._status_parts[status.stream] = parts
            self._send_now(parts)

    def publish_stats(self, stream: str, stats: Mapping[str, Scalar]) -> None:
        """Send counters of a stream by name, if anybody wants them."""
        self._know(stream)
        if Kind.STATS in self.wanted(stream):
            with self._lock:
                seq = self._next_seq(stream, Kind.STATS)
                now = time.monotonic_ns()
                self._send_now(encode_stats(stream, stats, seq, now, time.time_ns()))

    def set_topology(self, stream: str, topology: TopologyArrays) -> None:
        """Say what the vertices of a stream mean; those who asked already get it now."""
        self._know(stream)
        with self._lock:
            self._topologies[stream] = topology
            self._topology_parts.pop(stream, None)
            self._greet(stream, Kind.TOPOLOGY)
        self._wake()

    def close(self) -> None:
        """Close the socket; what is still queued gets a fifth of a second to leave."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._wake()
        self._thread.join(timeout=2.0)
        with self._lock:
            self._socket.close(linger=_LINGER_MS)
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
            self._greet(stream, Kind.TOPOLOGY)
        self._wake()

    def _next_seq(self, stream: str, kind: Kind) -> int:
        seq = self._seqs.get((stream, kind), -1) + 1
        self._seqs[stream, kind] = seq
        return seq

    def _send(self, parts: Parts) -> None:
        with self._lock:
            self._send_now(parts)

    def _send_now(self, parts: Parts) -> None:
        """Send, with the lock held."""
        if self._closed:
            return
        if not self._try(parts):
            self._counters.overruns += 1
            self._send_past_the_full(parts)
        # Sending may have taken in subscriptions without the descriptor showing it again.
        self._take_subscriptions()
        if self._greetings:
            self._wake()

    def _try(self, parts: Parts, flags: int = 0) -> bool:
        """Send unless a matching subscriber's queue stays full; False where one does."""
        try:
            self._socket.send_multipart(parts, flags, copy=False)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            raise PublishError(f"sending on {self.endpoint} failed: {error}") from error
        self._counters.messages += 1
        self._counters.bytes += sum(map(len, parts))
        return True

    def _send_past_the_full(self, parts: Parts) -> None:
        """Send to those who have room. The others are left out until they read again."""
        self._socket.setsockopt(zmq.XPUB_NODROP, 0)
        try:
            self._try(parts)
        finally:
            self._socket.setsockopt(zmq.XPUB_NODROP, 1)

    def _attend(self) -> None:
        """The thread: read subscriptions as they come, greet late joiners."""
        with selectors.DefaultSelector() as selector:
            selector.register(int(self._socket.getsockopt(zmq.FD)), selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            pause: float | None = 1.0
            while True:
                selector.select(pause)
                self._drain_wake()
                with self._lock:
                    if self._closed:
                        return
                    self._take_subscriptions()
                    self._send_greetings()
                    pause = 0.002 if self._greetings else 1.0

    def _take_subscriptions(self) -> None:
        changed = False
        while int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            parts = self._socket.recv_multipart(zmq.DONTWAIT)
            changed |= len(parts) == 1 and self._take(parts[0])
        if changed:
            self._wanted = {}

    def _take(self, message: bytes) -> bool:
        """Note one subscription; whether it was one that may match a topic."""
        prefix = message[1:]
        if message[:1] == b"\x00":
            self._subscriptions.discard(prefix)
            return True
        full = len(self._subscriptions) >= _MAX_SUBSCRIPTIONS
        if message[:1] != b"\x01" or len(prefix) > MAX_TOPIC_BYTES or full:
            self._counters.ignored += 1
            return False
        self._subscriptions.add(prefix)
        for stream in self._streams:
            for kind in kinds_wanted(stream, (prefix,)) & {Kind.STATUS, Kind.TOPOLOGY}:
                self._greet(stream, kind)
        return True

    def _greet(self, stream: str, kind: Kind) -> None:
        self._greetings.setdefault((stream, kind), time.monotonic_ns() + _GREETING_PATIENCE_NS)

    def _send_greetings(self) -> None:
        """Send what late joiners wait for, as far as their queues have room."""
        for (stream, kind), deadline in list(self._greetings.items()):
            wanted = kind in kinds_wanted(stream, self._subscriptions)
            parts = self._greeting(stream, kind) if wanted else None
            if parts is not None and not self._try(parts, zmq.DONTWAIT):
                if time.monotonic_ns() < deadline:
                    return
                self._counters.overruns += 1
                self._send_past_the_full(parts)
            del self._greetings[stream, kind]

    def _greeting(self, stream: str, kind: Kind) -> Parts | None:
        if kind is Kind.STATUS:
            return self._status_parts.get(stream)
        topology = self._topologies.get(stream, self._default_topology)
        if topology is not None and stream not in self._topology_parts:
            self._topology_parts[stream] = encode_topology(
                stream,
                topology,
                self._next_seq(stream, Kind.TOPOLOGY),
                time.monotonic_ns(),
                time.time_ns(),
            )
        return self._topology_parts.get(stream)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake already
            self._wake_write.send(b"\0")

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)


def _bind(
    context: zmq.Context[zmq.Socket[bytes]], bind: str, send_hwm: int, curve: CurveKeys | None
) -> zmq.Socket[bytes]:
    if has_bad_port(bind):
        raise PublishError(f"binding to {bind!r}: no such port", hint="ports end at 65535")
    _refuse_taken_ipc(bind)
    xpub = context.socket(zmq.XPUB)
    try:
        xpub.setsockopt(zmq.SNDHWM, send_hwm)
        xpub.setsockopt(zmq.SNDTIMEO, _PATIENCE_MS)
        xpub.setsockopt(zmq.XPUB_VERBOSE, 1)
        xpub.setsockopt(zmq.XPUB_NODROP, 1)
        xpub.setsockopt(zmq.MAXMSGSIZE, _MAX_INBOUND_BYTES)
        xpub.setsockopt(zmq.LINGER, _LINGER_MS)
        xpub.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        xpub.setsockopt(zmq.TCP_KEEPALIVE, 1)
        xpub.setsockopt(zmq.IPV6, int("[" in bind))
        xpub.copy_threshold = ZERO_COPY_BYTES
        if curve is not None:
            xpub.curve_server = True
            xpub.curve_publickey = curve.public.encode("ascii")
            xpub.curve_secretkey = curve.secret.encode("ascii")
        xpub.bind(re.sub(r"^tcp://localhost:", "tcp://127.0.0.1:", bind))
    except zmq.ZMQError as error:
        xpub.close(linger=0)
        raise _bind_error(bind, error) from error
    except BaseException:
        xpub.close(linger=0)
        raise
    return xpub


def _refuse_taken_ipc(bind: str) -> None:
    """Raise where a publisher still listens: libzmq would silently take over its file."""
    if not bind.startswith("ipc:///"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(bind.removeprefix("ipc://"))
        except OSError:
            return
    raise PublishError(f"{bind} is in use", hint="stop the other publisher or bind to another file")


_BIND_HINTS = {
    errno.EADDRINUSE: ("is in use", "stop the other program, or bind to another port or to port *"),
    errno.EACCES: ("is not allowed", "use a port from 1024 on, or a folder that you may write to"),
    errno.EADDRNOTAVAIL: ("is not an address of this machine", "use 127.0.0.1 or 0.0.0.0"),
    errno.ENODEV: ("is not an address of this machine", "use 127.0.0.1 or 0.0.0.0"),
    errno.EPROTONOSUPPORT: ("has an unknown transport", "use tcp://, ipc:// or inproc://"),
    errno.EINVAL: ("is malformed", "write it like tcp://127.0.0.1:5870"),
    errno.ENOENT: ("is in a folder that does not exist", "make the folder first"),
    errno.ENAMETOOLONG: ("is too long", "use a shorter path"),
}


def _bind_error(bind: str, error: zmq.ZMQError) -> PublishError:
    what, hint = _BIND_HINTS.get(
        error.errno or 0, (f"failed: {error}", "write it like tcp://127.0.0.1:5870")
    )
    return PublishError(f"binding to {bind!r} {what}", hint=hint)
