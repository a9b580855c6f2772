"""`streamprn bridge`: faces in the languages of other programs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from streamprn.cli.parser import Parser, positive_float
from streamprn.cli.watch import DEFAULT_ENDPOINT, add_key_options
from streamprn.errors import InputError

if TYPE_CHECKING:
    from streamprn.bridge.output import Output

_PROTOCOLS = ("vmc", "ifacialmocap", "livelink", "mqtt", "csv")
_PASSWORD = "STREAMPRN_MQTT_PASSWORD"

_DESCRIPTION = """\
Subscribe to one stream of a publisher and pass its faces on to another program:

  vmc           VMC over OSC: Warudo, VSeeFace, VMC4B, EVMC4U   (UDP 39539)
  ifacialmocap  iFacialMocap's text: many avatar programs       (UDP 49983)
  livelink      Live Link Face: Unreal Engine                   (UDP 11111)
  mqtt          JSON over MQTT                                  (TCP 1883)
  csv           a table with OpenFace's columns, while it happens

Heads, eyes and ARKit's 52 expressions; docs/bridges.md has units, axes, left and
right. The engine never waits for a bridge. Both sides may start later, and again."""
_EXAMPLES = """
streamprn bridge vmc
streamprn bridge ifacialmocap --to 192.168.1.30
streamprn bridge livelink tcp://192.168.1.20:5870 --stream door --rate 30
streamprn bridge mqtt --to broker.local:1883 --user faces
streamprn bridge csv --to faces.csv
"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Add `bridge`."""
    parser = subparsers.add_parser(
        "bridge",
        help="faces to VMC, iFacialMocap, Live Link Face, MQTT, CSV",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "protocol", metavar="PROTOCOL", choices=_PROTOCOLS, help=", ".join(_PROTOCOLS)
    )
    parser.add_argument(
        "endpoint",
        metavar="ENDPOINT",
        nargs="?",
        default=DEFAULT_ENDPOINT,
        help="address of the publisher (default: %(default)s)",
    )
    parser.add_argument(
        "--to",
        metavar="HOST:PORT",
        help="who reads (default: this machine and the protocol's port); with csv, the file",
    )
    parser.add_argument("--stream", metavar="NAME", help="of the publisher (default: the only one)")
    parser.add_argument(
        "--face",
        metavar="WHICH",
        type=_which,
        help="largest, all (mqtt and csv), or an id (default: largest; mqtt and csv: all)",
    )
    parser.add_argument("--rate", metavar="HZ", type=positive_float, help="frames a second at most")
    parser.add_argument("--duration", metavar="S", type=positive_float, help="end after S seconds")
    parser.add_argument(
        "--subject", metavar="NAME", help="livelink: the device's name (default: the stream's)"
    )
    parser.add_argument(
        "--prefix", metavar="TOPIC", default="streamprn", help="mqtt: first part of the topics"
    )
    parser.add_argument(
        "--user", metavar="NAME", help=f"mqtt: the user; the password stands in ${_PASSWORD}"
    )
    parser.add_argument("--replace", action="store_true", help="csv: write over a file that exists")
    add_key_options(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Pass on faces until Ctrl-C; 1 where nothing came in the time given."""
    from streamprn.bridge.relay import Choice, Relay
    from streamprn.cli.console import configure_logging, stderr_console
    from streamprn.cli.signals import stop_on_signals
    from streamprn.cli.watch import read_keys
    from streamprn.config.address import check_no_recording
    from streamprn.wire.topics import check_stream

    check_no_recording(args.endpoint)
    if args.stream is not None:
        check_stream(args.stream)
    open_output = _output(args)
    console = stderr_console()
    configure_logging("debug" if args.verbose else "warning")
    server_key, client_keys = read_keys(args)
    relay = Relay(
        args.endpoint,
        args.stream,
        Choice(_faces(args)),
        rate_hz=args.rate,
        server_key=server_key,
        client_keys=client_keys,
        say=lambda words: console.print(words, markup=False, soft_wrap=True),
    )
    with stop_on_signals(grace_s=2.0) as stop:
        relay.run(open_output, stop, args.duration)
    console.print(f"{relay.sent} frames passed on", markup=False)
    return int(not relay.sent and args.duration is not None)


def _which(text: str) -> str | int:
    if text in ("largest", "all"):
        return text
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"got {text!r}, expected largest, all or an id from 1 on")


def _faces(args: argparse.Namespace) -> str | int:
    tables = args.protocol in ("mqtt", "csv")
    chosen: str | int = args.face or ("all" if tables else "largest")
    if chosen == "all" and not tables:
        raise InputError(f"{args.protocol} is about one face", hint="--face largest, or an id")
    return chosen


def _output(args: argparse.Namespace) -> Callable[[str], Output]:
    """What opens the output; whatever can be wrong with it before is said now.

    Raises:
        InputError: the address is none, or a package is missing.
    """
    opener = {"csv": _table, "mqtt": _mqtt}.get(args.protocol, _udp)
    return opener(args)


def _udp(args: argparse.Namespace) -> Callable[[str], Output]:
    from streamprn.bridge import ifacialmocap, livelink, vmc
    from streamprn.bridge.output import resolve, split_address

    ports = {"vmc": vmc.PORT, "ifacialmocap": ifacialmocap.PORT, "livelink": livelink.PORT}
    host, port = split_address(args.to, ports[args.protocol])
    resolve(host, port)
    if args.protocol == "livelink":
        return lambda _: livelink.LiveLink(host, port, args.subject)
    if args.protocol == "ifacialmocap":
        return lambda _: ifacialmocap.IFacialMocap(host, port)
    vmc.check_package()
    return lambda _: vmc.Vmc(host, port)


def _table(args: argparse.Namespace) -> Callable[[str], Output]:
    from streamprn.bridge.table import Table, check_free

    if args.to is None:
        raise InputError("csv needs a file", hint="e.g. --to faces.csv")
    path = Path(args.to)
    check_free(path, replace=args.replace)
    return lambda _: Table(path, replace=args.replace)


def _mqtt(args: argparse.Namespace) -> Callable[[str], Output]:
    from streamprn.bridge.mqtt import PORT, Mqtt, check_package
    from streamprn.bridge.output import split_address

    check_package()
    host, port = split_address(args.to, PORT)
    password = os.environ.get(_PASSWORD)
    return lambda stream: Mqtt(
        host, port, stream, prefix=args.prefix, user=args.user, password=password
    )
