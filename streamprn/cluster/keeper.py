"""What Ray starts on a machine: keeps one worker process, and passes calls on to it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from streamprn.cluster.folder import ClusterFolder, write_private
from streamprn.cluster.local import shares
from streamprn.cluster.process import Detached, Start
from streamprn.cluster.rpc import CallError
from streamprn.cluster.worker import config_of_worker
from streamprn.errors import StreamPRNError

if TYPE_CHECKING:
    from streamprn.cluster.worker import Answer, Hello, Report
    from streamprn.config import Config, SourceConfig
    from streamprn.serve.problems import Problem

__all__ = ["FOLDER", "Keeper", "Order"]

#: The variable that names the folder of a machine; Ray hands it down.
FOLDER = "STREAMPRN_CLUSTER_FOLDER"
#: For a keeper before this one to let go of the worker.
LOCK_S = 20.0
#: For a worker that was found to say who it is.
FOUND_S = 5.0
LOOK_S = 0.05
VIEW_S = 8.0
#: A worker that does not report for so long is ended.
PATIENCE_S = 12.0


@dataclass(frozen=True, slots=True)
class Order:
    """Which worker is to be kept.

    Attributes:
        config: of all workers.
        index: of this one among those of its machine.
        workers: of its machine.
        address: of its machine; empty where the proxy is on it too.
        token: that requests over HTTP must bring, or None.
        readers: public keys of the proxy and of those who may read from the worker where the head
            is gone; None lets everybody who has the machine's key.
    """

    config: Config
    index: int
    workers: int
    address: str
    token: str | None
    readers: tuple[tuple[str, str], ...] | None


class Keeper:
    """Starts a worker process, or takes over the one that is there. Any thread may call."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._folder = ClusterFolder(Path(os.environ[FOLDER]))
        self._worker = Detached(self._folder.worker(order.index))
        self._lock: IO[str] | None = None

    def hello(self) -> Hello:
        """Start it or take it over; returns what it says.

        Raises:
            StreamPRNError: it cannot be started.
        """
        self._lock = self._locked()
        keys = self._folder.keys("node") if self._order.address else None
        start = self._start()
        digest = hashlib.sha256(repr((self._order, start.cores, keys)).encode()).hexdigest()
        hello = self._found(digest)
        if hello is None:
            self._worker.end()
            for old in self._worker.folder.glob("p-*"):  # sockets that nobody listens on any more
                old.unlink(missing_ok=True)
            self._worker.start(start, digest)
            hello = self._worker.call("hello")
        return replace(hello, server_key=keys.public if keys is not None else "")

    def wait(self) -> str:
        """Return when the process has ended, with the cause."""
        process = self._worker.process
        while process is not None and process.alive:
            time.sleep(LOOK_S)
        return self._worker.failure or "its process ended"

    def report(self) -> Report:
        """How it stands now; one that does not say is ended."""
        try:
            report: Report = self._worker.call("report", timeout_s=PATIENCE_S)
        except CallError:
            self._worker.end()
            raise
        return report

    def call(self, name: str, *arguments: Any) -> Any:
        """See `Worker.call`."""
        return self._worker.call("call", name, *arguments)

    def fetch(self, path: str, accept: str = "") -> Answer:
        """See `Worker.fetch`."""
        answer: Answer = self._worker.call("fetch", path, accept, timeout_s=VIEW_S)
        return answer

    def take(self, source: SourceConfig, *, paused: bool) -> Problem | None:
        """See `Worker.take`."""
        problem: Problem | None = self._worker.call("take", source, paused=paused)
        return problem

    def drop(self, name: str) -> None:
        """See `Worker.drop`."""
        self._worker.call("drop", name)

    def settle(self, wanted: dict[str, tuple[SourceConfig, bool]]) -> None:
        """See `Worker.settle`."""
        self._worker.call("settle", wanted)

    def stop(self) -> None:
        """End the process."""
        self._worker.end()

    def close(self) -> None:
        """Let go of the worker, which goes on; as the end of this process does."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _found(self, digest: str) -> Hello | None:
        """The worker that is there already; None where it is to be another one."""
        if self._worker.process is None or self._worker.digest != digest:
            return None
        try:
            hello: Hello = self._worker.call("hello", timeout_s=FOUND_S)
        except CallError:
            return None
        return hello

    def _start(self) -> Start:
        order, folder = self._order, self._worker.folder
        publish: dict[str, Any] = {}
        if order.address:
            host = f"[{order.address}]" if ":" in order.address else order.address
            bind = f"tcp://{host}:*"
            publish["curve_secret_file"] = str(self._folder.path / "node.key_secret")
            # Who reads beside the proxy is checked where the cluster is started.
            publish["insecure"] = True
            if order.readers is not None:
                publish["curve_allow_dir"] = str(_written(folder / "readers", order.readers))
        else:
            bind = f"ipc://{folder}/p-{secrets.token_hex(2)}"
        config = config_of_worker(order.config, bind, **publish)
        token_file = None
        if order.token is not None:
            token_file = str(folder / "token")
            write_private(folder / "token", order.token)
        config = replace(config, http=replace(config.http, token_file=token_file))
        return Start(config, shares(order.workers)[order.index])

    def _locked(self) -> IO[str]:
        """Hold the worker, once an earlier keeper has let go of it."""
        file = (self._worker.folder / "lock").open("a+")
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > deadline:
                    file.close()
                    raise StreamPRNError("another cluster keeps this worker") from None
                time.sleep(LOOK_S)
            else:
                return file


def _written(folder: Path, keys: tuple[tuple[str, str], ...]) -> Path:
    """A folder with these public keys and no others."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    for name, key in keys:
        write_private(folder / f"{name}.key", f'curve\n    public-key = "{key}"\n')
    return folder
