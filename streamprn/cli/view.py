"""`streamprn view`: a live page in the browser."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from streamprn.cli.face_options import add_max_pixels
from streamprn.cli.parser import Parser, number
from streamprn.cli.watch import DEFAULT_ENDPOINT
from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamprn.view.shown import Feed

DEFAULT_PORT = 8089
_PATIENCE_S = 2.0
_TICK_S = 0.1

_OF_ENGINE = (
    ("--config", "FILE", "settings (default: ./config.yaml if it exists)"),
    ("--engine", "NAME", "engine bundle: a name or a folder"),
    ("--backend", "NAME", "auto, openvino, onnxruntime or tensorrt"),
)
# The page is the engine's only reader, over a socket in a folder that nobody else may enter.
_UNENCRYPTED = ("publish.curve_secret_file=null", "publish.curve_allow_dir=null")

_DESCRIPTION = """\
Show what a publisher sends on a page in the browser: the camera's picture with what was found in
it, the face in 3D, depth, latency by stage, the states of all streams. It subscribes to what is on
show and to nothing where nobody looks. ENDPOINT may also be a recording: a folder of
`streamprn run --record`, that of one stream, or one .sprn file. With --run it starts an engine
too."""
_EXAMPLES = """
streamprn view
streamprn view tcp://192.168.1.20:5870
streamprn view --run rtsp://camera.local/stream
streamprn view --run
streamprn view --run --config cameras.yaml
streamprn view recordings/door
"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Add `view`."""
    parser = subparsers.add_parser(
        "view",
        help="subscribe: a live page in the browser",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "endpoint",
        metavar="ENDPOINT",
        nargs="?",
        default=DEFAULT_ENDPOINT,
        help="address of the publisher, or a recording (default: %(default)s)",
    )
    parser.add_argument(
        "--run",
        metavar="SOURCE",
        nargs="*",
        help="start an engine on these sources; without any, on the clip of `streamprn demo`;"
        " files are repeated",
    )
    for name, metavar, what in _OF_ENGINE:
        parser.add_argument(name, metavar=metavar, help=f"with --run: {what}")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="with --run: override any setting; may be repeated",
    )
    add_max_pixels(parser, "with --run: ")
    parser.add_argument(
        "--host", metavar="HOST", default="127.0.0.1", help="where to serve (default: %(default)s)"
    )
    parser.add_argument(
        "--port",
        metavar="N",
        type=number(int, 0, 65_535),
        default=DEFAULT_PORT,
        help="0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--token",
        metavar="FILE",
        type=Path,
        help="file with the token that a browser must bring, as /?token=TOKEN",
    )
    parser.add_argument(
        "--insecure", action="store_true", help="serve beyond this machine, to whoever asks"
    )
    parser.add_argument(
        "--server-key",
        metavar="FILE",
        type=Path,
        help="the publisher's public CURVE key (.key), where it encrypts",
    )
    parser.add_argument(
        "--client-key", metavar="FILE", type=Path, help="our own CURVE key, where it lists clients"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Serve the page until somebody stops it."""
    from streamprn.cli.console import configure_logging, stderr_console
    from streamprn.cli.signals import CLEANUP_S, stop_on_signals
    from streamprn.serve.listen import read_token
    from streamprn.view.server import check_host, open_server

    configure_logging("debug" if args.verbose else "warning")
    options = _engine_options(args)
    token = read_token(args.token) if args.token is not None else None
    check_host(args.host, args.port, token=token, insecure=args.insecure)
    with stop_on_signals(CLEANUP_S) as stop, ExitStack() as stack:
        server = open_server(args.host, args.port, token, insecure=args.insecure)
        stack.callback(server.stop)
        engine = None
        if args.run is not None:
            args.endpoint, engine = stack.enter_context(_engine(args, options))
        feed = _feed(args)
        stack.callback(feed.close)
        from streamprn.view.page import Page

        page = Page(server, feed, args.endpoint)
        host = f"[{args.host}]" if ":" in args.host else args.host
        query = f"/?token=TOKEN (TOKEN is in {args.token})" if token is not None else ""
        said = f"open http://{host}:{server.get_port()}{query} in a browser; Ctrl-C ends"
        stderr_console().print(said, markup=False, soft_wrap=True)
        if engine is None:
            page.run(stop)
            return 0
        return _run_beside(page.run, engine, stop)


def _engine_options(args: argparse.Namespace) -> list[str]:
    """The flags that `run` is started with.

    Raises:
        InputError: there are some, and no engine to start.
    """
    given = [(flag, getattr(args, flag.removeprefix("--"))) for flag, _, _ in _OF_ENGINE]
    given.append(("--max-pixels", args.max_pixels))
    options = [(flag, str(value)) for flag, value in given if value is not None]
    options += [("--set", value) for value in args.set]
    if options and args.run is None:
        raise InputError(
            f"{options[0][0]} is for the engine, and none is started", hint="add --run"
        )
    return [word for option in options for word in option]


def _run_beside(
    show: Callable[[threading.Event], None],
    engine: subprocess.Popen[bytes],
    stop: threading.Event,
) -> int:
    """Show the page until it is stopped or the engine ends, whose exit code it then has."""

    def watch() -> None:
        while engine.poll() is None and not stop.wait(_TICK_S):
            pass
        stop.set()
        # At once: should the page be slow to end, the engine is not left behind.
        engine.terminate()

    watcher = threading.Thread(target=watch, name="view-engine", daemon=True)
    watcher.start()
    show(stop)
    watcher.join()
    return max(engine.poll() or 0, 0)


def _feed(args: argparse.Namespace) -> Feed:
    from streamprn.view.live import LiveFeed
    from streamprn.view.recorded import RecordedFeed
    from streamprn.wire.bind import CurveKeys, read_public_key

    path = Path(args.endpoint)
    if "://" not in args.endpoint:
        return RecordedFeed(path)
    key = read_public_key(args.server_key) if args.server_key is not None else None
    client = CurveKeys.load(args.client_key) if args.client_key is not None else None
    return LiveFeed(args.endpoint, key, client)


@contextmanager
def _engine(
    args: argparse.Namespace, options: list[str]
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An engine in a process of its own, so that the page takes no time of its threads."""
    with tempfile.TemporaryDirectory(prefix="streamprn-view-") as folder:
        sources = list(args.run)
        if not (sources or args.config):
            from streamprn.source.sample_clip import make_clip

            clip = Path(folder) / "demo.mp4"
            make_clip(clip, frames=180, width=640, height=480, fps=30)
            sources = [str(clip)]
        endpoint = f"ipc://{folder}/engine"
        plain = [word for setting in _UNENCRYPTED for word in ("--set", setting)]
        command = [sys.executable, "-m", "streamprn", "run", *sources, "--loop", "--quiet"]
        engine = subprocess.Popen([*command, *options, *plain, "--bind", endpoint])
        try:
            yield endpoint, engine
        finally:
            engine.terminate()
            try:
                engine.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                engine.kill()
                engine.wait()
