"""What `streamprn cluster` does on a machine: be the head, join one, show it, end it."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from streamprn.cluster.desk import Desk
from streamprn.cluster.driver import LOST_RAY, Errand
from streamprn.cluster.folder import ClusterFolder, Process
from streamprn.cluster.local import open_proxy
from streamprn.cluster.process import Detached
from streamprn.cluster.ray_node import START_S, Address, RayNode, end_ray, environment
from streamprn.cluster.rpc import CallError, Calls, call
from streamprn.errors import InputError, PublishError, StreamPRNError
from streamprn.live.parts import access

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from streamprn.config import Config

__all__ = ["down", "join", "need_ray", "status", "up"]

AGENT = "agent"
#: The program that speaks with Ray.
DRIVER = "streamprn.cli.cluster_driver"
LOOK_S = 0.1
#: Before Ray is started again.
PAUSE_S = 1.0
#: A session that ends sooner has failed.
SHORT_S = 15.0
#: So many in a row end the program.
MOST_FAILURES = 3
#: How long the head may take to answer the first time that a machine joins.
HEAD_S = 10.0
#: All workers end their threads.
END_S = 30.0


def need_ray() -> None:
    """Refuse to go on without Ray.

    Raises:
        InputError: it is not installed.
    """
    if find_spec("ray") is None:
        raise InputError("a cluster needs ray", hint="pip install 'streamprn[cluster]'")


# --- the head -------------------------------------------------------------------------------------


def up(
    config: Config,
    read_again: Callable[[], Config] | None,
    folder: ClusterFolder,
    address: Address,
    workers: int,
    stop: threading.Event,
    hangups: threading.Event,
    say: Callable[[str], None],
    *,
    quiet: bool,
) -> int:
    """Be the head of a cluster until `stop` is set.

    Args:
        config: to run.
        read_again: reads the configuration file; None where there is none.
        folder: of this machine.
        address: where other machines join.
        workers: of this machine.
        stop: ends it, and all workers.
        hangups: set by SIGHUP.
        say: tells people what happens.
        quiet: say nothing but warnings and errors.

    Returns:
        The exit code.

    Raises:
        StreamPRNError: an address, a key or Ray cannot be used.
    """
    readers = access(config)
    need_ray()
    with contextlib.ExitStack() as opened:
        opened.enter_context(folder.taken())
        folder.note(AGENT, _this_process())
        proxy = opened.enter_context(open_proxy(config, readers))
        opened.enter_context(Calls(folder.desk, Desk(proxy, folder)))
        token = folder.make_token()
        node = RayNode(folder, token, address, workers, address.host, head=True)
        opened.callback(_end_workers, folder)
        opened.callback(node.end)
        errand = Errand(config, read_again, address, folder.path, quiet)
        driver = Driver(errand, environment(folder, token))
        opened.callback(driver.end)
        say(f"publishing on {proxy.endpoint}; machines join {address}; Ctrl-C ends")
        return _sessions(node, driver, address, stop, hangups, say)


class Driver:
    """The process that speaks with Ray; see `cluster.driver`."""

    def __init__(self, errand: Errand, variables: dict[str, str]) -> None:
        self._errand = errand
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def code(self) -> int | None:
        """Its exit code; None while it lives."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", DRIVER],
            env=self._variables,
            stdin=subprocess.PIPE,
            start_new_session=True,  # it ends the workers when it is told to, not with Ctrl-C
        )
        assert self._process.stdin is not None
        # Open as long as this process lives: its end is what the other one sees.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(pickle.dumps(self._errand))
            self._process.stdin.flush()

    def hang_up(self) -> None:
        """Let it read the configuration again."""
        if self.code is None and self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def end(self) -> None:
        """Let it end all workers, and then itself."""
        if self._process is not None and self.code is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
        self.kill()

    def kill(self) -> None:
        """End it and leave the workers as they are."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process = None


def _sessions(
    node: RayNode,
    driver: Driver,
    address: Address,
    stop: threading.Event,
    hangups: threading.Event,
    say: Callable[[str], None],
) -> int:
    """Start Ray and the process that speaks with it, as often as it takes."""
    failures, first = 0, True
    while True:
        began = time.monotonic()
        if not node.alive:
            _start_head(node, address, stop, first=first)
        first = False
        if stop.is_set():
            return 0
        driver.start()
        while not stop.wait(LOOK_S) and node.alive and driver.code is None:
            if hangups.is_set():
                hangups.clear()
                driver.hang_up()
        if stop.is_set():
            return 0
        code = driver.code
        if code == InputError.exit_code:
            return code  # it has said what is wrong
        failures = failures + 1 if time.monotonic() - began < SHORT_S else 0
        if failures >= MOST_FAILURES:
            raise StreamPRNError("Ray ends again and again", hint=f"see {node.log}")
        driver.kill()
        if code in (None, LOST_RAY) or not address.answers:
            node.end()
        say("Ray has ended: workers go on, and are found again when it has started")
        stop.wait(PAUSE_S)


def _start_head(node: RayNode, address: Address, stop: threading.Event, *, first: bool) -> None:
    """Start Ray where none is, however often that takes once it has run.

    Raises:
        StreamPRNError: the address is in use, or Ray does not start.
    """
    node.end()
    if first and address.answers:
        raise PublishError(
            f"--address {address} is in use", hint="choose another port, or end what uses it"
        )
    node.start()
    deadline = time.monotonic() + START_S
    while not address.answers and not stop.wait(LOOK_S):
        if time.monotonic() > deadline:
            raise node.failure()
        if not node.alive:
            # What had joined the Ray before goes some seconds after it; until then none starts.
            if first and not node.is_in_the_way:
                raise node.failure()
            stop.wait(PAUSE_S)
            node.start()


# --- another machine ------------------------------------------------------------------------------


class JoinedDesk:
    """What `status` may ask of a machine that has joined."""

    def __init__(self, folder: ClusterFolder, address: Address, node: RayNode) -> None:
        self._folder = folder
        self._address = address
        self._node = node

    def status(self) -> dict[str, Any]:
        """What `streamprn cluster status` shows."""
        joined = self._node.alive and self._address.answers
        return {
            "role": "machine",
            "name": self._folder.name(),
            "head": str(self._address),
            "joined": joined,
            "workers": _workers_here(self._folder),
        }


def join(
    folder: ClusterFolder,
    address: Address,
    token: Path,
    workers: int,
    host: str,
    stop: threading.Event,
    say: Callable[[str], None],
) -> int:
    """Let the workers of a cluster run on this machine until `stop` is set.

    Args:
        folder: of this machine.
        address: of the head.
        token: file with the token of the cluster.
        workers: of this machine.
        host: its address, as the head reaches it.
        stop: ends it, and the workers of this machine.
        say: tells people what happens.

    Returns:
        The exit code.

    Raises:
        StreamPRNError: the head does not answer, or refuses.
    """
    with contextlib.ExitStack() as opened:
        opened.enter_context(folder.taken())
        folder.note(AGENT, _this_process())
        node = RayNode(folder, token, address, workers, host, head=False)
        opened.enter_context(Calls(folder.desk, JoinedDesk(folder, address, node)))
        if not _answers(address, stop, HEAD_S) and not stop.is_set():
            raise PublishError(
                f"no head answers at {address}", hint="start one there: streamprn cluster up"
            )
        opened.callback(_end_workers, folder)
        opened.callback(node.end)
        first = True
        while not stop.is_set():
            if _answers(address, stop, PAUSE_S):
                node.start()
                if first:
                    say(f"{folder.name()} joins {address} with {workers} workers; Ctrl-C leaves")
                while not stop.wait(LOOK_S) and node.alive:
                    pass
                if first and not stop.is_set() and not node.has_started:
                    raise node.failure()
                if not stop.is_set():
                    say(f"{address} has gone: workers here go on, and wait for it")
                first = False
                node.end()
            stop.wait(PAUSE_S)
        return 0


def _answers(address: Address, stop: threading.Event, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not address.answers:
        if stop.wait(LOOK_S) or time.monotonic() > deadline:
            return False
    return True


# --- both -----------------------------------------------------------------------------------------


def status(folder: ClusterFolder) -> dict[str, Any]:
    """How the cluster stands, as far as this machine knows.

    Raises:
        InputError: none runs here.
    """
    try:
        found: dict[str, Any] = call(folder.desk, "status")
    except CallError:
        workers = _workers_here(folder)
        if not workers:
            raise InputError(
                f"no cluster runs here ({folder.path})",
                hint="streamprn cluster up --config FILE, or: streamprn cluster join HOST:PORT",
            ) from None
        return {"role": "gone", "name": folder.name(), "workers": workers}
    return found


def down(folder: ClusterFolder) -> str:
    """End what runs of a cluster on this machine; on the head, all workers everywhere.

    Returns:
        What was ended, in words.

    Raises:
        InputError: nothing runs here.
    """
    agent, ray = folder.noted(AGENT), folder.noted("ray")
    workers = [path for path in folder.workers if Detached(path).process is not None]
    if agent is None and ray is None and not workers:
        raise InputError(f"no cluster runs here ({folder.path})")
    if agent is not None:
        agent.end(END_S, signal.SIGTERM)
    end_ray(folder)
    _end_workers(folder)
    return "ended" if agent is not None else f"ended what was left: {len(workers)} workers"


def _workers_here(folder: ClusterFolder) -> list[dict[str, Any]]:
    found = []
    for path in folder.workers:
        worker = Detached(path)
        if worker.process is None:
            continue
        with contextlib.suppress(CallError):
            hello = worker.call("hello")
            found.append(
                {
                    "name": f"{folder.name()}/{path.name.removeprefix('worker-')}",
                    **hello.shown(),
                    "streams": list(hello.streams),
                }
            )
    return found


def _end_workers(folder: ClusterFolder) -> None:
    for path in folder.workers:
        process = Detached(path).process
        if process is not None:
            process.send(signal.SIGTERM)
    for path in folder.workers:
        Detached(path).end()


def _this_process() -> Process:
    return Process.of(os.getpid())
