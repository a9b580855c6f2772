"""`streamprn run` as a user starts it: a process, its configuration file, its control interface."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import psutil
import yaml

from benchmarks.rig.places import free_port

MIB = 1 << 20
_START_S = 60.0


class Service:
    """A running engine; a context manager.

    Args:
        folder: for its configuration, recordings and log.
        sources: as in `config.yaml`.
        settings: further sections of `config.yaml`.
        program: what to run instead of `-m streamprn`.
    """

    def __init__(
        self,
        folder: Path,
        sources: Sequence[dict[str, Any]],
        settings: dict[str, Any] | None = None,
        program: Sequence[str] = ("-m", "streamprn"),
    ) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.log = folder / "log"
        self.endpoint = f"tcp://127.0.0.1:{free_port()}"
        self.http_port = free_port()
        self.environment: dict[str, str] = {}
        self._sources = list(sources)
        self._settings = settings or {}
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.write(self._sources)
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def process(self) -> psutil.Process:
        """Of the engine."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @property
    def publish_port(self) -> int:
        """Of its ZeroMQ socket."""
        return int(self.endpoint.rpartition(":")[2])

    def write(self, sources: Sequence[dict[str, Any]]) -> None:
        """Write its configuration."""
        mapping = {
            "sources": list(sources),
            "publish": {"bind": self.endpoint},
            "http": {"bind": f"127.0.0.1:{self.http_port}"},
            "log": {"level": "warning"},
        }
        self.config.write_text(yaml.safe_dump(mapping | self._settings))

    def start(self) -> None:
        """Start it, as a service manager does; returns at once."""
        command = [sys.executable, *self._program, "run", "--config", str(self.config)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Wait until its engine is warm and its streams are live."""
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError(f"it ended: {self.said()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/readyz")[0] == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"it did not get ready: {self.said()}")

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-2000:]

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code, or None where it does not end in time."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None

    def end(self, timeout_s: float = 5.0) -> int | None:
        """SIGTERM; its exit code, or None where it does not end in time."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """One request to its control interface: status and answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=10)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def usage(self) -> dict[str, float]:
        """What the process holds: MiB of memory, threads, descriptors, sockets."""
        process = self.process
        with process.oneshot():
            return {
                "rss_mib": process.memory_info().rss / MIB,
                "threads": process.num_threads(),
                "descriptors": process.num_fds(),
                "sockets": len(process.net_connections("inet")),
            }
