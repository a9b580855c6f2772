"""`streamprn train`: an engine of one's own, out of pictures: label, fit, export."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamprn.cli.face_options import add_max_pixels
from streamprn.cli.parser import number, positive_float, positive_int
from streamprn.errors import InputError

if TYPE_CHECKING:
    from streamprn.cli.parser import Parser

_EXAMPLES = """
  streamprn train label portraits/ --output labels \\
    --model-dir ICT-FaceKit/FaceXModel
  streamprn train fit labels --output run --minutes 60
  streamprn train export run --output my-engine
  streamprn reconstruct --engine my-engine photo.jpg out
"""
_NEEDED = {
    "label": ("scipy",),
    "fit": ("scipy", "torch"),
    "export": ("scipy", "torch", "onnx", "onnxruntime"),
}


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser(
        "train",
        help="an engine of your own: label pictures, fit a network, export it",
        description="Three stages, each of which goes on where it was stopped. "
        "Needs streamprn[train].",
        examples=_EXAMPLES,
    )
    actions = parser.add_subparsers(dest="action", metavar="STAGE", required=True)
    _add_label(actions)
    _add_fit(actions)
    _add_export(actions)


def _add_label(actions: argparse._SubParsersAction[Any]) -> None:
    parser = actions.add_parser(
        "label",
        help="pictures to a labelled data set",
        description="The engine facemesh2 labels the pictures, a linear head model is fitted.",
    )
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGES", help="files or folders")
    parser.add_argument(
        "--model-dir",
        type=Path,
        required=True,
        metavar="DIR",
        help="the folder FaceXModel of ICT-FaceKit (MIT; not shipped)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the data set's folder"
    )
    parser.add_argument(
        "--processes",
        type=positive_int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="how many work at once (%(default)s)",
    )
    add_max_pixels(parser)


def _add_fit(actions: argparse._SubParsersAction[Any]) -> None:
    parser = actions.add_parser(
        "fit",
        help="a labelled data set to a trained network",
        description="Goes on with the run that lies in the output folder.",
    )
    parser.add_argument("folder", type=Path, metavar="LABELS", help="what `label` has made")
    parser.add_argument(
        "--labels",
        default="own",
        choices=("own", "300W-LP"),
        help="what lies in LABELS: 300W-LP are crops and position maps in the format of the PRN's "
        "authors, for --network resfcn256 (%(default)s)",
    )
    parser.add_argument(
        "--uv-data",
        default="",
        metavar="DIR",
        help="for 300W-LP: the authors' Data/uv-data",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the run's folder"
    )
    parser.add_argument(
        "--network",
        default="prn",
        choices=("prn", "resfcn256", "facemesh", "facemesh2"),
        help="prn, or the PRN paper's resfcn256, from scratch; or the packaged engine whose "
        "weights to go on from (%(default)s)",
    )
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument(
        "--minutes", type=positive_float, metavar="M", help="train so long, resumed runs together"
    )
    length.add_argument("--steps", type=positive_int, metavar="N", help="or so many steps")
    parser.add_argument(
        "--batch", type=positive_int, metavar="N", help="samples a step (64; resfcn256: 16)"
    )
    parser.add_argument(
        "--rate",
        type=positive_float,
        help="largest learning rate (2e-3; resfcn256: 1e-3; going on from others, 3e-4)",
    )
    parser.add_argument(
        "--width", type=positive_float, default=1.0, help="channels, 1 is 62 MMAC (%(default)s)"
    )
    parser.add_argument("--seed", type=number(int, 0), default=0, help="(%(default)s)")
    parser.add_argument(
        "--processes",
        type=positive_int,
        default=max(1, (os.cpu_count() or 2) // 2),
        metavar="N",
        help="that make samples (%(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=positive_int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="of PyTorch (%(default)s)",
    )
    parser.add_argument(
        "--save-every",
        type=positive_float,
        default=20.0,
        metavar="S",
        help="seconds between checkpoints: what a kill costs (%(default)g)",
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))


def _add_export(actions: argparse._SubParsersAction[Any]) -> None:
    parser = actions.add_parser(
        "export",
        help="a trained run to an engine folder",
        description="Writes manifest, ONNX networks and a model card; topology of facemesh.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="what `fit` has made")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the engine")
    parser.add_argument("--name", default="prn", help="the engine's name (%(default)s)")
    parser.add_argument("--licence", help="of the weights: SPDX name or a sentence")
    parser.add_argument(
        "--notes",
        type=Path,
        metavar="FILE",
        help="Markdown for the model card: terms of the pictures, figures, limits",
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        default=["fp32", "fp16"],
        choices=("fp32", "fp16", "int8"),
        metavar="TYPE",
        help="the networks to write, of fp32, fp16 and int8 (fp32 fp16); int8 is kept if it moves "
        "no held-out face by 0.3 px on average",
    )
    parser.add_argument(
        "--show-faces",
        action="store_true",
        help="put the worst held-out pictures beside the card; only where the terms of the "
        "pictures and the people on them allow it",
    )
    parser.add_argument("--replace", action="store_true", help="replace an engine that is there")


def run(args: argparse.Namespace) -> int:
    """Run the stage."""
    missing = [name for name in _NEEDED[args.action] if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"`train {args.action}` needs {', '.join(missing)}",
            hint="pip install 'streamprn[train]'",
        )
    stages = {"label": _label, "fit": _fit, "export": _export}
    return stages[args.action](args)


def _label(args: argparse.Namespace) -> int:
    from rich.progress import Progress

    from streamprn.cli.console import stderr_console, stdout_console
    from streamprn.train.label import label

    with Progress(console=stderr_console(), transient=True) as progress:
        task = progress.add_task("label", total=None)
        card = label(
            args.images,
            args.model_dir,
            args.output,
            processes=args.processes,
            tell=lambda done, total: progress.update(task, completed=done, total=total),
        )
    stdout_console().print(
        f"{card['faces']} faces in {args.output}, {card['held_out']} of them held out; "
        f"left out: {json.dumps(card['left_out'])}",
        markup=False,
        soft_wrap=True,
    )
    return 0


def _fit(args: argparse.Namespace) -> int:
    from streamprn.cli.console import stderr_console
    from streamprn.train.fit import Settings, Trainer

    if args.rate is None:
        args.rate = {"prn": 2e-3, "resfcn256": 1e-3}.get(args.network, 3e-4)
    if args.batch is None:
        args.batch = 16 if args.network == "resfcn256" else 64
    names = (
        "network",
        "minutes",
        "steps",
        "batch",
        "rate",
        "seed",
        "width",
        "processes",
        "threads",
        "device",
        "labels",
        "uv_data",
    )
    chosen = {name: getattr(args, name) for name in names}
    settings = Settings(save_s=args.save_every, **chosen)
    console = stderr_console()
    trainer = Trainer(
        args.folder,
        args.output,
        settings,
        tell=lambda line: console.print(line, markup=False, soft_wrap=True),
    )
    trainer.run()
    return 0


def _export(args: argparse.Namespace) -> int:
    from streamprn.cli.console import stdout_console
    from streamprn.train.export import About, export, int8_sentence

    notes = ""
    if args.notes is not None:
        try:
            notes = args.notes.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{args.notes}: cannot be read: {error}") from error
    said = {} if args.licence is None else {"licence": args.licence}
    about = About(args.name, notes=notes, precisions=tuple(args.precision), **said)
    about = replace(about, show_faces=args.show_faces)
    quantised = export(args.run, args.output, about, replace=args.replace)
    console = stdout_console()
    if quantised is not None:
        console.print(int8_sentence(quantised), markup=False, soft_wrap=True)
    console.print(f"engine in {args.output}", markup=False, soft_wrap=True)
    return 0
