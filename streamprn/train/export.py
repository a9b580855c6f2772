"""`streamprn train export`: a trained run to an engine folder with its model card."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from dataclasses import replace as replace_of
from functools import partial
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import torch

from streamprn.engines import registry
from streamprn.engines.bundle import MANIFEST, NAME, check_vacant
from streamprn.engines.files import move_into_place, scratch_beside
from streamprn.engines.resfcn256 import architecture, graph, importer
from streamprn.errors import InputError
from streamprn.train import map_network, onnx_writer, quantize, report
from streamprn.train.fit import (
    CHECKPOINT,
    CROPS,
    TOPOLOGY,
    AnyNetwork,
    load_checkpoint,
    new_network,
)
from streamprn.train.graph import STARTS, GraphNetwork
from streamprn.train.map_network import MapNetwork
from streamprn.train.measure import HALF_TRUST
from streamprn.train.quantize import Moved

if TYPE_CHECKING:
    from pathlib import Path

    from streamprn.records import UInt8

CARD = "MODEL_CARD.md"
PRECISIONS = ("fp32", "fp16")
INT8 = "int8"
_FILES = {"fp32": "network.onnx", "fp16": "network.fp16.onnx", INT8: "network.int8.onnx"}
_NOTES = {
    "fp32": "",
    "fp16": " # what gives coordinates computes in fp32",
    INT8: " # so does that",
}


@dataclass(frozen=True, slots=True)
class About:
    """What a person says of the engine.

    Attributes:
        name: of the engine.
        licence: of its weights; SPDX name or a sentence.
        notes: Markdown for the model card: terms of the data, figures, limits.
        precisions: the networks to write, the first is the default; "int8" needs "fp32".
        show_faces: whether the worst held-out pictures may lie beside the card.
    """

    name: str = "prn"
    licence: str = "not stated: see MODEL_CARD.md"
    notes: str = ""
    precisions: tuple[str, ...] = PRECISIONS
    show_faces: bool = False


def export(run: Path, folder: Path, about: About, *, replace: bool = False) -> Moved | None:
    """Write the averaged network of a run as an engine, all or nothing.

    An int8 network that moves held-out faces too far is left out.

    Args:
        run: folder with a checkpoint.
        folder: of the engine.
        about: see there.
        replace: an engine that is there already.

    Returns:
        How far int8 moves held-out faces, where it was asked for.

    Raises:
        InputError: no checkpoint, a name that cannot be, or int8 without fp32 or crops.
        EngineError: the folder may not be replaced or written.
    """
    if not NAME.fullmatch(about.name):
        raise InputError(f"{about.name!r} cannot be an engine's name", hint="use letters, digits")
    saved = load_checkpoint(run, torch.device("cpu"))
    settings = saved["settings"]
    network = new_network(settings["network"], settings["width"], None)
    network.load_state_dict(saved["mean"])
    network.eval()
    crops = _crops(run, about)
    check_vacant(folder, replace=replace)
    with scratch_beside(folder) as made:
        made.mkdir()
        for precision in about.precisions:
            if precision != INT8:
                _write_network(network, precision, made / _FILES[precision])
        own_map = (run / TOPOLOGY).is_file()
        if own_map:
            shutil.copy(run / TOPOLOGY, made)
        about = replace_of(about, show_faces=about.show_faces and (run / report.WORST).is_file())
        if about.show_faces:
            shutil.copy(run / report.WORST, made)
        manifest = partial(_manifest, network=network, settings=settings, own_map=own_map)
        (made / MANIFEST).write_text(manifest(about))
        quantised = None
        if crops is not None:
            # An engine opens only with the file that the manifest names.
            (made / CARD).touch()
            quantised = _quantise(made, crops)
            if not quantised.kept:
                (made / _FILES[INT8]).unlink()
                kept = tuple(one for one in about.precisions if one != INT8)
                (made / MANIFEST).write_text(manifest(replace_of(about, precisions=kept)))
        digests = "".join(
            f"- `{path.name}`: SHA-256 `{hashlib.sha256(path.read_bytes()).hexdigest()}`\n"
            for path in sorted(made.glob("*.onnx"))
        )
        (made / CARD).write_text(f"{_card(about, saved, quantised)}\n## Files\n\n{digests}")
        move_into_place(made, folder)
    return quantised


def _crops(run: Path, about: About) -> dict[str, UInt8] | None:
    """What int8 is calibrated and measured with, if it is asked for."""
    if INT8 not in about.precisions:
        return None
    if "fp32" not in about.precisions:
        raise InputError("int8 is made of fp32", hint="--precision fp32 int8")
    try:
        with np.load(run / CROPS) as data:
            return {key: data[key] for key in ("calibrate", "held_out")}
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(
            f"{run}: no {CROPS} to quantise with: {error}",
            hint="call `streamprn train fit` again with that run, it writes them",
        ) from error


def _quantise(made: Path, crops: dict[str, UInt8]) -> Moved:
    quantize.write(made / _FILES["fp32"], made / _FILES[INT8], crops["calibrate"])
    return quantize.moved(made, crops["held_out"])


def int8_sentence(moved: Moved) -> str:
    """Whether int8 was kept, and why."""
    return (
        f"int8 {'is there' if moved.kept else 'was left out'}: against fp32 it moves the vertices "
        f"of held-out faces by {moved.mean:.2f} px of the crop on average, by {moved.worst:.2f} px "
        f"in the worst picture (bound {quantize.BOUND_PX:g}), a single vertex by "
        f"{moved.largest:.2f} px."
    )


def _write_network(network: AnyNetwork, precision: str, path: Path) -> None:
    if isinstance(network, GraphNetwork):
        network.write(registry.find(network.name).networks[precision], path)
        return
    import onnx

    if isinstance(network, MapNetwork):
        model = graph.build(network.variables(), precision)
    else:
        model = onnx_writer.build(network, precision)
    onnx.save(model, path)


_TITLES = {
    "prn": "a PRN of our own, 468 points",
    "resfcn256": "the PRN paper's architecture, trained anew,",
}
_POINTS = """\
# subdivision: the network gives points, an operator makes the position map of them.
decoder: subdivision
# The 468 points are those of facemesh, so are these two files.
shares: facemesh
topology: topology.npz
operator: operator.npz"""
_MAP = f"""\
# position-map: the network gives the map itself, in units of output_scale crop pixels.
decoder: position-map
output_scale: {architecture.OUTPUT_SCALE:.1f}    # a map may leave the crop a little
# The map is that of facemesh, so is this file.
shares: facemesh
topology: topology.npz"""
_OWN_MAP = _MAP.replace("# The map is that of facemesh, so is this file.\nshares: facemesh\n", "")
_CROP = """\
  span: {side}          # the ROI's edges are the outer edges of the border pixels
  square: max        # of the width and height of a box
  box_scale: 1.5     # ROI side over a detector's box
  box_shift_y: 0.0
  track_scale: 1.5   # ROI side over the box of the last frame's vertices
  rotate: true       # the ROI follows the roll of the eyes"""
_OWN_CROP = f"""\
  span: 255          # the ROI's edges are the centres of the border pixels
  square: mean       # of the width and height of a box
  box_scale: {importer.BOX_SCALE}    # ROI side over a detector's box
  box_shift_y: {importer.BOX_SHIFT_Y}
  track_box: landmarks # the next ROI comes from the 68 landmarks of the last map
  track_scale: 1.6   # ROI side over their box
  rotate: false"""


def _manifest(about: About, network: AnyNetwork, settings: Any, *, own_map: bool) -> str:
    networks = "\n".join(f"  {one}: {_FILES[one]}{_NOTES[one]}" for one in about.precisions)
    origin = settings["network"]
    title = _TITLES.get(origin, f"{origin}, trained further at all angles, 468 points")
    decoder = (_OWN_MAP if own_map else _MAP) if isinstance(network, MapNetwork) else _POINTS
    crop = _OWN_CROP if own_map else _CROP.format(side=network.side)
    return f"""# Made by `streamprn train export`; see {CARD}.
name: {about.name}
title: {title} on the map of {"its authors" if own_map else "facemesh"}
{decoder}
# ONNX by precision; input (B, size, size, 3) float32 RGB in 0..1.
networks:
{networks}
batched: false       # a CPU runs four crops one by one as fast as together
crop:
  size: {network.side}          # pixels
{crop}
licence: {json.dumps(about.licence)}
provenance: {CARD}
"""


_POINTS_GIVEN = (
    "468 points of a face, those of MediaPipe's Face Mesh, out of a crop; and a score.",
    f"The score is trained to be 1 / (1 + (e / {HALF_TRUST:.0%})^2) of the error e in parts of the "
    "face, and 0 for what is no face: the backs of heads, surroundings, crops beside a face, faces "
    "upside down.",
)
_MAP_GIVEN = (
    "The position map of a face, laid out as that of the engine `facemesh`, out of a crop.",
    "The network gives no score.",
)
_OWN_MAP_GIVEN = (
    "The position map of a face, laid out as that of the PRN's authors, out of a crop.",
    "The network gives no score.",
)


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _labels_told(labels: dict[str, Any]) -> str:
    if "rules" not in labels:
        return (
            "The labels are position maps in the format of the PRN's authors, whose UV data the "
            "topology is: published for research."
        )
    return (
        "The labels are those of the engine facemesh2 (MediaPipe, Apache-2.0), averaged over six "
        "looks, where they agree and the head is turned by less than "
        f"{labels['rules']['yaw']:g} degrees; a linear head model (ICT-FaceKit, MIT) turned each "
        "face to yaws up to 95 degrees."
    )


def _given(saved: dict[str, Any]) -> tuple[str, str]:
    """What the network gives, and what its score means."""
    if saved["settings"]["network"] != map_network.NAME:
        return _POINTS_GIVEN
    return _MAP_GIVEN if "rules" in saved["card"] else _OWN_MAP_GIVEN


def _card(about: About, saved: dict[str, Any], quantised: Moved | None) -> str:
    """What the run itself knows, then what a person adds."""
    settings, state, labels = saved["settings"], saved["state"], saved["card"]
    history = state["history"]
    rows = [
        f"| {name} | {one['labelled']} | {one['kept']} |" for name, one in labels["sources"].items()
    ]
    start = settings["network"]
    begun = f"from the weights of `{start}`" if start in STARTS else "from random weights"
    gives, score = _given(saved)
    samples = state["step"] * settings["batch"]
    lines = [
        f"# Model card of {about.name}",
        "",
        gives,
        f"Licence of the weights: {about.licence}.",
        "",
        "## Training",
        "",
        f"Trained {begun}: {state['step']} steps of {settings['batch']} samples in "
        f"{state['seconds'] / 60:.0f} minutes ({samples / max(state['seconds'], 1e-3):.0f} a "
        f"second), seed {settings['seed']}; file {CHECKPOINT}. {_labels_told(labels)}",
        "",
        "| pictures | labelled | kept |",
        "|---|---|---|",
        *rows,
        "",
        score,
        "",
    ]
    if history:
        last = history[-1]
        lines += [
            "## Held-out faces of the same sets",
            "",
            f"{labels['held_out']} faces that training has not seen, as they are and turned by the "
            "renderer: mean 2D error of the 68 landmarks against the labels, in percent of their "
            "box, and score.",
            "",
            "| yaw | error, % | score |",
            "|---|---|---|",
            *(
                f"| {yaw} | {error:.2f} | {_score(last['score'].get(yaw))} |"
                for yaw, error in last["error_percent"].items()
            ),
            "",
        ]
    if quantised is not None:
        lines += [int8_sentence(quantised), ""]
    if about.show_faces:
        lines += [
            f"The worst of them: [{report.WORST}]({report.WORST}), each with its label (green) and "
            "beside it with what the network says (red).",
            "",
        ]
    return "\n".join([*lines, about.notes.strip(), ""])
