"""Everything around a running pipeline: health, reload, the service manager, HTTP."""

from __future__ import annotations

import contextlib
import logging
import threading
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

from streamprn.errors import InputError, StreamPRNError
from streamprn.serve import systemd
from streamprn.serve.control import Control
from streamprn.serve.listen import Listener, listen, read_token
from streamprn.serve.liveness import Health, Liveness
from streamprn.serve.reload import Reloader
from streamprn.serve.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.applications import Starlette

    from streamprn.config import Config
    from streamprn.engines.topology import Topology
    from streamprn.live.finish import ResultSink
    from streamprn.live.pipeline import Pipeline
    from streamprn.serve.ports import Watched
    from streamprn.serve.preview import Previews
    from streamprn.serve.server import Server

__all__ = ["Service"]

log = logging.getLogger("streamprn.serve")

TICK_S = 1.0
_NEEDED = ("starlette", "uvicorn", "prometheus_client")


class Service:
    """What `streamprn run` offers beside the engine. A context manager.

        with Service(config, read_again) as service:
            with Pipeline(config, sinks=service.sinks) as pipeline, service.attending(pipeline):
                pipeline.run(stop, until_stopped=service.serves)

    Args:
        config: of the pipeline.
        read_again: reads the configuration file with the flags laid over it, for a reload; None
            where there is no file.
        run_id: names this run; "" takes that of the publisher, which stands in every message.

    Attributes:
        control: of the streams of the pipeline that is attended to.

    Raises:
        InputError: HTTP is asked for and its libraries are missing, or the token cannot be used.
        PublishError: the address cannot be bound.
    """

    def __init__(
        self, config: Config, read_again: Callable[[], Config] | None, run_id: str = ""
    ) -> None:
        self._config = config
        self._read_again = read_again
        self._run_id = run_id
        self._listener: Listener | None = None
        self._token: str | None = None
        self._previews: Previews | None = None
        self._timings = Timings()
        self._pipeline: Pipeline | None = None
        self._pending = threading.Event()
        self._done = threading.Event()
        self.control: Control
        self._wake = threading.Condition()
        if config.http.bind is not None:
            self._prepare_http(config.http.bind)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.close()

    @property
    def serves(self) -> bool:
        """Whether it serves HTTP, so that streams may come at any time."""
        return self._listener is not None

    @property
    def url(self) -> str:
        """Where it serves HTTP, or an empty text."""
        return self._listener.url if self._listener is not None else ""

    @property
    def sinks(self) -> list[ResultSink]:
        """What must see the frames of the pipeline."""
        return [self._timings, self._previews] if self._previews is not None else []

    def reload(self) -> None:
        """Read the configuration file again, soon and in another thread; what comes is logged."""
        with self._wake:
            self._pending.set()
            self._wake.notify_all()

    @contextlib.contextmanager
    def attending(self, pipeline: Pipeline, stop: threading.Event | None = None) -> Iterator[None]:
        """Watch, serve and reload a pipeline until the block ends.

        Args:
            pipeline: entered, with `sinks` among its own.
            stop: ends the pipeline, so that the server ends beside it and not after it.
        """
        self._pipeline = pipeline
        reloader = Reloader(pipeline.streams, self._config, self._read_again)
        self.control = Control(pipeline.streams, reloader, self._timings)
        liveness = Liveness(pipeline)
        serve = partial(self._app_of, pipeline, liveness)
        with self.watching(liveness, reloader, lambda: len(pipeline.streams), serve, stop):
            yield

    @contextlib.contextmanager
    def watching(
        self,
        liveness: Watched,
        reloader: Reloader,
        count: Callable[[], int],
        serve: Callable[[str | None, threading.Event], Starlette],
        stop: threading.Event | None = None,
    ) -> Iterator[None]:
        """Watch, serve and reload whatever has streams until the block ends.

        Args:
            liveness: looked at about once a second.
            reloader: of its streams.
            count: how many there are.
            serve: makes the application from the token and the event that the server ends; called
                only where HTTP is asked for.
            stop: ends it, so that the server ends beside it and not after it.
        """
        attendant = threading.Thread(
            target=self._attend, args=(liveness, reloader, count), name="service", daemon=True
        )
        server = self._server(serve, stop or threading.Event())
        attendant.start()
        if server is not None:
            server.start()
        try:
            yield
        finally:
            systemd.notify("STOPPING=1")
            if server is not None:
                server.stop()
            with self._wake:
                self._done.set()
                self._wake.notify_all()
            attendant.join(TICK_S)

    # --- the attendant's thread -------------------------------------------------------------------

    def _attend(self, liveness: Watched, reloader: Reloader, count: Callable[[], int]) -> None:
        limit_s = systemd.watchdog_s()
        tick_s = TICK_S if limit_s is None else min(TICK_S, limit_s / 3)
        told = Health.STARTING
        while not self._done.is_set():
            health = liveness.tick()
            if health is Health.ALIVE:
                lines = ["WATCHDOG=1"] if limit_s is not None else []
                if told is Health.STARTING:
                    lines += ["READY=1", f"STATUS={count()} streams"]
                if lines:
                    systemd.notify(*lines)
                told = health
            if self._pending.is_set():
                self._reload_now(reloader, count)
            with self._wake:
                self._wake.wait_for(
                    lambda: self._done.is_set() or self._pending.is_set(),
                    tick_s if told is Health.ALIVE else tick_s / 10,
                )

    def _reload_now(self, reloader: Reloader, count: Callable[[], int]) -> None:
        self._pending.clear()
        systemd.notify(systemd.reloading())
        try:
            done = reloader.reload()
            status = f"{count()} streams; reloaded: {done}"
        except StreamPRNError as error:
            log.error("nothing was reloaded: %s", error)
            status = "the last reload failed, see the log"
        systemd.notify("READY=1", f"STATUS={status}")

    # --- HTTP -------------------------------------------------------------------------------------

    def _prepare_http(self, bind: str) -> None:
        missing = [name for name in _NEEDED if find_spec(name) is None]
        if missing:
            raise InputError(
                f"--http needs {', '.join(missing)}", hint="pip install 'streamprn[serve]'"
            )
        settings = self._config.http
        if settings.token_file is not None:
            self._token = read_token(Path(settings.token_file))
        self._listener = listen(bind, self._token)
        if not self._listener.local:
            log.warning(
                "%s can be reached from other machines and is not encrypted: who listens on the "
                "way reads the token; put a TLS proxy or a tunnel before it",
                self._listener.url,
            )
        from streamprn.serve.preview import Previews

        self._previews = Previews(self._topology, settings.preview_fps, settings.max_viewers)

    def _topology(self) -> Topology:
        assert self._pipeline is not None
        return self._pipeline.topology

    def _server(
        self, serve: Callable[[str | None, threading.Event], Starlette], stop: threading.Event
    ) -> Server | None:
        if self._listener is None:
            return None
        from streamprn.serve.server import Server

        closing = threading.Event()
        return Server(serve(self._token, closing), self._listener, closing, stop)

    def _app_of(
        self, pipeline: Pipeline, liveness: Liveness, token: str | None, closing: threading.Event
    ) -> Starlette:
        from streamprn import __version__
        from streamprn.serve.app import Parts, make_app
        from streamprn.serve.metrics import Metrics

        about = {
            "version": str(__version__),
            "engine": self._config.engine.name,
            "backend": pipeline.backend,
            "run": self._run_id or pipeline.publisher.run,
        }
        parts = Parts(
            control=self.control,
            liveness=liveness,
            metrics=Metrics(pipeline, self._timings, liveness, about),
            previews=self._previews,
            version=str(__version__),
            closing=closing,
        )
        return make_app(parts, token)
