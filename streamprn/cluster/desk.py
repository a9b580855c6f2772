"""The proxy, and what must outlive the process that speaks with Ray, behind a socket.

Ray ends a process that speaks with it when it loses its head. The proxy is therefore in another
one, so that subscribers do not notice.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from streamprn.cluster.rpc import call

if TYPE_CHECKING:
    from pathlib import Path

    from streamprn.cluster.folder import ClusterFolder
    from streamprn.records import SourceStatus
    from streamprn.wire.counters import PublishCounters
    from streamprn.wire.proxy import Proxy, ProxyCounters, Upstream

__all__ = ["Desk", "ProxyClient"]


class Desk:
    """What the process that speaks with Ray may ask of the one that has the proxy.

    Args:
        proxy: in front of all workers.
        folder: keeps over restarts where each stream was.
    """

    def __init__(self, proxy: Proxy, folder: ClusterFolder) -> None:
        self._proxy = proxy
        self._folder = folder
        self._lock = threading.Lock()
        self._endpoints: set[str] = set()
        self._state: dict[str, Any] = {}
        self._shown: dict[str, Any] = {}

    def connect(self, upstream: Upstream) -> None:
        """See `Proxy.connect`."""
        with self._lock:
            self._endpoints.add(upstream.endpoint)
        self._proxy.connect(upstream)

    def disconnect(self, endpoint: str) -> None:
        """See `Proxy.disconnect`."""
        with self._lock:
            self._endpoints.discard(endpoint)
        self._proxy.disconnect(endpoint)

    def keep(self, endpoints: set[str]) -> None:
        """Read no longer from any but these."""
        with self._lock:
            gone, self._endpoints = self._endpoints - endpoints, self._endpoints & endpoints
        for endpoint in gone:
            self._proxy.disconnect(endpoint)

    def assign(self, stream: str, run: str) -> None:
        """See `Proxy.assign`."""
        self._proxy.assign(stream, run)

    def release(self, stream: str) -> None:
        """See `Proxy.release`."""
        self._proxy.release(stream)

    def tell(self, status: SourceStatus) -> None:
        """See `Proxy.tell`."""
        self._proxy.tell(status)

    def received(self) -> ProxyCounters:
        """See `Proxy.received`."""
        return self._proxy.received

    def counters(self) -> PublishCounters:
        """See `Proxy.counters`."""
        return self._proxy.counters

    def remember(self, state: dict[str, Any], shown: dict[str, Any]) -> None:
        """Keep what the next process needs, and what `status` shows.

        Args:
            state: as `recall` gives it back; only where streams are is kept on disk.
            shown: to people.
        """
        before = self._state.get("where")
        self._state, self._shown = state, shown
        if state.get("where") != before:
            self._folder.write("placement", state.get("where"))

    def recall(self) -> dict[str, Any]:
        """What was remembered last; of an earlier program, only where its streams were."""
        return self._state or {"where": self._folder.read("placement") or {}}

    def status(self) -> dict[str, Any]:
        """What `streamprn cluster status` shows."""
        return {"role": "head", "endpoint": self._proxy.endpoint, **self._shown}


class ProxyClient:
    """The proxy as another process on the machine has it; see `Proxy`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def connect(self, upstream: Upstream) -> None:
        """See `Proxy.connect`."""
        call(self._path, "connect", upstream)

    def disconnect(self, endpoint: str) -> None:
        """See `Proxy.disconnect`."""
        call(self._path, "disconnect", endpoint)

    def assign(self, stream: str, run: str) -> None:
        """See `Proxy.assign`."""
        call(self._path, "assign", stream, run)

    def release(self, stream: str) -> None:
        """See `Proxy.release`."""
        call(self._path, "release", stream)

    def tell(self, status: SourceStatus) -> None:
        """See `Proxy.tell`."""
        call(self._path, "tell", status)

    @property
    def received(self) -> ProxyCounters:
        """See `Proxy.received`."""
        counters: ProxyCounters = call(self._path, "received")
        return counters

    @property
    def counters(self) -> PublishCounters:
        """See `Proxy.counters`."""
        counters: PublishCounters = call(self._path, "counters")
        return counters
