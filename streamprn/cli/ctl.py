"""`streamprn ctl`: steer a running engine; the client of `streamprn run --http`."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from streamprn.cli.parser import Parser
from streamprn.errors import InputError, PublishError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_ADDRESS = "127.0.0.1:8088"
TIMEOUT_S = 15.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024

_DESCRIPTION = """\
Steer an engine that runs with `streamprn run --http`: list, add, remove, pause and resume its
streams, or let it read its configuration file again."""
_EXAMPLES = """
streamprn ctl list
streamprn ctl add rtsp://camera.local/stream --name door --set max_fps=15
streamprn ctl add - < address.txt
streamprn ctl pause door
streamprn ctl reload --at 192.168.1.5:8088 --token-file token
"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Add `ctl`."""
    parser = subparsers.add_parser(
        "ctl",
        help="add, remove, pause and resume streams of a running engine",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", title="actions", required=True, parser_class=Parser
    )
    for name, (_, text) in _ACTIONS.items():
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name in ("remove", "pause", "resume"):
            action.add_argument("stream", metavar="NAME", help="of the stream")
        if name == "add":
            _add_source(action)
        action.add_argument(
            "--at", metavar="HOST:PORT", default=DEFAULT_ADDRESS,
            help=f"where the engine serves HTTP (default: {DEFAULT_ADDRESS})",
        )  # fmt: skip
        action.add_argument(
            "--token-file", metavar="FILE", type=Path, help="file with the engine's token"
        )
        action.add_argument("--json", action="store_true", help="print the answer as it came")
    return parser


def _add_source(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "source",
        metavar="SOURCE",
        help="what to read, as for `streamprn run`; - reads it from standard input, so that a "
        "password stands in no process title",
    )
    action.add_argument("--name", metavar="NAME", help="of the stream")
    action.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="a key of `sources`, such as loop=true; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Send one request and say what came of it."""
    action, _ = _ACTIONS[args.action]
    answer, said = action(args, _Client(args.at, args.token_file))
    text = json.dumps(answer, indent=2, ensure_ascii=False) if args.json else said
    if text:
        sys.stdout.write(text + "\n")
    return 0


# --- actions --------------------------------------------------------------------------------------


def _list(_: argparse.Namespace, client: _Client) -> tuple[object, str]:
    answer = client("GET", "/streams")
    return answer, _table(answer["streams"])


def _add(args: argparse.Namespace, client: _Client) -> tuple[object, str]:
    from streamprn.config.load import parse_value

    uri = sys.stdin.readline().strip() if args.source == "-" else args.source
    body: dict[str, Any] = {"uri": _absolute(uri)}
    if args.name is not None:
        body["name"] = args.name
    for text in args.settings:
        key, separator, value = text.partition("=")
        if not (separator and key.strip()):
            raise InputError(f"--set {text}: expected KEY=VALUE", hint="e.g. --set max_fps=15")
        body[key.strip()] = parse_value(value, "--set")
    answer = client("POST", "/streams", body)
    return answer, f"{answer['name']}: added"


def _remove(args: argparse.Namespace, client: _Client) -> tuple[object, str]:
    client("DELETE", f"/streams/{quote(args.stream, safe='')}")
    return {}, f"{args.stream}: removed"


def _pause(args: argparse.Namespace, client: _Client) -> tuple[object, str]:
    answer = client("POST", f"/streams/{quote(args.stream, safe='')}/pause")
    return answer, f"{answer['name']}: {answer['state']}"


def _resume(args: argparse.Namespace, client: _Client) -> tuple[object, str]:
    answer = client("POST", f"/streams/{quote(args.stream, safe='')}/resume")
    return answer, f"{answer['name']}: {answer['state']}"


def _reload(_: argparse.Namespace, client: _Client) -> tuple[object, str]:
    answer = client("POST", "/reload")
    lines = [
        f"{field.replace('_', ' ')}: {', '.join(names)}" for field, names in answer.items() if names
    ]
    return answer, "\n".join(lines)


_ACTIONS: Mapping[str, tuple[Callable[[argparse.Namespace, _Client], tuple[object, str]], str]] = {
    "list": (_list, "how every stream stands"),
    "add": (_add, "add a stream"),
    "remove": (_remove, "remove a stream"),
    "pause": (_pause, "pause a stream"),
    "resume": (_resume, "let a paused stream go on"),
    "reload": (_reload, "let the engine read its configuration file again"),
}


def _absolute(uri: str) -> str:
    """A file by its whole path: the engine may have been started in another folder."""
    return os.path.abspath(uri) if os.path.exists(uri) else uri


def _table(streams: list[dict[str, Any]]) -> str:
    if not streams:
        return "there is no stream"
    rows = [("stream", "state", "frames", "fps", "p99 ms", "dropped", "retries", "cause")]
    for one in streams:
        p99 = one["latency_ms"].get("p99")
        shown = "-" if p99 is None else f"{p99:.1f}"
        counts = (one["frames"], f"{one['fps']:.1f}", shown, one["dropped"], one["reconnects"])
        rows.append((one["name"], one["state"], *map(str, counts), one["cause"]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
             for row in rows)  # fmt: skip
    return "\n".join(line.rstrip() for line in lines)


# --- the client -----------------------------------------------------------------------------------


class _Client:
    """Sends requests to one engine.

    Args:
        address: HOST:PORT, or a URL.
        token_file: holds the token, or None.
    """

    def __init__(self, address: str, token_file: Path | None) -> None:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if parts.scheme not in ("http", "https") or not host:
            raise InputError(f"--at {address}: expected HOST:PORT", hint=f"e.g. {DEFAULT_ADDRESS}")
        self._address = address
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._connection = kind(host, port, timeout=TIMEOUT_S)
        self._headers: dict[str, str] = {"Accept": "application/json"}
        if token_file is not None:
            from streamprn.serve.listen import read_token

            self._headers["Authorization"] = f"Bearer {read_token(token_file)}"

    def __call__(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send a request; returns the answer.

        Raises:
            InputError: the engine refused it; says why and what to do.
            PublishError: no engine answers.
        """
        headers, data = self._headers, None
        if body is not None:
            data = json.dumps(body).encode()
            headers = {**headers, "Content-Type": "application/json"}
        try:
            self._connection.request(method, path, data, headers)
            answer = self._connection.getresponse()
            status, text = answer.status, answer.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise PublishError(
                f"no engine answers at {self._address}: {error or type(error).__name__}",
                hint=f"start one: streamprn run --http {DEFAULT_ADDRESS}",
            ) from error
        finally:
            self._connection.close()
        return self._understood(status, text)

    def _understood(self, status: int, text: bytes) -> dict[str, Any]:
        try:
            found = json.loads(text) if text else {}
            if not isinstance(found, dict):
                raise ValueError("not an object")
        except ValueError:
            raise PublishError(
                f"{self._address}: answered {status} with what is no JSON",
                hint="is it a streamprn engine?",
            ) from None
        if status >= 400:
            what = str(found.get("detail", f"answered {status}"))
            raise InputError(what, hint=str(found.get("next_step", "")))
        return found
