"""Subscribing to what is light of streams whose names are not known yet."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamprn.records import Kind
    from streamprn.wire import Message
    from streamprn.wire.subscribe import Subscriber

__all__ = ["Narrow"]

_SILENCE_S = 2.0
_TICK_S = 0.1


class Narrow:
    """Finds the streams by subscribing to everything, then asks for some kinds alone.

    Args:
        subscriber: one that asks for everything.
        kinds: what is wanted of each stream; images, depth and meshes would make the publisher
            work for nothing.
    """

    def __init__(self, subscriber: Subscriber, kinds: Collection[Kind]) -> None:
        self._subscriber = subscriber
        self._kinds = frozenset(kinds)
        self._asked: set[str] = set()
        self._wide = True
        self._since = 0.0
        self._last = time.monotonic()

    def hear(self, message: Message | None) -> bool:
        """Adapt the subscriptions; whether the message is of the wanted kinds."""
        now = time.monotonic()
        if message is None:
            if self._wide and self._since and now - self._since > _TICK_S:
                self._close()
            elif not self._wide and now - self._last > _SILENCE_S:
                self._open()
            return False
        self._last = now
        self._ask_for(message.stream)
        if self._wide:
            self._since = self._since or now
            if now - self._since > _TICK_S:
                self._close()
        return message.kind in self._kinds

    def _ask_for(self, stream: str) -> None:
        if stream not in self._asked:
            self._asked.add(stream)
            for kind in self._kinds:
                self._subscriber.subscribe(f"{stream}/{kind.value}")

    def _close(self) -> None:
        self._wide = False
        self._subscriber.unsubscribe("")

    def _open(self) -> None:
        self._wide, self._since = True, 0.0
        self._last = time.monotonic()
        self._subscriber.subscribe("")
