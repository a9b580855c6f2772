"""`streamprn cluster`: several machines behind one address."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamprn.cli.parser import Parser, add_config_file, add_overrides, add_quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamprn.cluster.folder import ClusterFolder
    from streamprn.config import Config

#: All workers of all machines end, then Ray.
GRACE_S = 60.0

_DESCRIPTION = """\
Run workers on several machines behind one address. One machine is the head: subscribers and ctl
meet it alone. Others join it, and leave it, at any time; streams go where there is least to do, and
on to other workers when theirs dies (docs/cluster.md)."""
_EXAMPLES = """
streamprn cluster up --config cameras.yaml --http 127.0.0.1:8088
streamprn cluster up --config cameras.yaml --address 10.0.0.5:6379
# on another machine, with the file `token` of the head's folder:
streamprn cluster join 10.0.0.5:6379 --token-file token
streamprn cluster status --config cameras.yaml
streamprn cluster down --config cameras.yaml
"""
_UP = """\
Be the head: read the configuration, publish, and run workers here and on the machines that join.
Stays in the foreground until Ctrl-C, as `streamprn run` does; `nohup ... &` or a service manager
keeps it in the background."""
_JOIN = """\
Let workers of a cluster run on this machine. Stays in the foreground; Ctrl-C leaves. Where the
head goes, workers go on, and are found again when it is back."""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Add `cluster`."""
    parser = subparsers.add_parser(
        "cluster",
        help="several machines behind one address (Ray)",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", title="actions", required=True, parser_class=Parser
    )
    _add_up(actions)
    _add_join(actions)
    status = actions.add_parser(
        "status", help="show machines, workers and streams", description="Show what runs."
    )
    status.add_argument("--json", action="store_true", help="print one JSON object")
    down = actions.add_parser(
        "down",
        help="end what runs here",
        description="End the cluster where this machine is its head, else leave it. Also ends "
        "workers that were left by a program that was killed.",
    )
    for action in (status, down):
        add_config_file(action)
        _add_folder(action)
    return parser


def _add_up(actions: argparse._SubParsersAction[Parser]) -> None:
    up = actions.add_parser("up", help="be the head of a cluster", description=_UP)
    up.add_argument("source", metavar="SOURCE", nargs="*", help="as for `streamprn run`")
    add_config_file(up)
    up.add_argument("--address", metavar="HOST:PORT", help="where machines join")
    up.add_argument("--bind", metavar="ADDRESS", help="where to publish, tcp://HOST:PORT")
    up.add_argument("--http", metavar="HOST:PORT", help="serve control, health and metrics")
    up.add_argument("--http-token", metavar="FILE", help="file with the token for HTTP")
    up.add_argument("--loop", action="store_true", help="start files again at their end")
    up.add_argument(
        "--record", metavar="DIR", help="write every result below this folder, where it is made"
    )
    add_overrides(up)
    up.add_argument(
        "--insecure",
        action="store_true",
        help="let other machines join or read without encryption, or publish to everybody",
    )
    _add_workers(up)
    up.set_defaults(engine=None, backend=None, fast=False, max_pixels=None, hwaccel=None)
    _add_folder(up)
    add_quiet(up)


def _add_join(actions: argparse._SubParsersAction[Parser]) -> None:
    join = actions.add_parser("join", help="run workers of a cluster here", description=_JOIN)
    join.add_argument("address", metavar="ADDRESS", help="of the head, HOST:PORT")
    join.add_argument(
        "--token-file",
        metavar="FILE",
        type=Path,
        help="a copy of the file `token` in the head's folder (default: that of this folder)",
    )
    join.add_argument(
        "--host", metavar="IP", help="address of this machine, where the head needs another one"
    )
    join.add_argument(
        "--insecure", action="store_true", help="join over a network without encryption"
    )
    _add_workers(join)
    _add_folder(join)
    add_quiet(join)


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        metavar="N",
        default="auto",
        help="of this machine: a number, or auto, one for every two processors",
    )


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder",
        metavar="DIR",
        type=Path,
        help="what this machine keeps of the cluster (default: that of the configuration, else "
        "STREAMPRN_HOME/cluster)",
    )


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "up": _up,
        "join": _join,
        "status": _status,
        "down": _down,
    }
    return actions[args.action](args)


def _up(args: argparse.Namespace) -> int:
    from streamprn.cli.run import settings_file
    from streamprn.cli.signals import stop_on_signals
    from streamprn.cluster import machines
    from streamprn.cluster.ray_node import Address, check_exposure

    config = _settings(args)
    workers = _workers(args.workers, least=0)
    named = "cluster.address" if args.address is None else "--address"
    address = Address.parse(config.cluster.address, named)
    check_exposure(address, insecure=args.insecure)
    say = _sayer(args, config.log.level)
    read_again = partial(_settings, args) if settings_file(args) is not None else None
    hangups = threading.Event()
    with stop_on_signals(grace_s=GRACE_S, on_hangup=hangups.set) as stop:
        return machines.up(
            config,
            read_again,
            _folder(args, config),
            address,
            workers,
            stop,
            hangups,
            say,
            quiet=args.quiet,
        )


def _settings(args: argparse.Namespace) -> Config:
    """Those of the file and the flags; recordings go to the same folder on every machine."""
    from streamprn.cli.run import config_from
    from streamprn.live.parts import with_recordings

    config = config_from(args)
    if args.address is not None:
        config = config.with_overrides({"cluster.address": args.address}, where="--address")
    return with_recordings(config)


def _join(args: argparse.Namespace) -> int:
    from streamprn.cli.signals import stop_on_signals
    from streamprn.cluster import machines
    from streamprn.cluster.ray_node import Address, check_exposure
    from streamprn.private import read_private

    workers = _workers(args.workers, least=1)
    address = Address.parse(args.address, "ADDRESS")
    check_exposure(address, insecure=args.insecure)
    machines.need_ray()
    folder = _folder(args)
    token = args.token_file or folder.token
    read_private(token, "token", "copy the file `token` of the head's folder, and chmod 600 it")
    say = _sayer(args, "info")
    host = args.host or address.seen_from_here()
    with stop_on_signals(grace_s=GRACE_S) as stop:
        return machines.join(folder, address, token.absolute(), workers, host, stop, say)


def _status(args: argparse.Namespace) -> int:
    from streamprn.cluster.machines import status

    found = status(_folder(args, _file(args)))
    text = json.dumps(found, indent=2) if args.json else "\n".join(_lines(found))
    sys.stdout.write(text + "\n")
    return 0


def _down(args: argparse.Namespace) -> int:
    from streamprn.cluster.machines import down

    sys.stdout.write(down(_folder(args, _file(args))) + "\n")
    return 0


def _file(args: argparse.Namespace) -> Config | None:
    """The configuration, where it may tell which folder is meant."""
    from streamprn.cli.run import settings_file
    from streamprn.config import load_config

    path = None if args.folder else settings_file(args)
    return None if path is None else load_config(path)


def _folder(args: argparse.Namespace, config: Config | None = None) -> ClusterFolder:
    from streamprn.cluster.folder import ClusterFolder, default_folder

    given = args.folder or (config and config.cluster.folder)
    return ClusterFolder(Path(given) if given else default_folder())


def _workers(text: str, least: int) -> int:
    from streamprn.cli.workers import number_of

    if text == "0" and least == 0:
        return 0
    return number_of(text)


def _sayer(args: argparse.Namespace, level: str) -> Callable[[str], None]:
    from streamprn.cli.console import configure_logging, speaker, stderr_console

    console = stderr_console()
    configure_logging("debug" if args.verbose else level, console)
    return speaker(console, quiet=args.quiet)


# --- the table ------------------------------------------------------------------------------------


def _lines(found: dict[str, Any]) -> list[str]:
    if found["role"] == "head":
        return _of_head(found)
    if found["role"] == "machine":
        state = "joined" if found["joined"] else "waits for the head; workers go on"
        head = f"{found['name']}: {state} ({found['head']})"
    else:
        head = f"{found['name']}: its program has gone; workers go on"
    rows = [("worker", "process", "streams", "publishes on")]
    rows += [
        (one["name"], str(one["pid"]), ", ".join(one["streams"]) or "-", one["endpoint"])
        for one in found["workers"]
    ]
    return [head, "", *_table(rows)]


def _of_head(found: dict[str, Any]) -> list[str]:
    streams = found.get("streams", ())
    machines = [("machine", "address", "workers")]
    machines += [
        (one["name"], one["host"], str(one["workers"])) for one in found.get("machines", ())
    ]
    workers = [("worker", "process", "streams", "cores", "backend")]
    for one in found.get("workers", ()):
        count = sum(stream["worker"] == one["name"] for stream in streams)
        cores = "-" if one["cores"] is None else f"{one['cores']:.2f}"
        workers.append((one["name"], str(one["pid"]), str(count), cores, one["backend"]))
    shown = [("stream", "worker", "state", "fps")]
    shown += [
        (one["name"], one["worker"] or "-", one["state"], f"{one['fps']:.1f}") for one in streams
    ]
    control = f"; control on {found['control']}" if found.get("control") else ""
    lost = found.get("lost_workers", 0)
    return [
        f"publishing on {found['endpoint']}{control}; {lost} workers lost so far",
        *("", *_table(machines)),
        *("", *_table(workers)),
        *("", *_table(shown)),
    ]


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
             for row in rows)  # fmt: skip
    return [line.rstrip() for line in lines]
