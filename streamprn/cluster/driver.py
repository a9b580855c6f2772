"""The process of the head that speaks with Ray: watches the workers, places streams, serves HTTP.

It may end at any time, and Ray may end it: what it knows, and the proxy, are in the process that
started it, which starts it again.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamprn.cluster.rpc import CallError, call
from streamprn.errors import SourceError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from streamprn.cluster.crew import Crew
    from streamprn.cluster.fleet import Fleet
    from streamprn.cluster.ray_node import Address as HeadAddress
    from streamprn.config import Config, SourceConfig
    from streamprn.config.address import Address
    from streamprn.serve.service import Service

__all__ = ["GRACE_S", "LOST_RAY", "Errand", "drive"]

#: Exit code where Ray has gone.
LOST_RAY = 75
LOOK_S = 0.5
#: All workers of all machines end their threads.
GRACE_S = 25.0
STOP_S = 10.0
#: After so long what is left of former workers is not waited for any more.
SETTLED_S = 40.0


@dataclass(frozen=True, slots=True)
class Errand:
    """What the process is to do.

    Attributes:
        config: to run.
        read_again: reads the configuration file; None where there is none.
        address: of the head.
        folder: of this machine.
        quiet: say nothing but warnings and errors.
    """

    config: Config
    read_again: Callable[[], Config] | None
    address: HeadAddress
    folder: Path
    quiet: bool


def address_anywhere(source: SourceConfig) -> Address:
    """Where a source is; a file need not be on this machine, as another one may read it.

    Raises:
        InputError: the address, a variable or a file with a password cannot be used.
    """
    from streamprn.config.address import Address, SourceKind, default_name
    from streamprn.config.secrets import address_of

    try:
        return address_of(source)
    except SourceError:
        text = source.uri.strip()
        return Address(SourceKind.FILE, text, default_name(text))


def drive(
    errand: Errand,
    say: Callable[[str], None],
    signals: Callable[[Callable[[], None]], AbstractContextManager[threading.Event]],
) -> int:
    """Do an errand until a signal comes, or Ray has gone.

    Args:
        errand: see there.
        say: tells people what happens.
        signals: gives the event that a signal sets; gets what SIGHUP is to do.

    Returns:
        The exit code.

    Raises:
        StreamPRNError: an address, a key or a token cannot be used.
    """
    import ray

    from streamprn.cluster.crew import Crew
    from streamprn.cluster.desk import ProxyClient
    from streamprn.cluster.fleet import Fleet
    from streamprn.cluster.folder import ClusterFolder
    from streamprn.cluster.front import fronted
    from streamprn.cluster.ray_start import stay_on_loopback
    from streamprn.serve.service import Service

    folder = ClusterFolder(errand.folder)
    recalled = call(folder.desk, "recall")
    config = _with_port(errand.config, recalled.get("http"))
    with contextlib.ExitStack() as opened:
        service = opened.enter_context(Service(config, errand.read_again))
        if errand.address.local:
            stay_on_loopback()
        ray.init(
            address=str(errand.address),
            namespace="streamprn",
            log_to_driver=False,
            logging_level="error",
            _node_ip_address=errand.address.host,
        )
        opened.callback(ray.shutdown)
        keys = folder.keys("proxy")
        fleet = Fleet(config, folder.name(), keys)
        proxy = ProxyClient(folder.desk)
        crew = Crew(
            fleet.slots,
            fleet.launch,
            proxy,
            say,
            keys=keys,
            expected=recalled["where"],
            costs=recalled.get("costs", {}),
            in_touch=lambda: errand.address.answers,
        )
        opened.callback(crew.close, STOP_S)
        _add(crew, config, recalled)
        # After Ray, which sets handlers of its own.
        stop = opened.enter_context(signals(service.reload))
        opened.enter_context(
            fronted(service, crew, proxy, config, errand.read_again, stop, check=address_anywhere)
        )
        if service.serves and not recalled.get("http"):
            say(f"control on {service.url}; `streamprn cluster status` shows the machines")
        _look(folder.desk, crew, fleet, service, stop)
        if crew.cut_off.is_set():
            # Nothing is stopped: workers publish on. Ray's own threads would hold the process up.
            os._exit(LOST_RAY)
    return 0


def _look(desk: Path, crew: Crew, fleet: Fleet, service: Service, stop: threading.Event) -> None:
    """Tell what there is, until the end."""
    began = time.monotonic()
    settled = False
    while not (stop.wait(LOOK_S) or crew.cut_off.is_set()):
        try:
            state = {**crew.state(), "http": service.url.removeprefix("http://")}
            call(desk, "remember", state, _shown(crew, fleet, service))
            if not settled and time.monotonic() - began > SETTLED_S:
                settled = True
                hellos = [one.hello for one in crew.members if one.hello is not None]
                call(desk, "keep", {one.endpoint for one in hellos})
        except CallError:
            crew.cut_off.set()


def _add(crew: Crew, config: Config, recalled: dict[str, Any]) -> None:
    """The streams that there were before, or else those of the configuration."""
    sources = recalled.get("sources")
    if sources is None:
        named = zip(config.sources, config.stream_names(), strict=True)
        sources = {name: replace(source, name=name) for source, name in named}
    for name, source in sources.items():
        crew.add(source)
        if name in recalled.get("paused", ()):
            crew.keep(source, paused=True)


def _with_port(config: Config, bound: str | None) -> Config:
    """The settings with the port that HTTP had before, where any free one was asked for."""
    if not bound or config.http.bind is None or not config.http.bind.endswith(":0"):
        return config
    port = bound.rpartition(":")[2]
    bind = f"{config.http.bind.rpartition(':')[0]}:{port}"
    return replace(config, http=replace(config.http, bind=bind))


def _shown(crew: Crew, fleet: Fleet, service: Service) -> dict[str, Any]:
    load = crew.load()
    workers = []
    for one in crew.members:
        hello, report = one.hello, one.report
        assert hello is not None
        workers.append(
            {
                "name": one.slot,
                **hello.shown(),
                "server_key": hello.server_key,
                "cores": round(report.cores, 2) if report is not None else None,
                "load_cores": round(load.get(one.slot, 0.0), 2),
            }
        )
    where = crew.state()["where"]
    reports = crew.reports()
    streams = [
        {
            "name": name,
            "worker": where.get(name, ""),
            "state": reports.get(name, {}).get("state", "connecting"),
            "fps": reports.get(name, {}).get("fps", 0.0),
        }
        for name in crew.names
    ]
    machines = [
        {"name": one.name, "host": one.host, "workers": one.workers} for one in fleet.machines
    ]
    return {
        "control": service.url,
        "lost_workers": crew.lost,
        "machines": machines,
        "workers": workers,
        "streams": streams,
    }
