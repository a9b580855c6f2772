"""What a machine keeps of a cluster while it runs, for its user alone."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from streamprn.errors import InputError
from streamprn.paths import home
from streamprn.wire.bind import CurveKeys

__all__ = ["ClusterFolder", "Process", "default_folder"]

#: How long a process may take to end by itself.
END_S = 5.0
_MODE = 0o700


def default_folder() -> Path:
    """Where a machine keeps it unless it is told otherwise."""
    return home() / "cluster"


@dataclass(frozen=True, slots=True)
class Process:
    """A process that outlives whoever started it; told from a later one of the same number.

    Attributes:
        pid: its number.
        created_s: when it began, as the system says.
    """

    pid: int
    created_s: float

    @classmethod
    def of(cls, pid: int) -> Process:
        """A process that lives now.

        Raises:
            psutil.NoSuchProcess: there is none.
        """
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.created_s) < 1.0
            return same and found.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def end(self, timeout_s: float = END_S, number: int = signal.SIGTERM) -> None:
        """End it: by a signal first, by force after `timeout_s`."""
        self.send(number)
        if not self.wait(timeout_s):
            self.send(signal.SIGKILL)
            self.wait(1.0)

    def send(self, number: int) -> None:
        """Send it a signal, where it lives."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> bool:
        """Whether it ends within a time."""
        deadline = time.monotonic() + timeout_s
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


class ClusterFolder:
    """The folder; see the module.

    Args:
        path: is made where it is not there.

    Raises:
        InputError: it cannot be made, or others can enter it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(mode=_MODE, parents=True, exist_ok=True)
            state = self.path.stat()
        except OSError as error:
            raise InputError(f"{path}: cannot be used: {error.strerror or error}") from error
        if state.st_uid != os.getuid() or state.st_mode & 0o022:
            raise InputError(
                f"{path}: others own it or can write to it", hint=f"chmod 700 {path}, or --folder"
            )

    @property
    def desk(self) -> Path:
        """The socket of the process that `cluster up` or `join` is."""
        return self.path / "desk"

    @property
    def token(self) -> Path:
        """The file with the token by which the machines of a cluster know each other."""
        return self.path / "token"

    @property
    def workers(self) -> list[Path]:
        """A folder for each worker that there is or was."""
        return sorted(path for path in self.path.glob("worker-*") if path.is_dir())

    def worker(self, index: int) -> Path:
        """The folder of a worker; it is made where it is not there."""
        path = self.path / f"worker-{index}"
        path.mkdir(mode=_MODE, exist_ok=True)
        return path

    def name(self) -> str:
        """Of this machine within its cluster: that of the host, and a part that nobody else has."""
        return self._kept("name", lambda: f"{_host()}-{secrets.token_hex(2)}")

    def make_token(self) -> Path:
        """The token's file, made where it is not there."""
        self._kept("token", lambda: secrets.token_hex(32))
        return self.token

    def keys(self, name: str) -> CurveKeys:
        """A key pair of this machine, made where it is not there."""
        file = self.path / f"{name}.key_secret"
        return CurveKeys.load(file) if file.is_file() else CurveKeys.create(self.path, name)

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Let no other process use it until the block ends.

        Raises:
            InputError: one does.
        """
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(
                    f"{self.path}: a cluster runs here already",
                    hint="`streamprn cluster status` shows it, `streamprn cluster down` ends it",
                ) from None
            yield

    def note(self, what: str, process: Process) -> None:
        """Remember a process under a name."""
        write_private(self.path / f"{what}.process", json.dumps(asdict(process)))

    def noted(self, what: str) -> Process | None:
        """The process under a name, where it lives."""
        return read_process(self.path / f"{what}.process")

    def write(self, what: str, value: object) -> None:
        """Keep a value, over restarts."""
        write_private(self.path / f"{what}.json", json.dumps(value))

    def read(self, what: str) -> Any:
        """A value that was kept, or None."""
        try:
            return json.loads((self.path / f"{what}.json").read_text())
        except (OSError, ValueError):
            return None

    def _kept(self, what: str, make: Any) -> str:
        path = self.path / what
        with contextlib.suppress(OSError):
            if text := path.read_text().strip():
                return text
        text = str(make())
        write_private(path, text)
        return text


def read_process(path: Path) -> Process | None:
    """A process that a file names, where it lives."""
    try:
        found = Process(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.alive else None


def write_private(path: Path, text: str) -> None:
    """Write a file for this user alone, whole or not at all."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    new.replace(path)


def _host() -> str:
    name = "".join(one if one.isalnum() or one == "-" else "-" for one in socket.gethostname())
    return name.strip("-")[:40] or "machine"
