"""uvicorn in a thread of its own, with bounds that it lacks."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from streamprn.serve.listen import Listener

__all__ = ["Server"]

#: Requests at a time; further ones are answered 503.
MAX_REQUESTS = 128
#: Connections at a time; further ones are closed at once.
MAX_CONNECTIONS = 256
MAX_HEADER_BYTES = 16 * 1024
KEEP_ALIVE_S = 10
#: How long a client may take for the head of a request, or to read what it asked for.
PATIENCE_S = 10.0
CHECK_S = 2.0
STOP_TIMEOUT_S = 0.6


class BoundedProtocol(H11Protocol):
    """Lets go of clients that begin a request and do not end it, or do not read its answer."""

    _check: asyncio.TimerHandle | None = None
    _since_s: float | None = None
    _unread_since_s: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._check = self.loop.call_later(CHECK_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._check is not None:
            self._check.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._unread_since_s = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._unread_since_s = None
        super().resume_writing()

    def _look(self) -> None:
        now = self.loop.time()
        between = self.cycle is None or self.cycle.response_complete
        if not (between or self.transport.is_closing()):
            self._since_s = None
        elif self._since_s is None:
            self._since_s = now - CHECK_S
        waited = [now - since for since in (self._since_s, self._unread_since_s) if since]
        if waited and max(waited) >= PATIENCE_S:
            self.transport.abort()
            return
        self._check = self.loop.call_later(CHECK_S, self._look)


class _Uvicorn(uvicorn.Server):
    """Ends when one of two events is set, at the next of its ticks, ten of which make a second."""

    def __init__(
        self, config: uvicorn.Config, closing: threading.Event, stop: threading.Event
    ) -> None:
        super().__init__(config)
        self._closing = closing
        self._stop = stop

    async def on_tick(self, counter: int) -> bool:
        """See `uvicorn.Server`."""
        if self._stop.is_set() or self._closing.is_set():
            self._closing.set()
            # What is cut off now is no error.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            self.force_exit = self.should_exit = True
        return await super().on_tick(counter)


class Server:
    """Serves an application until it is stopped.

    Args:
        app: the application.
        listener: bound; closed with the server.
        closing: set when the server ends, for answers that would go on for ever.
        stop: ends the server when somebody else sets it.
    """

    def __init__(
        self,
        app: Starlette,
        listener: Listener,
        closing: threading.Event,
        stop: threading.Event,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_REQUESTS,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
        )
        self._server = _Uvicorn(config, closing, stop)
        self._listener = listener
        self._closing = closing
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Start to serve; once only."""
        route_log()
        self._thread.start()

    def stop(self) -> None:
        """End; answers that are under way are cut off."""
        self._closing.set()
        self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener.socket])
        except BaseException as error:
            # The engine goes on without it, and says so.
            self.failure = error
            logging.getLogger("streamprn.serve").exception("the control interface has ended")


def route_log() -> None:
    """Let uvicorn's errors go where the project's go; clients cannot fill the log with warnings."""
    log = logging.getLogger("uvicorn.error")
    log.handlers, log.propagate = [*logging.getLogger("streamprn").handlers], False
    log.setLevel(logging.ERROR)
