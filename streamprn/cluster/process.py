"""A worker that nobody's end takes with it: a process of its own, called over a socket.

Ray ends what it has started when the head of the cluster dies. So Ray starts a keeper only, and the
keeper this process, or finds it where an earlier keeper left it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamprn.cluster.folder import Process, read_process, write_private
from streamprn.cluster.rpc import Calls, call
from streamprn.errors import StreamPRNError

if TYPE_CHECKING:
    from streamprn.config import Config

__all__ = ["Detached", "Start"]

_SOCKET = "calls"
_PROCESS = "worker.process"
_FAILURE = "failure"
_DIGEST = "digest"
#: What it says, over restarts.
LOG = "log"
MOST_LOG_BYTES = 4 * 1024 * 1024
#: Until its parts are open: a first start compiles.
OPEN_S = 120.0
#: For a call that no camera has to be waited for.
ANSWER_S = 10.0
#: How long it may take to end by itself.
END_S = 4.0


@dataclass(frozen=True, slots=True)
class Start:
    """What a worker is started with.

    Attributes:
        config: without sources, with the address to publish on.
        cores: processors that it may use; none leaves them as they are.
    """

    config: Config
    cores: tuple[int, ...]


class Detached:
    """A worker process, as others on its machine see it.

    Args:
        folder: of this worker alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def process(self) -> Process | None:
        """It, where it lives."""
        return read_process(self.folder / _PROCESS)

    @property
    def digest(self) -> str:
        """Of the settings that it was started with."""
        with contextlib.suppress(OSError):
            return (self.folder / _DIGEST).read_text()
        return ""

    @property
    def failure(self) -> str:
        """Why it ended, as far as it said so."""
        with contextlib.suppress(OSError):
            return (self.folder / _FAILURE).read_text()
        return ""

    def call(self, name: str, *arguments: Any, timeout_s: float = ANSWER_S, **options: Any) -> Any:
        """Call a method of its `Worker`.

        Raises:
            CallError: it does not answer.
            Exception: what the method raised.
        """
        path = self.folder / _SOCKET
        return call(path, name, *arguments, timeout_s=timeout_s, **options)

    def start(self, start: Start, digest: str) -> Process:
        """Start it, and wait until its parts are open.

        Raises:
            StreamPRNError: they cannot be opened, and why.
        """
        (self.folder / _FAILURE).unlink(missing_ok=True)
        (self.folder / _SOCKET).unlink(missing_ok=True)
        write_private(self.folder / _DIGEST, digest)
        # Settings hold passwords of cameras: no file, and no title of a process.
        command = [sys.executable, "-m", "streamprn.cluster.process", str(self.folder)]
        with (self.folder / LOG).open("ab") as log:
            if log.tell() > MOST_LOG_BYTES:
                log.truncate(0)
            subprocess.run(
                command,
                input=pickle.dumps(start),
                stdout=log,
                stderr=log,
                check=True,
                timeout=OPEN_S,
            )
        deadline = time.monotonic() + OPEN_S
        while time.monotonic() < deadline:
            process = self.process
            if self.failure:
                raise StreamPRNError(self.failure)
            if process is None:
                raise StreamPRNError("the worker ended before it was open")
            if (self.folder / _SOCKET).exists():
                return process
            time.sleep(0.05)
        self.end()
        raise StreamPRNError(f"the worker was not open within {OPEN_S:g} s")

    def end(self) -> None:
        """End it, by force where it does not."""
        process = self.process
        if process is not None:
            process.end(END_S)


def main(folder: Path) -> None:
    """Be the process: go into the background, open a worker, answer calls until SIGTERM."""
    start: Start = pickle.loads(sys.stdin.buffer.read())
    if os.fork():
        # The one that was started waits until there is something to be found.
        deadline = time.monotonic() + 10
        while read_process(folder / _PROCESS) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os._exit(0)
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    write_private(folder / _PROCESS, _json(Process.of(os.getpid())))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        _serve(folder, start, stop)
    except Exception as error:  # noqa: BLE001  who started it says what it was
        write_private(folder / _FAILURE, str(error) or type(error).__name__)
        os._exit(1)
    os._exit(0)


def _serve(folder: Path, start: Start, stop: threading.Event) -> None:
    from streamprn.cluster.worker import Worker

    worker = Worker(start.config, start.cores)
    with Calls(folder / _SOCKET, worker):
        while not stop.wait(0.2) and worker.running:
            pass
    if not stop.is_set():
        write_private(folder / _FAILURE, worker.wait() or "its pipeline ended")
    worker.stop()


def _json(process: Process) -> str:
    import json

    return json.dumps(asdict(process))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
