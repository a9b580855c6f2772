"""The Ray of one machine of a cluster, as a process beside."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from streamprn.cluster.folder import ClusterFolder, Process
from streamprn.cluster.keeper import FOLDER
from streamprn.errors import InputError, StreamPRNError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RESOURCE", "Address", "RayNode", "check_exposure", "environment"]

#: What a machine has as many of as it is to have workers.
RESOURCE = "streamprn_worker"
_OBJECT_STORE_BYTES = 80 * 1024 * 1024
#: How long Ray may take to start.
START_S = 60.0
END_S = 8.0
#: A machine that is gone is noticed after some 2 s, a head that is gone after 5 s.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Nobody starts a Ray by asking for one that has gone.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    # Workers outlive their keepers.
    "RAY_kill_child_processes_on_worker_exit": "false",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "4",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the head of a cluster is: HOST:PORT, the host as a number or a name."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, what: str) -> Address:
        """Understand what a user writes.

        Args:
            text: HOST:PORT or [IPV6]:PORT.
            what: it was given for, in errors.

        Raises:
            InputError: it is something else.
        """
        host, _, port = text.rpartition(":")
        if not (host and port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
            raise InputError(f"{what} {text}: expected HOST:PORT", hint="e.g. 192.168.1.5:6379")
        host = host.strip("[]")
        try:
            found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        except OSError as error:
            raise InputError(
                f"{what} {text}: {error.strerror or error}", hint="name an address of the head"
            ) from error
        return cls(str(found[0][4][0]), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback

    @property
    def answers(self) -> bool:
        """Whether somebody listens there."""
        try:
            socket.create_connection((self.host, self.port), 1.0).close()
        except OSError:
            return False
        return True

    def seen_from_here(self) -> str:
        """The address of this machine by which the head can reach it."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:  # sends nothing
            probe.connect((self.host, self.port))
            return str(probe.getsockname()[0])


def check_exposure(address: Address, *, insecure: bool) -> None:
    """Refuse a cluster of several machines whose calls anybody on the way can read.

    Args:
        address: of the head.
        insecure: somebody wants it all the same.

    Raises:
        InputError: other machines reach it, and Ray does not encrypt.
    """
    if address.local or insecure or os.environ.get("RAY_USE_TLS") == "1":
        return
    raise InputError(
        f"{address} can be reached from other machines, and Ray's calls, which hold the addresses "
        "of cameras, are not encrypted",
        hint="set RAY_USE_TLS=1 and the certificates that Ray asks for, use a network of your own, "
        "such as a VPN, with --insecure, or stay on 127.0.0.1",
    )


def environment(folder: ClusterFolder, token: Path) -> dict[str, str]:
    """The variables of Ray's processes, and of those that call it."""
    return {
        **os.environ,
        **_SETTINGS,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        FOLDER: str(folder.path),
    }


class RayNode:
    """Ray on this machine; it lives until `end`, also where this process is killed.

    Args:
        folder: of this machine.
        token: file by which the machines know each other.
        address: of the head.
        workers: that this machine is to have.
        host: address of this machine.
        head: whether this is the head.
    """

    def __init__(
        self,
        folder: ClusterFolder,
        token: Path,
        address: Address,
        workers: int,
        host: str,
        *,
        head: bool,
    ) -> None:
        self._folder = folder
        self._environment = environment(folder, token)
        self._address = address
        self._head = head
        where = ["--head", f"--port={address.port}", "--include-dashboard=false", "--no-monitor"]
        self._arguments: Sequence[str] = (
            "start",
            "--block",
            "--disable-usage-stats",
            *(where if head else [f"--address={address}"]),
            f"--node-ip-address={host}",
            f"--node-name={folder.name()}",
            # Workers are counted, not processors: Ray starts no processes in advance.
            "--num-cpus=0",
            f"--resources={json.dumps({RESOURCE: workers})}",
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What Ray says while it starts."""
        return self._folder.path / "ray.log"

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def has_started(self) -> bool:
        """Whether it got as far as to be part of its cluster."""
        return "Ray runtime started" in self.log.read_text("utf-8", "replace")

    @property
    def is_in_the_way(self) -> bool:
        """Whether it did not start as parts of another Ray are still there."""
        return "is already running at" in self.log.read_text("utf-8", "replace")

    def start(self) -> None:
        """Start it; the one that an earlier program left here is ended first."""
        end_ray(self._folder)
        module = "streamprn.cluster.ray_start" if self._address.local else "ray.scripts.scripts"
        labels = f"--labels=started={time.time_ns()}"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *self._arguments, labels],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the program; it ends Ray in its turn
            )
        self._folder.note("ray", Process.of(self._process.pid))

    def failure(self) -> StreamPRNError:
        """Why it did not start, as far as it said so."""
        lines = [line.strip() for line in self.log.read_text("utf-8", "replace").splitlines()]
        said = [line for line in lines if "Error" in line or "rror:" in line] or lines[-1:]
        return StreamPRNError(f"Ray did not start: {' '.join(said[-1:])}", hint=f"see {self.log}")

    def end(self) -> None:
        """End it and all that it has started, but no worker."""
        end_ray(self._folder)
        if self._process is not None:
            self._process.wait(END_S)
            self._process = None


def end_ray(folder: ClusterFolder) -> None:
    """End the Ray of a machine, by the processes that it is made of; no worker."""
    parts = _parts(folder)
    # Told in person, it says good-bye to the head, which then need not find out.
    raylets = [one for one in parts if one.name().startswith("raylet")]
    for one in raylets:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.terminate()
    psutil.wait_procs(raylets, timeout=3.0)
    process = folder.noted("ray")
    if process is not None:
        process.end(END_S, signal.SIGTERM)
    _, alive = psutil.wait_procs(parts, timeout=2.0)
    for one in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(alive, timeout=1.0)


def _parts(folder: ClusterFolder) -> list[psutil.Process]:
    """The processes of the Ray of a machine: some outlive the one that started them."""
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            # Names are cut to 15 letters by the system.
            if one.name().startswith(("ray::", "raylet", "gcs_server")) and one.environ().get(
                FOLDER
            ) == str(folder.path):
                found.append(one)
    return found
