"""`streamprn run`: sources in, ZeroMQ out, until they end or somebody stops it."""

from __future__ import annotations

import argparse
import logging
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamprn.apps.progress import told_steps
from streamprn.cli.face_options import add_max_pixels
from streamprn.cli.memory import share_arenas
from streamprn.cli.parser import (
    Parser,
    add_config_file,
    add_overrides,
    add_quiet,
    positive_int,
)
from streamprn.cli.workers import number_of, run_workers
from streamprn.errors import ConfigError, InputError
from streamprn.memory import settle

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import Console, RenderableType

    from streamprn.config import Config
    from streamprn.live.pipeline import Pipeline, Summary
    from streamprn.live.statistics import StreamSummary
    from streamprn.records import SourceStatus
    from streamprn.serve.service import Service

DEFAULT_CONFIG = Path("config.yaml")

_DESCRIPTION = """\
Read video sources, find and follow every face, and publish dense 3D faces over ZeroMQ.

SOURCE is a video file, a picture or a folder of pictures; an rtsp://, http://, udp://, srt:// or
rtmp:// address; the number of a webcam or /dev/videoN; `screen`; `-` for a pipe; lavfi:GRAPH or
testsrc2 for a test picture (docs/sources.md). Settings come
from config.yaml in the current folder where there is one; flags override it, and SOURCEs replace
its sources."""
_EXAMPLES = """
streamprn run rtsp://user:password@camera.local/stream
streamprn run 0 --bind tcp://127.0.0.1:6000
streamprn run clip.mp4 --loop --max-frames 300
streamprn run door.mp4 yard.mp4 --set detect.max_faces=8 \\
  --set sources.door.crop=[0,0,640,480]
streamprn run --config cameras.yaml --http 127.0.0.1:8088
streamprn run --write-config config.yaml
"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Add `run`."""
    parser = subparsers.add_parser(
        "run",
        help="video sources in, dense 3D faces out over ZeroMQ",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("source", metavar="SOURCE", nargs="*", help="what to read; see above")
    add_config_file(parser)
    parser.add_argument("--engine", metavar="NAME", help="engine bundle: a name or a folder")
    parser.add_argument("--backend", metavar="NAME", help="auto, openvino, onnxruntime or tensorrt")
    parser.add_argument("--bind", metavar="ADDRESS", help="where to publish, tcp://HOST:PORT")
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="publish beyond this machine without encryption, or to everybody",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        default="1",
        help="processes behind one address, or auto (extra `cluster`; default: %(default)s)",
    )
    parser.add_argument("--loop", action="store_true", help="start files again at their end")
    parser.add_argument(
        "--fast", action="store_true", help="read files as fast as possible, not at their own pace"
    )
    parser.add_argument(
        "--hwaccel", choices=("cuda",), help="decode on the GPU (NVDEC), where that is possible"
    )
    add_max_pixels(parser)
    parser.add_argument(
        "--max-frames", metavar="N", type=positive_int, help="end after N frames of all streams"
    )
    parser.add_argument(
        "--http", metavar="HOST:PORT", help="serve control, health, metrics and pictures; run on"
        " when all sources have ended"
    )  # fmt: skip
    parser.add_argument(
        "--http-token",
        metavar="FILE",
        help="file with the token that requests over HTTP must bring",
    )
    parser.add_argument("--record", metavar="DIR", help="write every result below this folder")
    add_overrides(parser)
    parser.add_argument(
        "--write-config", metavar="FILE", type=Path, help="write a commented example and end"
    )
    add_quiet(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run until every source has ended or a signal came."""
    if args.write_config is not None:
        return _write_config(args.write_config)
    config = config_from(args)
    share_arenas()
    from streamprn.cli.console import configure_logging, stderr_console
    from streamprn.cli.signals import stop_on_signals
    from streamprn.serve.service import Service

    console = stderr_console()
    workers = number_of(args.workers)
    read_again = partial(config_from, args) if settings_file(args) is not None else None
    if workers > 1:
        from streamprn.cluster.local import check

        check(workers, args.max_frames)
        return run_workers(config, workers, console, read_again, quiet=args.quiet)
    configure_logging(config.log.level, console, json_run=_json_run(config, ""))
    with (
        Service(config, read_again) as service,
        stop_on_signals(on_hangup=service.reload) as stop,
    ):
        return _run(config, args, stop, service, console)


def config_from(args: argparse.Namespace) -> Config:
    """The settings of the file with the flags laid over them.

    Raises:
        ConfigError: no source, no file, or a setting that cannot be used.
    """
    from streamprn.config import Config, load_config
    from streamprn.config.address import check_no_recording

    path = settings_file(args)
    config = load_config(path) if path is not None else Config.default()
    if args.source:
        for uri in args.source:
            check_no_recording(uri)
        mapping = config.to_mapping() | {"sources": [{"uri": uri} for uri in args.source]}
        config = Config.from_mapping(mapping, where="SOURCE")
    if not (config.sources or args.http or config.http.bind):
        raise ConfigError(
            "nothing to read",
            where=str(path or ""),
            hint="name a source: `streamprn run SOURCE`; or write a config.yaml: "
            "`streamprn run --write-config config.yaml`",
        )
    for text in args.overrides:
        config = _override(config, text)
    return config.with_overrides(_flags(args, len(config.sources)), where="command line")


def settings_file(args: argparse.Namespace) -> Path | None:
    """The configuration file, where there is one."""
    path: Path | None = args.config
    return path or (DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None)


def _json_run(config: Config, run_id: str) -> str | None:
    return run_id if config.log.format == "json" else None


def _override(config: Config, text: str) -> Config:
    key, separator, value = text.partition("=")
    if not (separator and key.strip()):
        raise InputError(f"--set {text}: expected KEY=VALUE", hint="e.g. --set engine.threads=2")
    from streamprn.config.load import parse_value

    return config.with_overrides({key.strip(): parse_value(value, "--set")}, where="--set")


def _flags(args: argparse.Namespace, sources: int) -> dict[str, Any]:
    given: dict[str, Any] = {
        "engine.name": args.engine,
        "engine.backend": args.backend,
        "publish.bind": args.bind,
        "publish.insecure": True if args.insecure else None,
        "record.dir": args.record,
        "http.bind": args.http,
        "http.token_file": args.http_token,
        "log.level": "debug" if args.verbose else "warning" if args.quiet else None,
    }
    for index in range(sources):
        given[f"sources.{index}.loop"] = True if args.loop else None
        given[f"sources.{index}.realtime"] = False if args.fast else None
        given[f"sources.{index}.max_pixels"] = args.max_pixels
        given[f"sources.{index}.hwaccel"] = args.hwaccel
    return {key: value for key, value in given.items() if value is not None}


def _write_config(path: Path) -> int:
    from streamprn.cli.console import stderr_console
    from streamprn.config.document import yaml_text

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(yaml_text())
    except FileExistsError:
        raise InputError(f"{path} exists already", hint="name another file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    stderr_console().print(f"wrote {path}", markup=False)
    return 0


def _run(
    config: Config,
    args: argparse.Namespace,
    stop: threading.Event,
    service: Service,
    console: Console,
) -> int:
    from streamprn.cli.console import configure_logging
    from streamprn.live.pipeline import Pipeline
    from streamprn.records import SourceState

    failed: dict[str, str] = {}

    def on_event(status: SourceStatus) -> None:
        if status.state is SourceState.FAILED:
            failed[status.stream] = status.cause
        else:
            failed.pop(status.stream, None)

    with Pipeline(config, sinks=service.sinks) as pipeline, service.attending(pipeline, stop):
        run_id = pipeline.publisher.run
        configure_logging(config.log.level, console, json_run=_json_run(config, run_id))
        if not args.quiet:
            control = f"; control on {service.url}" if service.serves else ""
            said = f"publishing on {pipeline.endpoint}; {pipeline.backend}{control}; Ctrl-C ends"
            _say(console, said)
        settle()
        one = len(config.sources) == 1 and not service.serves
        with _live(console, pipeline, quiet=args.quiet) as say, _failure_told_once(one=one):
            summary = pipeline.run(
                stop,
                max_frames=args.max_frames,
                until_stopped=service.serves,
                on_event=on_event,
                on_progress=say,
            )
    if not args.quiet and (summary.frames or not failed):
        _show(console, summary)
    if failed and not stop.is_set():
        raise InputError("; ".join(failed.values()))
    return 0


@contextmanager
def _failure_told_once(*, one: bool) -> Iterator[None]:
    """Keep the failure of an only source out of the log: it becomes the error of the program."""
    from streamprn.records import SourceState

    def is_news(record: logging.LogRecord) -> bool:
        status = getattr(record, "status", None)
        return status is None or status.state is not SourceState.FAILED

    log = logging.getLogger("streamprn.live")
    if one:
        log.addFilter(is_news)
    try:
        yield
    finally:
        log.removeFilter(is_news)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


@contextmanager
def _live(
    console: Console, pipeline: Pipeline, *, quiet: bool
) -> Iterator[Callable[[str], None] | None]:
    """What is made ready; then on a terminal a table that is drawn again twice a second."""
    if quiet:
        yield None
        return
    if not console.is_terminal:
        with told_steps(console) as say:
            yield say
        return
    from rich.live import Live

    step = ""

    def begin(now: str) -> None:
        nonlocal step
        step = now

    def renderable() -> RenderableType:
        frames = any(stream.state != "connecting" for stream in pipeline.summaries())
        return _table(pipeline.summaries()) if frames else step

    with Live(get_renderable=renderable, console=console, refresh_per_second=2, transient=True):
        yield begin


def _show(console: Console, summary: Summary) -> None:
    if console.is_terminal:
        console.print(_table(summary.streams))
        return
    for stream in summary.streams:
        cells = (f"{name} {value}" for name, value in _cells(stream).items())
        _say(console, f"{stream.stream}: " + ", ".join(cells))


def _table(streams: Sequence[StreamSummary]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("stream", style="bold", no_wrap=True, min_width=8)
    for stream in streams:
        cells = _cells(stream)
        if len(table.columns) == 1:
            for name in cells:
                is_text = name == "state"
                table.add_column(name, justify="left" if is_text else "right", no_wrap=not is_text)
        table.add_row(stream.stream, *cells.values())
    return table


def _cells(stream: StreamSummary) -> Mapping[str, str]:
    latency = stream.latency_ms
    return {
        "frames": str(stream.frames),
        "fps": f"{stream.fps:.1f}",
        "faces": f"{stream.faces / stream.frames:.2f}" if stream.frames else "-",
        "p50 ms": f"{latency['p50']:.1f}" if latency else "-",
        "p99 ms": f"{latency['p99']:.1f}" if latency else "-",
        "dropped": str(stream.dropped),
        "corrupt": str(stream.corrupt),
        "retries": str(stream.reconnects),
        "state": stream.state,
    }
