"""`streamprn bench`: latency and throughput."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamprn.cli.face_options import add_max_pixels
from streamprn.cli.parser import Parser, number, positive_float, positive_int

_DESCRIPTION = """\
Measure the whole pipeline as a subscriber meets it: every stage and end to end, percentiles up to
p99.9, throughput, drops, CPU and memory. Frames are paced, and latency counts from the moment that
a frame was due, so that a late pipeline cannot hide its lateness.

SOURCE is anything that `streamprn run` takes; without one, a sample clip of a moving face. The exit
code is 1 where the pace was not held."""
_EXAMPLES = """
streamprn bench
streamprn bench clip.mp4 --streams 6 --json bench.json --plot bench.png
streamprn bench --fps 0 --duration 30
streamprn bench --find-max --p99-ms 100
streamprn bench --against mediapipe
streamprn bench --proxy --fps 300
"""
_PEERS = ("mediapipe", "mediapipe-tasks", "mediapipe-tasks-blendshapes")
_TOPICS = ("face", "mesh", "depth", "texture", "image")


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> Parser:
    """Add `bench`."""
    parser = subparsers.add_parser(
        "bench",
        help="latency and throughput of every stage and end to end",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="see above")
    parser.add_argument(
        "--streams", metavar="N", type=positive_int, default=1, help="copies of SOURCE at once"
    )
    parser.add_argument(
        "--fps",
        metavar="RATE",
        type=number(float, 0, 1000),
        default=30.0,
        help="pace of each stream, frames/s; 0 as fast as it goes (default: %(default)g)",
    )
    parser.add_argument(
        "--duration",
        metavar="S",
        type=positive_float,
        default=10.0,
        help="measured time of each run, s (default: %(default)g)",
    )
    parser.add_argument(
        "--warmup",
        metavar="S",
        type=number(float, 0, 3600),
        default=2.0,
        help="time before it that does not count, s (default: %(default)g)",
    )
    parser.add_argument(
        "--topics",
        metavar="KIND",
        nargs="+",
        choices=_TOPICS,
        help=f"what to subscribe to, of {', '.join(_TOPICS)} (default: face mesh; mesh with "
        "--against)",
    )
    parser.add_argument(
        "--engine", metavar="NAME", default="facemesh", help="engine bundle (default: %(default)s)"
    )
    parser.add_argument(
        "--backend", metavar="NAME", default="auto", help="runtime (default: %(default)s)"
    )
    parser.add_argument(
        "--find-max", action="store_true", help="search the most streams that hold the pace"
    )
    parser.add_argument(
        "--p99-ms",
        metavar="MS",
        type=positive_float,
        default=100.0,
        help="bound of --find-max for the 99th percentile, ms (default: %(default)g)",
    )
    parser.add_argument(
        "--against",
        metavar="PEER",
        choices=_PEERS,
        help=f"measure a peer in turn with this program: {', '.join(_PEERS)} (`make peers`)",
    )
    parser.add_argument(
        "--rounds",
        metavar="N",
        type=positive_int,
        default=3,
        help="of --against and --proxy (default: %(default)d)",
    )
    parser.add_argument(
        "--proxy",
        action="store_true",
        help="measure instead what the proxy before several workers adds and holds",
    )
    add_max_pixels(parser)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="write a plot (extra `plot`)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from streamprn.bench import run as run_bench
    from streamprn.cli.console import configure_logging, stdout_console
    from streamprn.cli.signals import stop_on_signals
    from streamprn.records import Kind

    configure_logging("debug" if args.verbose else "warning")
    # Longer than a single run: the subscriber's process and the temporary clip end with it.
    with stop_on_signals(grace_s=3.0, interrupt=True):
        if args.proxy:
            from streamprn.bench.proxy import run_proxy

            return run_proxy(
                fps=args.fps,
                seconds=args.duration,
                rounds=args.rounds,
                json_path=args.json,
                console=stdout_console(),
            )
        return run_bench(
            args.source,
            streams=args.streams,
            fps=args.fps,
            seconds=args.duration,
            warmup_s=args.warmup,
            kinds=[Kind(topic) for topic in args.topics] if args.topics else None,
            engine=args.engine,
            backend=args.backend,
            find_max=args.find_max,
            p99_ms=args.p99_ms,
            against=args.against,
            rounds=args.rounds,
            json_path=args.json,
            plot_path=args.plot,
            console=stdout_console(),
        )
