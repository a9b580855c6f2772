"""`streamprn engine`: list, describe, import, export, build and verify engines."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamprn.cli.face_options import add_max_pixels
from streamprn.cli.parser import positive_float, positive_int
from streamprn.errors import InputError, StreamPRNError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from streamprn.cli.parser import Parser
    from streamprn.engines.bundle import Bundle
    from streamprn.engines.tensorrt.plans import PlanStore

_EXAMPLES = """
  streamprn engine list
  streamprn engine info facemesh
  streamprn engine import-prnet --data uv-data \\
    --weights net-data/256_256_resfcn256_weight
  streamprn engine build resfcn256 --precision fp16 --max-batch 16
  streamprn engine verify resfcn256 --backend tensorrt --against openvino
"""
_PRECISIONS = ("fp32", "fp16", "int8")
_BACKENDS = ("openvino", "onnxruntime", "tensorrt")


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command to the program."""
    parser = subparsers.add_parser(
        "engine",
        help="list, import, export, build and verify engines",
        description="Engines are folders: a manifest, a network, a topology.",
        examples=_EXAMPLES,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_list(actions)
    _add_info(actions)
    _add_import(actions)
    _add_export(actions)
    _add_build(actions)
    _add_verify(actions)


def _add_list(actions: argparse._SubParsersAction[Any]) -> None:
    parser = actions.add_parser("list", help="the engines that there are")
    parser.add_argument("--json", action="store_true", help="as JSON")


def _add_info(actions: argparse._SubParsersAction[Any]) -> None:
    parser = actions.add_parser("info", help="what an engine is")
    _add_name(parser)
    parser.add_argument("--json", action="store_true", help="as JSON")


def _add_import(actions: argparse._SubParsersAction[Any]) -> None:
    parser = actions.add_parser(
        "import-prnet",
        help="the official PRNet checkpoint as an engine",
        description="Import the official PRNet (resfcn256) weights; needs streamprn[convert].",
        examples="  streamprn engine import-prnet \\\n"
        "      --weights Data/net-data/256_256_resfcn256_weight --data Data/uv-data",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        metavar="PREFIX",
        help="the checkpoint's path without .index",
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the authors' folder Data/uv-data"
    )
    parser.add_argument("--name", default="resfcn256", help="the engine's name (%(default)s)")
    parser.add_argument("--replace", action="store_true", help="replace one of that name")


def _add_export(actions: argparse._SubParsersAction[Any]) -> None:
    parser = actions.add_parser("export", help="copy an engine, or its network, out")
    _add_name(parser)
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="a file *.onnx for the network, or a folder for all"
    )
    parser.add_argument("--precision", choices=_PRECISIONS, help="which network")
    parser.add_argument("--replace", action="store_true", help="replace what is there")


def _add_build(actions: argparse._SubParsersAction[Any]) -> None:
    parser = actions.add_parser(
        "build",
        help="build a TensorRT plan ahead of its first use",
        examples="""
          streamprn engine build resfcn256
          streamprn engine build resfcn256 --flavour tensorrt-rtx \\
            --compute-capability 8.6 8.9
        """,
    )
    _add_name(parser)
    parser.add_argument(
        "--precision",
        choices=("fp32", "tf32", "fp16"),
        help="default: fp16 where the engine has it, else tf32",
    )
    parser.add_argument(
        "--max-batch", type=positive_int, default=16, help="largest batch (%(default)s)"
    )
    parser.add_argument(
        "--flavour",
        choices=("tensorrt", "tensorrt-rtx"),
        help="default: the one that is installed, tensorrt first",
    )
    parser.add_argument(
        "--compute-capability",
        nargs="+",
        default=(),
        metavar="N.M",
        help="GPUs to build for, which need not be here (tensorrt-rtx only)",
    )
    parser.add_argument("--rebuild", action="store_true", help="even if there is a good plan")


def _add_verify(actions: argparse._SubParsersAction[Any]) -> None:
    parser = actions.add_parser(
        "verify",
        help="run the same crops on two backends and compare",
        description="Exit code 1 where the largest difference is above the bound.",
    )
    _add_name(parser)
    parser.add_argument("--backend", choices=_BACKENDS, default="openvino")
    parser.add_argument("--against", choices=_BACKENDS, default="onnxruntime")
    parser.add_argument("--precision", choices=_PRECISIONS, help="of --backend")
    parser.add_argument("--against-precision", choices=_PRECISIONS, help="of --against")
    parser.add_argument(
        "--crops", type=positive_int, default=4, help="invented pictures (%(default)s)"
    )
    parser.add_argument(
        "--images", nargs="+", type=Path, default=(), help="pictures to use instead, whole"
    )
    add_max_pixels(parser)
    parser.add_argument(
        "--bound",
        type=positive_float,
        default=0.5,
        metavar="PX",
        help="largest difference allowed, crop pixels (%(default)s)",
    )


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="an engine's name, or its folder")


def run(args: argparse.Namespace) -> int:
    """Do the action; returns the exit code."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list,
        "info": _info,
        "import-prnet": _import_prnet,
        "export": _export,
        "build": _build,
        "verify": _verify,
    }
    return actions[args.action](args)


def _print(text: str = "") -> None:
    from streamprn.cli.console import stdout_console

    stdout_console().print(text, markup=False, soft_wrap=True)


# list


def _list(args: argparse.Namespace) -> int:
    from rich.table import Table

    from streamprn.cli.console import stdout_console
    from streamprn.engines import registry

    rows = [_listed(name, folder) for name, folder in registry.available().items()]
    if args.json:
        _print(json.dumps(rows, indent=2))
        return 0
    table = Table(box=None, pad_edge=False)
    for title in ("name", "precisions", "licence", "what it is"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(row["name"], row["precisions"], row["licence"], row["title"])
    stdout_console().print(table)
    return 0


def _listed(name: str, folder: Path) -> dict[str, str]:
    from streamprn.engines.bundle import Bundle

    row = {"name": name, "precisions": "", "licence": "", "title": "", "folder": str(folder)}
    try:
        bundle = Bundle.load(folder)
    except StreamPRNError as error:
        return row | {"title": f"damaged: {error.what}"}
    return row | {
        "precisions": ", ".join(bundle.networks),
        "licence": bundle.licence,
        "title": bundle.title,
    }


# info


def _info(args: argparse.Namespace) -> int:
    from streamprn.engines import registry
    from streamprn.engines.tensorrt.plans import PlanStore

    facts = _facts(registry.find(args.name), PlanStore())
    if args.json:
        _print(json.dumps(facts, indent=2))
        return 0
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            _print(f"{key}:")
            for name, part in value.items():
                _print(f"  {name:12} {part}")
        else:
            words = f"{value:,}" if isinstance(value, int) else value or "none"
            _print(f"{key:14} {words}")
    return 0


def _facts(bundle: Bundle, store: PlanStore) -> dict[str, Any]:
    from streamprn.engines.inspection import inspect_network

    topology = bundle.topology()
    network = inspect_network(next(iter(bundle.networks.values())), bundle.crop.size)
    return {
        "name": bundle.name,
        "title": bundle.title,
        "folder": str(bundle.folder),
        "inputs": network.inputs,
        "outputs": network.outputs,
        "parameters": network.parameters,
        "MACs": network.macs,
        "vertices": topology.vertex_count,
        "triangles": int(topology.triangles.shape[0]),
        "networks": {name: path.name for name, path in bundle.networks.items()},
        "crop": asdict(bundle.crop),
        "licence": bundle.licence,
        "provenance": str(bundle.provenance_file or "not stated"),
        "plans": {path.name: _plan_words(path, bundle) for path in store.plans(bundle.name)},
    }


def _plan_words(path: Path, bundle: Bundle) -> str:
    from streamprn.engines.tensorrt.build import source_of
    from streamprn.engines.tensorrt.plans import digest, read_key

    try:
        key = read_key(path)
    except StreamPRNError as error:
        return error.what
    batches = "/".join(map(str, key.profile))
    network = bundle.networks.get(source_of(key.precision))
    stale = network is None or digest(network.read_bytes()) != key.onnx_sha256
    words = f"{key.flavour} {key.version}, {key.precision}, batches {batches}, for {key.target}"
    return f"{words}; stale, as it was built from another network" if stale else words


# import-prnet


def _import_prnet(args: argparse.Namespace) -> int:
    from streamprn.cli.console import stderr_console
    from streamprn.engines import registry
    from streamprn.engines.resfcn256.importer import LICENCE, import_prnet

    target = registry.new_folder(args.name)
    with stderr_console().status("importing") as status:
        folder = import_prnet(
            args.weights,
            args.data,
            target,
            replace=args.replace,
            progress=status.update,
        )
    _print(f"imported {folder}")
    _print(f"Licence: {LICENCE}.")
    _print(f"Next: streamprn run --engine {args.name} SOURCE")
    return 0


# export


def _export(args: argparse.Namespace) -> int:
    from streamprn.engines import registry
    from streamprn.engines.export import export_bundle, export_network

    bundle = registry.find(args.name)
    if args.precision and args.out.suffix != ".onnx":
        raise InputError(
            "--precision chooses one network, but a folder takes them all",
            hint=f"{args.out}.onnx would take the network alone",
        )
    if args.out.suffix == ".onnx":
        export_network(bundle, args.out, precision=args.precision, replace=args.replace)
    else:
        export_bundle(bundle, args.out, replace=args.replace)
    _print(f"wrote {args.out}")
    _print(f"Licence: {bundle.licence}")
    return 0


# build


def _build(args: argparse.Namespace) -> int:
    from streamprn.cli.console import stderr_console
    from streamprn.engines import registry
    from streamprn.engines.runtimes.tensorrt import obtain_plan
    from streamprn.engines.tensorrt import api
    from streamprn.engines.tensorrt.build import Recipe
    from streamprn.engines.tensorrt.plans import PlanStore

    bundle = registry.find(args.name)
    package = api.load(args.flavour or next(iter(api.installed()), "tensorrt"))
    precision = args.precision or ("fp16" if "fp16" in bundle.networks else "tf32")
    recipe = Recipe(precision, args.max_batch, tuple(args.compute_capability))
    store = PlanStore()
    with stderr_console().status(f"building with {package.flavour} {package.version}"):
        plan, reason = obtain_plan(
            package,
            bundle.name,
            bundle.networks,
            recipe,
            store=store,
            exact=True,
            rebuild=args.rebuild,
        )
    path = store.path(bundle.name, plan.key)
    verb = f"built, since {reason}:" if reason else "already there:"
    _print(f"{verb} {path}")
    _print(f"{len(plan.data) / 1e6:.1f} MB, {_plan_words(path, bundle)}")
    return 0


# verify


def _verify(args: argparse.Namespace) -> int:
    from streamprn.apps.images import read_image
    from streamprn.engines.engine import open_engine
    from streamprn.engines.verify import compare, invented_pictures, whole_pictures

    _check_runtimes(args.backend, args.against)
    engines = [
        open_engine(args.name, backend=backend, precision=precision, max_batch=1)
        for backend, precision in (
            (args.backend, args.precision),
            (args.against, args.against_precision),
        )
    ]
    size = engines[0].crop.size
    crops: NDArray[np.float32] = (
        whole_pictures(map(read_image, args.images), size)
        if args.images
        else invented_pictures(args.crops, size)
    )
    difference = compare(engines[0], engines[1], crops)
    for engine in engines:
        _print(engine.backend)
        engine.close()
    _print(
        f"{len(crops)} crops: largest difference {difference.largest_px:.4f} px, "
        f"mean {difference.mean_px:.5f} px, bound {args.bound:g} px"
    )
    return int(not difference.largest_px <= args.bound)


def _check_runtimes(*wanted: str) -> None:
    """Raise where one of the runtimes cannot be used here, and tell which can."""
    reasons = {
        name: import_module(f"streamprn.engines.runtimes.{name}").unusable() for name in _BACKENDS
    }
    usable = [name for name in _BACKENDS if not reasons[name]]
    for name in wanted:
        if reasons[name]:
            more = "" if "onnxruntime" in usable else "; pip install onnxruntime adds one"
            raise InputError(
                f"{name}, one of the two runtimes to compare, cannot be used: {reasons[name]}",
                hint=f"usable here: {', '.join(usable) or 'none'}{more}",
            )
