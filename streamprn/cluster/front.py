"""The HTTP interface in front of all workers; whoever has a stream answers for it."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import anyio
import anyio.to_thread
from starlette.responses import Response

from streamprn.cluster.calls import fetch
from streamprn.cluster.control import CrewStreams, FrontControl
from streamprn.config.secrets import address_of
from streamprn.serve.liveness import PATIENCE_S, Health
from streamprn.serve.problems import ProblemError
from streamprn.serve.reload import Reloader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from starlette.applications import Starlette
    from starlette.requests import Request

    from streamprn.cluster.crew import Crew
    from streamprn.cluster.desk import ProxyClient
    from streamprn.cluster.worker import Answer
    from streamprn.config import Config, SourceConfig
    from streamprn.config.address import Address
    from streamprn.serve.app import Page, Parts, Threads
    from streamprn.serve.service import Service
    from streamprn.wire.proxy import Proxy

__all__ = ["CrewLiveness", "fronted"]

_OK = 200
#: Headers of a picture that go on to the client.
_PASSED = ("Content-Type", "Cache-Control", "X-Frame-Sequence", "X-Frame-Time")


class CrewLiveness:
    """Whether the workers are watched, and one of them is open; see `serve.liveness.Liveness`."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._health = Health.STARTING

    @property
    def health(self) -> Health:
        """As the last tick found it."""
        return self._health

    def tick(self) -> Health:
        """Look at the workers once."""
        if self._crew.idle_s > PATIENCE_S:
            self._health = Health.STUCK
        else:
            self._health = Health.ALIVE if self._crew.members else Health.STARTING
        return self._health


@contextlib.contextmanager
def fronted(
    service: Service,
    crew: Crew,
    proxy: Proxy | ProxyClient,
    config: Config,
    read_again: Callable[[], Config] | None,
    stop: threading.Event,
    check: Callable[[SourceConfig], Address] = address_of,
) -> Iterator[None]:
    """Watch, serve and reload the streams of all workers until the block ends.

    Args:
        service: bound, where HTTP is asked for.
        crew: the workers.
        proxy: in front of them.
        config: that they run.
        read_again: reads the configuration file; None where there is none.
        stop: ends it.
        check: of a source before a worker gets it.
    """
    reloader = Reloader(CrewStreams(crew), config, read_again, check)
    liveness = CrewLiveness(crew)

    def serve(token: str | None, closing: threading.Event) -> Starlette:
        from streamprn import __version__
        from streamprn.cluster.figures import FrontFigures
        from streamprn.serve.app import Parts, make_app

        parts = Parts(
            control=FrontControl(crew, reloader, check),
            liveness=liveness,
            metrics=FrontFigures(crew, proxy),
            previews=None,
            version=str(__version__),
            closing=closing,
        )
        pictures = Pictures(crew, config.http.preview_fps, config.http.max_viewers)
        return make_app(parts, token, pictures.pages)

    with service.watching(liveness, reloader, lambda: len(crew.names), serve, stop):
        yield


class Pictures:
    """Pictures of streams, fetched from the workers that have them.

    Args:
        crew: the workers.
        fps: most pictures a second of one film.
        max_viewers: pictures and films at a time.
    """

    def __init__(self, crew: Crew, fps: float, max_viewers: int) -> None:
        self._crew = crew
        self._interval_s = 1 / fps
        self._max_viewers = max_viewers
        self._viewers = 0
        self._lock = threading.Lock()
        # Not the threads of those who list and change streams.
        self._waiting = anyio.CapacityLimiter(max_viewers)

    @property
    def pages(self) -> dict[tuple[str, str], Page]:
        """Those that take the place of a pipeline's own."""
        return {
            ("/streams/{name}/snapshot.jpg", "GET"): self._snapshot,
            ("/streams/{name}/overlay.mjpg", "GET"): self._film,
        }

    async def _snapshot(self, parts: Parts, request: Request, threads: Threads) -> Response:
        name = str(request.path_params["name"])
        await threads.call(parts.control.stream, name)
        overlay = request.query_params.get("overlay", "true") != "false"
        with self._viewer():
            answer = await self._picture(name, overlay=overlay)
        lowered = {key.lower(): value for key, value in answer.headers.items()}
        headers = {key: lowered[key.lower()] for key in _PASSED if key.lower() in lowered}
        return Response(answer.body, answer.status, headers)

    async def _film(self, parts: Parts, request: Request, threads: Threads) -> Response:
        from streamprn.serve.answers import Film

        name = str(request.path_params["name"])
        await threads.call(parts.control.stream, name)

        async def pictures(_: None) -> AsyncGenerator[bytes, None]:
            while not parts.closing.is_set() and parts.control.exists(name):
                began = time.monotonic()
                # A stream that moves, or shows nothing for a while, goes on later.
                with contextlib.suppress(ProblemError):
                    answer = await self._picture(name, overlay=True)
                    if answer.status == _OK:
                        yield answer.body
                await anyio.sleep(max(0.0, began + self._interval_s - time.monotonic()))

        return Film(self._viewer(), pictures)

    @contextlib.contextmanager
    def _viewer(self) -> Iterator[None]:
        """Count one more viewer, as long as that is allowed."""
        with self._lock:
            if self._viewers >= self._max_viewers:
                raise ProblemError(
                    "busy",
                    f"{self._max_viewers} viewers are served already",
                    "try again later, or raise http.max_viewers",
                )
            self._viewers += 1
        try:
            yield
        finally:
            with self._lock:
                self._viewers -= 1

    async def _picture(self, name: str, *, overlay: bool) -> Answer:
        path = f"/streams/{quote(name, safe='')}/snapshot.jpg"
        query = "" if overlay else "?overlay=false"
        return await anyio.to_thread.run_sync(
            fetch, self._crew, name, path + query, limiter=self._waiting
        )
