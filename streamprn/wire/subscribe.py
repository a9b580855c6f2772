"""Reading what a publisher sends, as typed records.

with Subscriber("tcp://127.0.0.1:5870", "cam1/face") as messages:
    for message in messages:
        print(message.seq, [face.pose.yaw for face in message.faces])
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import zmq

from streamprn.errors import InputError, WireError
from streamprn.records import Kind
from streamprn.wire import Message, StatusMessage, decode, parse_topic, peek
from streamprn.wire.address import has_bad_port
from streamprn.wire.bind import CurveKeys, public_key
from streamprn.wire.liveness import Life, Liveness, SignsOfLife
from streamprn.wire.topics import HEARTBEAT
from streamprn.wire.unfinished import EVERY_MS, MAX_UNFINISHED_BYTES, UnfinishedWatch

if TYPE_CHECKING:
    import zmq.asyncio

__all__ = ["Life", "Liveness", "SubscribeCounters", "Subscriber"]

_MAX_MESSAGE_BYTES = 256 * 1024 * 1024
_MAX_TOPICS = 4096
#: Messages taken from the socket in one go; a bound, so that a flood cannot hold the reader.
_DRAIN = 256
_RETRY_MS = 2000
_log = logging.getLogger(__name__)
_KNOWN_KINDS = frozenset(kind.value for kind in Kind)


@dataclass(slots=True)
class SubscribeCounters:
    """What a subscriber saw.

    Attributes:
        received: messages taken from the socket.
        gaps: messages that never came, by `seq`; dropped on the way or before.
        stale: messages skipped because a newer one of the same stream and kind was there.
        errors: messages that did not follow the wire format.
        ignored: messages of kinds that this version does not know.
        last_error: the latest reason for `errors`.
    """

    received: int = 0
    gaps: int = 0
    stale: int = 0
    errors: int = 0
    ignored: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class _Raw:
    parts: list[zmq.Frame]
    received_ns: int
    received_wall_ns: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """The last `seq` of a topic and how many are missing so far."""

    seq: int
    gaps: int


class Subscriber:
    """An iterator of messages, synchronous or asynchronous; for one thread.

    Args:
        endpoint: address of the publisher; it may start later, and start again.
        topics: prefixes of `<stream>/<kind>`; the empty one is everything.
        newest: skip to the newest message of each stream and kind where several wait.
        timeout_s: iteration ends when nothing came for so long; None waits for ever.
        receive_hwm: messages that wait in this process before the publisher's queue fills.
        server_key: where the publisher encrypts, its public CURVE key (40 characters of Z85), or
            the `.key` file that holds it, as a path or its name.
        client_keys: our own, where the publisher lists its clients; else new ones are made.
        context: to share with a publisher on `inproc://`.

    Attributes:
        counters: see `SubscribeCounters`.

    Besides `topics` it asks for the publisher's heartbeat, so that `liveness` can tell a street
    without faces from a publisher that is gone.

    Raises:
        InputError: the endpoint is malformed, or the key is none and names no file that holds one.
    """

    def __init__(
        self,
        endpoint: str,
        topics: str | Iterable[str] = ("",),
        *,
        newest: bool = True,
        timeout_s: float | None = None,
        receive_hwm: int = 32,
        server_key: str | Path | None = None,
        client_keys: CurveKeys | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.counters = SubscribeCounters()
        self._newest = newest
        self._timeout_s = timeout_s
        self._own_context = context is None
        self._context = context or zmq.Context()
        self._pending: OrderedDict[bytes, _Raw] = OrderedDict()
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()
        self._async: zmq.asyncio.Socket | None = None
        self._heard = SignsOfLife()
        self._encrypted = server_key is not None
        self._retry_s = time.monotonic() + _RETRY_MS / 1e3
        prefixes = (topics,) if isinstance(topics, str) else tuple(topics)
        self._heartbeat_asked = sum(map(_asks_for_heartbeat, prefixes))
        self._asked = [*prefixes, HEARTBEAT.decode("ascii")]
        self._unfinished = UnfinishedWatch()
        self._connect = partial(
            _connect, self._context, endpoint, self._asked, receive_hwm, server_key, client_keys
        )
        try:
            self._socket = self._connect()
        except BaseException:
            if self._own_context:
                self._context.term()
            raise
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Message]:
        while not self._socket.closed:
            message = self.receive(self._timeout_s)
            if message is None:
                return
            yield message

    async def __aiter__(self) -> AsyncIterator[Message]:
        while not self._socket.closed:
            message = await self.receive_async(self._timeout_s)
            if message is None:
                return
            yield message

    def subscribe(self, topic: str) -> None:
        """Ask for one more prefix."""
        self._heartbeat_asked += _asks_for_heartbeat(topic)
        self._asked.append(topic)
        self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())

    def unsubscribe(self, topic: str) -> None:
        """Take back what was asked for; messages under way still come."""
        self._heartbeat_asked -= _asks_for_heartbeat(topic)
        with contextlib.suppress(ValueError):  # nobody asked for it
            self._asked.remove(topic)
        self._socket.setsockopt(zmq.UNSUBSCRIBE, topic.encode())

    def gaps_of(self, stream: str) -> int:
        """Messages of one stream that never came, over all its kinds."""
        prefix = f"{stream}/".encode()
        return sum(seen.gaps for name, seen in self._seen.items() if name.startswith(prefix))

    def liveness(self) -> Liveness:
        """Whether the publisher gives signs of life; takes in what waits in the socket."""
        if not self._socket.closed:
            self._drain()
        return self._heard.liveness(time.monotonic_ns())

    @property
    def gaps(self) -> int:
        """Messages that never came, by `seq`."""
        return self.counters.gaps

    @property
    def dropped_stale(self) -> int:
        """Messages skipped for a newer one."""
        return self.counters.stale

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message, or None when none came in time; None as the time waits for ever."""
        deadline = _deadline(timeout_s)
        while True:
            self._try_again()
            message = self._next()
            if message is not None:
                return message
            if not self._poller.poll(self._wait_ms(deadline)) and _left_ms(deadline) == 0:
                return None

    async def receive_async(self, timeout_s: float | None = None) -> Message | None:
        """`receive` for an event loop."""
        import zmq.asyncio

        deadline = _deadline(timeout_s)
        while True:
            self._try_again()
            message = self._next()
            if message is not None:
                return message
            if self._async is None:
                self._async = zmq.asyncio.Socket(self._socket)
            if not await self._async.poll(self._wait_ms(deadline)) and _left_ms(deadline) == 0:
                return None

    def close(self) -> None:
        """Leave; iteration ends."""
        if self._socket.closed:
            return
        self._close_socket()
        if self._own_context:
            self._context.term()

    def _close_socket(self) -> None:
        self._poller.unregister(self._socket)
        if self._async is not None:
            self._async.close(linger=0)
            self._async = None
        self._socket.close(linger=0)

    def _wait_ms(self, deadline: int | None) -> int:
        """How long to wait at a time: what arrives may not end, and the publisher refuse us."""
        left = _left_ms(deadline)
        return EVERY_MS if left is None else min(left, EVERY_MS)

    def _leave(self) -> None:
        """Connect anew, with a message on the way that does not end."""
        self._close_socket()
        self._socket = self._connect()
        self._poller.register(self._socket, zmq.POLLIN)
        self._unfinished.note_reconnection()
        reason = f"a message of more than {MAX_UNFINISHED_BYTES >> 20} MiB that does not end"
        self._reject(WireError(reason))
        _log.warning("%s sends %s: connected again", self.endpoint, reason)

    def _try_again(self) -> None:
        """Connect again where nothing came: ZeroMQ does not, once a publisher refused the key."""
        if self._unfinished.exceeded():
            self._leave()
        now = time.monotonic()
        if self._encrypted and not self._heard.anything and now >= self._retry_s:
            self._retry_s = now + _RETRY_MS / 1e3
            self._socket.disconnect(self.endpoint)
            self._socket.connect(self.endpoint)

    def _next(self) -> Message | None:
        """The next good message that is here already."""
        while True:
            self._drain()
            if not self._pending:
                return None
            _, raw = self._pending.popitem(last=False)
            try:
                return decode(
                    [frame.buffer for frame in raw.parts], raw.received_ns, raw.received_wall_ns
                )
            except WireError as error:
                self._reject(error)

    def _drain(self) -> None:
        """Take what waits in the socket: all of it to find the newest, else one message."""
        for _ in range(_DRAIN if self._newest else 1 - len(self._pending)):
            # Asking first: an exception for every message that is not there would cost more.
            if not int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                return
            self._take(self._socket.recv_multipart(zmq.DONTWAIT, copy=False))

    def _take(self, parts: list[zmq.Frame]) -> None:
        self.counters.received += 1
        self._unfinished.note_message()
        name = parts[0].bytes
        try:
            if len(parts) < 2:
                raise WireError("a message of one part")
            stream, kind = parse_topic(name)
            if kind not in _KNOWN_KINDS:
                self.counters.ignored += 1
                return
            head = peek(parts[1].buffer)
            now = time.monotonic_ns()
            if self._heard.note(stream, head.run, now):
                self._forget(stream)
            if name == HEARTBEAT and self._hear([part.buffer for part in parts], now):
                return
            self._note(name, head.seq)
        except WireError as error:
            self._reject(error)
            return
        if name in self._pending:
            self.counters.stale += 1
        self._pending[name] = _Raw(parts, now, time.time_ns())

    def _hear(self, parts: list[memoryview], now_ns: int) -> bool:
        """Take in a heartbeat of the publisher; whether nobody asked to see it."""
        message = decode(parts)
        if isinstance(message, StatusMessage):
            self._heard.beat(message, now_ns)
        if self._heartbeat_asked:
            return False
        self.counters.received -= 1
        return True

    def _note(self, name: bytes, seq: int) -> None:
        """Count what is missing before `seq`. A step back is a publisher that started again."""
        last = self._seen.pop(name, None)
        missing = max(0, seq - last.seq - 1) if last is not None else 0
        self.counters.gaps += missing
        self._seen[name] = _Seen(seq, missing + (last.gaps if last is not None else 0))
        if len(self._seen) > _MAX_TOPICS:
            self._seen.popitem(last=False)

    def _forget(self, stream: str) -> None:
        """Expect any number next: what sends a stream counts anew."""
        prefix = f"{stream}/".encode()
        for name in [name for name in self._seen if name.startswith(prefix)]:
            del self._seen[name]

    def _reject(self, error: WireError) -> None:
        self.counters.errors += 1
        self.counters.last_error = str(error)


def _asks_for_heartbeat(prefix: str) -> bool:
    """Whether somebody means the publisher's heartbeat, and not just everything."""
    return prefix != "" and HEARTBEAT.startswith(prefix.encode())


def _connect(
    context: zmq.Context[zmq.Socket[bytes]],
    endpoint: str,
    topics: Sequence[str],
    receive_hwm: int,
    server_key: str | Path | None,
    client_keys: CurveKeys | None,
) -> zmq.Socket[bytes]:
    if has_bad_port(endpoint):
        raise InputError(f"cannot connect to {endpoint!r}: no such port", hint="ports end at 65535")
    sub = context.socket(zmq.SUB)
    try:
        sub.setsockopt(zmq.RCVHWM, receive_hwm)
        # What goes out are subscriptions: libzmq drops those beyond the bound without a word.
        sub.setsockopt(zmq.SNDHWM, 0)
        sub.setsockopt(zmq.MAXMSGSIZE, _MAX_MESSAGE_BYTES)
        sub.setsockopt(zmq.LINGER, 0)
        sub.setsockopt(zmq.RECONNECT_IVL, 100)
        sub.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
        sub.setsockopt(zmq.TCP_KEEPALIVE, 1)
        sub.setsockopt(zmq.IPV6, int("[" in endpoint))
        if server_key is not None:
            _encrypt(sub, server_key, client_keys)
        for topic in topics:
            sub.setsockopt(zmq.SUBSCRIBE, topic.encode())
        sub.connect(endpoint)
    except zmq.ZMQError as error:
        sub.close(linger=0)
        raise InputError(
            f"cannot connect to {endpoint!r}: {error}", hint="write it like tcp://127.0.0.1:5870"
        ) from error
    except BaseException:
        sub.close(linger=0)
        raise
    return sub


def _encrypt(sub: zmq.Socket[bytes], server_key: str | Path, client_keys: CurveKeys | None) -> None:
    key = public_key(server_key)
    if client_keys is not None:
        sub.curve_publickey = client_keys.public.encode("ascii")
        sub.curve_secretkey = client_keys.secret.encode("ascii")
    else:
        sub.curve_publickey, sub.curve_secretkey = zmq.curve_keypair()
    try:
        sub.curve_serverkey = key.encode("ascii")
    except (ValueError, zmq.ZMQError) as error:
        raise InputError(
            f"{key}: no CURVE key, though it looks like one", hint="copy the publisher's public key"
        ) from error


def _deadline(timeout_s: float | None) -> int | None:
    return None if timeout_s is None else time.monotonic_ns() + round(timeout_s * 1e9)


def _left_ms(deadline: int | None) -> int | None:
    if deadline is None:
        return None
    return max(0, -(-(deadline - time.monotonic_ns()) // 1_000_000))
