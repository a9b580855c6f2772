"""The options that `reconstruct`, `swap`, `edit` and `evaluate` share, and what they open."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from streamprn.cli.parser import number, positive_int
from streamprn.limits import MAX_PIXELS, MOST_PIXELS

if TYPE_CHECKING:
    from streamprn.apps.reconstruction import Reconstructor
    from streamprn.engines.engine import Backend


def add_video_stream(parser: argparse._ActionsContainer) -> None:
    """Add the choice among the video streams of a file; `SourceConfig.video_stream` of `run`."""
    parser.add_argument(
        "--video-stream",
        type=number(int, 0, 255),
        metavar="N",
        help="number of the video stream where there are several, from 0 (the default one, then "
        "the largest, and no cover or thumbnail)",
    )


def add_engine_options(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add the choice of engine (or of `several`), runtime and detector."""
    group = parser.add_argument_group("engine")
    if several:
        group.add_argument(
            "--engine",
            action="append",
            metavar="NAME",
            help="engine name or folder; may be repeated, or a list with commas (facemesh)",
        )
    else:
        group.add_argument(
            "--engine",
            default="facemesh",
            metavar="NAME",
            help="engine name or folder (%(default)s)",
        )
    group.add_argument(
        "--backend",
        default="auto",
        choices=("auto", "openvino", "onnxruntime", "tensorrt"),
        help="runtime of the networks (%(default)s)",
    )
    group.add_argument(
        "--threads", type=positive_int, default=2, metavar="N", help="CPU threads (%(default)s)"
    )
    group.add_argument(
        "--detector",
        default="short",
        choices=("short", "full"),
        help="face detector: short for near faces, full for far ones (%(default)s)",
    )
    group.add_argument(
        "--min-score",
        type=probability,
        default=0.5,
        metavar="P",
        help="faces below this score are left out (%(default)s)",
    )

    add_max_pixels(parser)


def add_max_pixels(parser: argparse.ArgumentParser, when: str = "") -> None:
    """Add the limit of pictures and clips; the program sets it before the command runs.

    Every command needs it that reads pictures which somebody names.

    Args:
        parser: of the command.
        when: it counts, for its help.
    """
    parser.add_argument(
        "--max-pixels",
        type=number(int, 1, MOST_PIXELS),
        metavar="N",
        help=f"{when}refuse pictures and clips with more pixels ({MAX_PIXELS:,})",
    )


def probability(text: str) -> float:
    """An argument type: a number in 0..1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 1.0:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number in 0..1")
    return number


def open_reconstructor(args: argparse.Namespace, *, detect: bool = True) -> Reconstructor:
    """Open what `add_engine_options` chose; no detector where boxes are given instead."""
    from streamprn.apps.reconstruction import Reconstructor
    from streamprn.engines.detectors import open_detector
    from streamprn.engines.engine import open_engine

    engine = open_engine(args.engine, backend=args.backend, threads=args.threads)
    # Detectors have no TensorRT plans; they take the best CPU runtime.
    backend: Backend = "auto" if args.backend == "tensorrt" else args.backend
    detector = None
    if detect:
        detector = open_detector(args.detector, backend=backend, threads=args.threads)
    return Reconstructor(engine, detector, min_score=args.min_score)
