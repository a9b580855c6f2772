"""One worker: a pipeline in a process of its own, which Ray starts and watches."""

from __future__ import annotations

import http.client
import logging
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from streamprn.config.convert import plain
from streamprn.errors import StreamPRNError
from streamprn.memory import settle
from streamprn.serve.listen import read_token
from streamprn.serve.problems import Problem, ProblemError, problem_of

if TYPE_CHECKING:
    from streamprn.config import Config, SourceConfig

__all__ = ["Answer", "Hello", "Report", "Worker", "fetched"]

#: How long a worker may take to end its threads.
STOP_TIMEOUT_S = 2.0
#: For a page of its own HTTP interface; a picture waits for its frame.
FETCH_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Hello:
    """What a worker says once its parts are open.

    Attributes:
        endpoint: where it publishes, for the proxy alone.
        run: of its messages.
        url: its own HTTP interface.
        pid: its process.
        backend: what runs its network.
        streams: that it has already, where it was left by a cluster that went.
        server_key: its public CURVE key, where it encrypts.
    """

    endpoint: str
    run: str
    url: str
    pid: int
    backend: str
    streams: tuple[str, ...] = ()
    server_key: str = ""

    def shown(self) -> dict[str, Any]:
        """What `streamprn cluster status` shows of it on every machine."""
        return {
            "pid": self.pid,
            "run": self.run,
            "backend": self.backend.partition(" (")[0],
            "endpoint": self.endpoint,
            "http": self.url,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """How a worker stands.

    Attributes:
        streams: as `GET /streams` shows them.
        cores: that its process took since the last report.
        running: whether frames are looked at.
    """

    streams: tuple[dict[str, Any], ...]
    cores: float
    running: bool


class Answer(NamedTuple):
    """What a worker's own HTTP interface answered."""

    status: int
    headers: dict[str, str]
    body: bytes


class Worker:
    """Runs a pipeline without sources, to which streams are added. Any thread may call.

    Args:
        config: with the address to publish on; its sources are left out.
        cores: the processors that this process may use; none leaves them as they are.
    """

    def __init__(self, config: Config, cores: tuple[int, ...]) -> None:
        if cores:
            os.sched_setaffinity(0, cores)
        import contextlib

        import psutil

        from streamprn.live.pipeline import Pipeline
        from streamprn.serve.service import Service

        logging.basicConfig(level=config.log.level.upper(), format="%(message)s")
        self._stop = threading.Event()
        self._process = psutil.Process()
        self._process.cpu_percent()
        with contextlib.ExitStack() as opened:
            service = opened.enter_context(Service(config, None))
            self._pipeline = opened.enter_context(
                Pipeline(config, sinks=service.sinks, behind_proxy=True)
            )
            opened.enter_context(service.attending(self._pipeline, self._stop))
            self._opened = opened.pop_all()
        self._url, self._control = service.url, service.control
        file = config.http.token_file
        self._token = None if file is None else read_token(Path(file))
        self._failure: BaseException | None = None
        settle()
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
        self._thread.start()

    def hello(self) -> Hello:
        """Who it is."""
        publisher = self._pipeline.publisher
        return Hello(
            publisher.endpoint,
            publisher.run,
            self._url,
            os.getpid(),
            self._pipeline.backend,
            self._pipeline.streams.names,
        )

    @property
    def running(self) -> bool:
        """Whether its pipeline has not ended."""
        return self._thread.is_alive()

    def wait(self) -> str:
        """Return when the pipeline has ended, with the cause."""
        self._thread.join()
        return str(self._failure or "")

    def report(self) -> Report:
        """How it stands now."""
        cores = self._process.cpu_percent() / 100
        return Report(tuple(self._control.streams()), cores, self._pipeline.running)

    def call(self, name: str, *arguments: Any) -> Any:
        """Call the control interface; a `Problem` where it refuses."""
        try:
            return getattr(self._control, name)(*arguments)
        except ProblemError as error:
            return error.problem
        except StreamPRNError as error:
            return problem_of(error)

    def fetch(self, path: str, accept: str = "") -> Answer:
        """A page of its own HTTP interface; see `fetched`."""
        return fetched(self._url, path, accept, self._token)

    def take(self, source: SourceConfig, *, paused: bool) -> Problem | None:
        """Add a stream, which another worker may have had before; a `Problem` where it cannot."""
        try:
            name = self._pipeline.streams.add(source)
            if paused:
                self._pipeline.streams.pause(name)
        except StreamPRNError as error:
            return problem_of(error)
        return None

    def drop(self, name: str) -> None:
        """Let go of a stream, which may have gone already."""
        if self._control.exists(name):
            self._control.remove(name)

    def settle(self, wanted: dict[str, tuple[SourceConfig, bool]]) -> None:
        """Make its streams those of another cluster than the one that gave them.

        Args:
            wanted: settings of each stream that it is to go on with, and whether it is paused.
        """
        for name in self._pipeline.streams.names:
            if name not in wanted:
                self.drop(name)
                continue
            source, paused = wanted[name]
            self.call("change", name, plain(source))
            (self._pipeline.streams.pause if paused else self._pipeline.streams.resume)(name)

    def stop(self) -> None:
        """End the pipeline and close its parts."""
        self._stop.set()
        self._thread.join(STOP_TIMEOUT_S)
        self._opened.close()

    def _run(self) -> None:
        try:
            self._pipeline.run(self._stop, until_stopped=True)
        except BaseException as error:  # noqa: BLE001  it is told to who waits
            self._failure = error


def fetched(url: str, path: str, accept: str, token: str | None) -> Answer:
    """GET a page.

    Args:
        url: of the server.
        path: of the page, with its query.
        accept: what kinds of it are understood.
        token: that the server asks for.

    Raises:
        OSError: it cannot be had.
    """
    headers = {"Accept": accept} if accept else {}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=FETCH_TIMEOUT_S)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.headers), answer.read())
    except http.client.HTTPException as error:
        raise OSError(str(error) or type(error).__name__) from error
    finally:
        connection.close()


def config_of_worker(config: Config, bind: str, **publish: Any) -> Config:
    """The settings of a worker: those of all, without sources, on an address of its own.

    Args:
        config: of all.
        bind: where it publishes.
        **publish: more keys of `publish`; it has no keys of its own otherwise.
    """
    alone = {"curve_secret_file": None, "curve_allow_dir": None, "insecure": False}
    return replace(
        config,
        sources=(),
        publish=replace(config.publish, bind=bind, **(alone | publish)),
        http=replace(config.http, bind="127.0.0.1:0"),
    )
