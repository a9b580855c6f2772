"""One public address in front of several publishers, each of which has some of the streams.

Subscribers meet one publisher: the same keys, the same list of clients, the same bounds. What they
subscribe to is passed on, so that no publisher computes what nobody asks for. The last state and
the topology of each stream are kept as long as somebody subscribes to them, for who joins later.

Fencing: every stream belongs to one run of one publisher. What another run sends of it (a worker
that was given up for dead, and was not) goes no further.

Frames pass through one thread, uncopied. Every other call may come from any thread: it leaves a
note, and the thread sees to it.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

import zmq

from streamprn.errors import WireError
from streamprn.records import PUBLISHER, Kind, SourceStatus
from streamprn.wire.address import is_local
from streamprn.wire.allow import AllowList
from streamprn.wire.counters import PublishCounters
from streamprn.wire.decode import peek
from streamprn.wire.encode import encode_status
from streamprn.wire.greetings import GREETED, Greetings
from streamprn.wire.heartbeat import HEARTBEAT_S, Heartbeats
from streamprn.wire.inbound import EVERY_S
from streamprn.wire.outlet import Outlet, SentParts
from streamprn.wire.subscriptions import PeerBudgets, Subscriptions
from streamprn.wire.topics import HEARTBEAT, parse_topic, topic

if TYPE_CHECKING:
    from pathlib import Path

    from streamprn.wire.bind import CurveKeys

__all__ = ["Proxy", "ProxyCounters", "Upstream"]

#: Messages taken from one side before the other is looked at.
_TURN = 64
#: Between two turns of subscriptions while more wait. A publisher takes in 15,000 a second:
#: what is passed on faster waits there for longer than those who asked for it stay, and before what
#: others ask for. Here it waits in the connection of who asks.
_SUBSCRIPTIONS_EVERY_NS = 6_400_000
#: Messages that wait for the thread, of each publisher.
_RECEIVE_HWM = 1000
#: Longest message of a publisher.
_MAX_MESSAGE_BYTES = 256 * 1024 * 1024
_RECONNECT_MS = 20
_RECONNECT_MAX_MS = 500
_KINDS = {kind.value: kind for kind in Kind}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Upstream:
    """A publisher behind the proxy.

    Attributes:
        endpoint: where it publishes.
        run: of its messages.
        server_key: its public CURVE key, where it encrypts.
        client_keys: those of the proxy, where it does.
    """

    endpoint: str
    run: str
    server_key: str = ""
    client_keys: CurveKeys | None = None


@dataclass(slots=True)
class ProxyCounters:
    """What came from the publishers; what went out is in `PublishCounters`.

    Attributes:
        received: messages of streams.
        fenced: of those, messages of a run that their stream does not belong to: dropped.
        errors: messages that did not follow the wire format: dropped.
    """

    received: int = 0
    fenced: int = 0
    errors: int = 0


class Proxy:
    """Publishes on one address what several publishers send.

    Args:
        bind: public address, as for `Publisher`.
        send_hwm: messages that wait for one slow subscriber before it starts to miss some.
        curve: encrypt with these server keys; subscribers need the public one.
        allow: folder of the public keys of those who may connect; it needs `curve`.
        heartbeat_s: seconds between two messages on `_publisher/status`.

    Attributes:
        endpoint: where subscribers connect, with the real port.
        run: of the proxy, in its own heartbeats; those of the streams are the publishers'.

    Raises:
        PublishError: the address is malformed, in use, or not of this machine.
    """

    def __init__(
        self,
        bind: str,
        *,
        send_hwm: int = 16,
        curve: CurveKeys | None = None,
        allow: Path | None = None,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self.run = secrets.token_hex(8)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._allowed: AllowList | None = None
        try:
            if allow is not None:
                self._allowed = AllowList(self._context, allow)
            self._outlet = Outlet(self._context, bind, send_hwm, curve)
        except BaseException:
            if self._allowed is not None:
                self._allowed.close()
            self._context.term()
            raise
        self.endpoint = self._outlet.endpoint
        if curve is None and not is_local(self.endpoint):
            _log.warning("%s can be reached from other machines, in the clear", self.endpoint)
        self._inlet = self._context.socket(zmq.XSUB)
        self._inlet.setsockopt(zmq.RCVHWM, _RECEIVE_HWM)
        # What goes out are subscriptions, of which none may get lost.
        self._inlet.setsockopt(zmq.SNDHWM, 0)
        self._inlet.setsockopt(zmq.MAXMSGSIZE, _MAX_MESSAGE_BYTES)
        self._inlet.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        self._inlet.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
        self._inlet.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self._subscriptions = Subscriptions()
        self._overflowing = False
        self._budgets = PeerBudgets()
        self._greetings = Greetings(self._outlet, self._greeting)
        self._heartbeats = Heartbeats(self.run, heartbeat_s)
        self._beats = 0
        self._counters = ProxyCounters()
        self._endpoints: set[str] = set()
        self._owners: dict[str, str] = {}
        self._kept: dict[tuple[str, Kind], SentParts] = {}
        self._seqs: dict[str, int] = {}
        self._notes: deque[Callable[[], None]] = deque()
        self._closing = False
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._thread = threading.Thread(target=self._work, name="proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def counters(self) -> PublishCounters:
        """What went out: a snapshot."""
        return self._outlet.counters

    @property
    def received(self) -> ProxyCounters:
        """What came in; the proxy's own, which counts on."""
        return self._counters

    def connect(self, upstream: Upstream) -> None:
        """Read from a publisher, which may start later."""
        self._leave(partial(self._connect, upstream))

    def disconnect(self, endpoint: str) -> None:
        """Read no longer from a publisher; what waits of it is dropped."""
        self._leave(partial(self._disconnect, endpoint))

    def assign(self, stream: str, run: str) -> None:
        """Let a stream belong to a run, and to that alone."""
        self._leave(partial(self._assign, stream, run))

    def release(self, stream: str) -> None:
        """Let a stream belong to nobody: it was removed."""
        self._leave(partial(self._assign, stream, ""))

    def tell(self, status: SourceStatus) -> None:
        """Send a state in place of a publisher that cannot: its process is gone."""
        self._leave(partial(self._tell, status))

    def close(self) -> None:
        """Say `ended`, and close."""
        if self._closing:
            return
        self._closing = True
        self._wake()
        self._thread.join(timeout=2.0)
        self._inlet.close(linger=0)
        self._outlet.close()
        if self._allowed is not None:
            self._allowed.close()
        self._context.term()
        self._wake_read.close()
        self._wake_write.close()

    # --- notes ------------------------------------------------------------------------------------

    def _leave(self, note: Callable[[], None]) -> None:
        self._notes.append(note)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake already
            self._wake_write.send(b"\0")

    def _connect(self, upstream: Upstream) -> None:
        if upstream.endpoint in self._endpoints:
            return  # a second connection would bring everything twice
        # Also sets aside the keys of a publisher before.
        self._inlet.curve_server = False
        if upstream.server_key and upstream.client_keys is not None:
            self._inlet.curve_serverkey = upstream.server_key.encode("ascii")
            self._inlet.curve_publickey = upstream.client_keys.public.encode("ascii")
            self._inlet.curve_secretkey = upstream.client_keys.secret.encode("ascii")
        self._inlet.setsockopt(zmq.IPV6, int("[" in upstream.endpoint))
        self._inlet.connect(upstream.endpoint)
        self._endpoints.add(upstream.endpoint)

    def _disconnect(self, endpoint: str) -> None:
        self._endpoints.discard(endpoint)
        with contextlib.suppress(zmq.ZMQError):  # it was not connected
            self._inlet.disconnect(endpoint)

    def _assign(self, stream: str, run: str) -> None:
        if self._owners.get(stream, "") == run:
            return
        self._owners.pop(stream, None)
        if run:
            self._owners[stream] = run
        self._forget(stream)

    def _forget(self, stream: str) -> None:
        for kind in GREETED:
            self._kept.pop((stream, kind), None)
        self._greetings.forget(stream)
        self._seqs.pop(stream, None)

    def _tell(self, status: SourceStatus) -> None:
        # Numbered on from the last state, under the run that sent it: no gap, no second restart.
        run = self._owners.get(status.stream)
        if run is None:
            return
        seq = self._seqs[status.stream] = self._seqs.get(status.stream, -1) + 1
        now = time.monotonic_ns()
        self._send(
            status.stream, Kind.STATUS, encode_status(status, seq, now, time.time_ns(), run=run)
        )

    # --- the thread -------------------------------------------------------------------------------

    def _work(self) -> None:
        resting, poller = zmq.Poller(), zmq.Poller()
        for one in (self._inlet, self._wake_read):
            resting.register(one, zmq.POLLIN)
            poller.register(one, zmq.POLLIN)
        poller.register(self._outlet.socket, zmq.POLLIN)
        rest_ns = 0
        interval_ns = self._heartbeats.interval_ns
        beat_ns = time.monotonic_ns() + interval_ns
        while not self._closing:
            pause_ms = 2 if self._greetings else round(EVERY_S * 1e3)
            now = time.monotonic_ns()
            pause_ms = max(0, min(pause_ms, (beat_ns - now) // 1_000_000))
            if now < rest_ns:
                resting.poll(min(pause_ms, (rest_ns - now) // 1_000_000 + 1))
            else:
                poller.poll(pause_ms)
            with contextlib.suppress(BlockingIOError):
                self._wake_read.recv(4096)
            self._take_notes()
            self._take_messages()
            began = time.monotonic_ns()
            if began >= rest_ns and self._take_subscriptions():
                rest_ns = began + _SUBSCRIPTIONS_EVERY_NS
            self._greetings.send()
            self._outlet.inbound.check()
            if time.monotonic_ns() >= beat_ns:
                beat_ns = max(beat_ns, time.monotonic_ns() - interval_ns) + interval_ns
                self._beat()
        self._heartbeats.end()
        self._outlet.attempt(self._heartbeat(), zmq.DONTWAIT)

    def _take_notes(self) -> None:
        while self._notes:
            try:
                self._notes.popleft()()
            except zmq.ZMQError:
                _log.exception("a publisher cannot be reached")

    def _take_messages(self) -> None:
        for _ in range(_TURN):
            if not int(self._inlet.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                return
            parts = self._inlet.recv_multipart(zmq.DONTWAIT, copy=False)
            # A stream may have been assigned, and then this sent, since the notes were looked at.
            self._take_notes()
            self._pass_on(parts)

    def _pass_on(self, parts: list[zmq.Frame]) -> None:
        name = parts[0].bytes
        try:
            if len(parts) < 2:
                raise WireError("a message of one part")
            stream, kind = parse_topic(name)
            if stream == PUBLISHER:
                return
            self._counters.received += 1
            head = peek(parts[1].buffer)
        except WireError as error:
            self._counters.errors += 1
            _log.debug("dropped: %s", error)
            return
        if head.run != self._owners.get(stream):
            self._counters.fenced += 1
            return
        if kind == Kind.STATUS.value:
            self._seqs[stream] = head.seq
        self._send(stream, _KINDS.get(kind), [name, *parts[1:]])

    def _send(self, stream: str, kind: Kind | None, parts: SentParts) -> None:
        if kind is not None and kind in GREETED:
            self._kept[stream, kind] = parts
        self._outlet.send(parts)

    def _take_subscriptions(self) -> bool:
        """Take in a turn of subscriptions; whether more may wait."""
        for _ in range(_TURN):
            message = self._outlet.take()
            if message is None:
                return False
            self._take(message)
        return True

    def _take(self, message: zmq.Frame) -> None:
        data = message.bytes
        prefix = data[1:]
        if data[:1] == b"\x00":
            self._drop(prefix)
            return
        self._budgets.spend_message(message)
        known = prefix in self._subscriptions
        if data[:1] != b"\x01" or not self._subscriptions.add(prefix):
            self._outlet.counted.ignored += 1
            return
        if HEARTBEAT.startswith(prefix):
            self._greetings.ask(PUBLISHER, Kind.STATUS)
        self._ask(prefix, known=known)

    def _ask(self, prefix: bytes, *, known: bool) -> None:
        """Pass a subscription on where it is new, and else greet from what is kept."""
        if self._subscriptions.full:
            if not self._overflowing:
                self._overflowing = True
                self._inlet.send(b"\x01")
        elif not known and not _is_own(prefix):
            self._inlet.send(b"\x01" + prefix)
            return
        for stream, kind in self._kept:
            if topic(stream, kind).startswith(prefix):
                self._greetings.ask(stream, kind)

    def _drop(self, prefix: bytes) -> None:
        known = prefix in self._subscriptions
        self._subscriptions.discard(prefix)
        if known and not _is_own(prefix):
            self._inlet.send(b"\x00" + prefix)
        if self._overflowing and not self._subscriptions.full:
            self._overflowing = False
            self._inlet.send(b"\x00")
        # What nobody subscribes to would go stale.
        for stream, kind in list(self._kept):
            asked = topic(stream, kind).startswith(prefix)
            if asked and kind not in self._subscriptions.kinds(stream):
                del self._kept[stream, kind]

    def _greeting(self, stream: str, kind: Kind) -> SentParts | None:
        if kind not in self._subscriptions.kinds(stream):
            return None
        if stream == PUBLISHER:
            return self._heartbeat()
        return self._kept.get((stream, kind))

    def _beat(self) -> None:
        if self._allowed is not None:
            self._allowed.refresh()
        if Kind.STATUS in self._subscriptions.kinds(PUBLISHER):
            self._outlet.send(self._heartbeat())

    def _heartbeat(self) -> SentParts:
        self._beats += 1
        return self._heartbeats.encode(PUBLISHER, self._beats)


def _is_own(prefix: bytes) -> bool:
    """Whether a prefix can match the proxy's own heartbeats alone."""
    return prefix.startswith(f"{PUBLISHER}/".encode())
