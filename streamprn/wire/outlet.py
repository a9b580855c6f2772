"""The socket that sends, past subscribers that do not read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import zmq

from streamprn.errors import PublishError
from streamprn.wire.bind import LINGER_MS, bind_publisher
from streamprn.wire.counters import PublishCounters
from streamprn.wire.inbound import InboundWatch
from streamprn.wire.topics import HEARTBEAT

if TYPE_CHECKING:
    from streamprn.wire.bind import CurveKeys

__all__ = ["Outlet", "SentParts"]

_NONSENSE = zmq.Frame(b"\xff")

SentParts = Sequence[bytes | memoryview | zmq.Frame]


class Outlet:
    """A bound XPUB socket and what it has done. One thread at a time.

    Attributes:
        counted: what it has done.
        inbound: to be asked often by the thread that waits for subscriptions.

    Args:
        context: of the socket.
        bind: ZeroMQ address.
        send_hwm: messages that wait for one slow subscriber.
        curve: encrypt with these server keys.

    Raises:
        PublishError: the address is malformed, in use, or not of this machine.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        bind: str,
        send_hwm: int,
        curve: CurveKeys | None,
    ) -> None:
        self.socket = bind_publisher(context, bind, send_hwm, curve)
        self.endpoint: str = self.socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self.counted = PublishCounters()
        self.inbound = InboundWatch(self.endpoint)

    @property
    def counters(self) -> PublishCounters:
        """A snapshot."""
        return replace(self.counted)

    def send(self, parts: SentParts) -> None:
        """Send; waits a millisecond where a subscriber's queue is full, then leaves it out."""
        if not self.attempt(parts):
            self.counted.overruns += 1
            self.send_past_the_full(parts)

    def attempt(self, parts: SentParts, flags: int = 0) -> bool:
        """Send unless a matching subscriber's queue stays full; False where one does.

        Raises:
            PublishError: the socket cannot send.
        """
        try:
            self.socket.send_multipart(parts, flags, copy=False)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            raise PublishError(f"sending on {self.endpoint} failed: {error}") from error
        if parts[0] != HEARTBEAT:
            self.counted.messages += 1
            self.counted.bytes += sum(map(len, parts))
        return True

    def send_past_the_full(self, parts: SentParts) -> None:
        """Send to those who have room. The others are left out until they read again."""
        self.socket.setsockopt(zmq.XPUB_NODROP, 0)
        try:
            self.attempt(parts)
        finally:
            self.socket.setsockopt(zmq.XPUB_NODROP, 1)

    def take(self) -> zmq.Frame | None:
        """A message of a subscriber, None where none waits; one of several parts comes as nonsense.

        While some wait here, no more are taken over from the connections: libzmq looks there when
        it has nothing to give, and when it sends, once in a millisecond.
        """
        try:
            message = self.socket.recv(zmq.DONTWAIT, copy=False)
            parts = 1
            while message.more:  # no subscription has several parts
                message = self.socket.recv(zmq.DONTWAIT, copy=False)
                parts += 1
        except zmq.Again:
            return None
        return message if parts == 1 else _NONSENSE

    def close(self) -> None:
        """Close; what is still queued gets a fifth of a second to leave."""
        self.socket.close(linger=LINGER_MS)
