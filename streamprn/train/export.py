"""`streamprn train export`: a trained run to an engine folder with its model card."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from streamprn.engines import registry
from streamprn.engines.bundle import MANIFEST, NAME, check_vacant
from streamprn.engines.files import move_into_place, scratch_beside
from streamprn.errors import InputError
from streamprn.train import onnx_writer
from streamprn.train.fit import CHECKPOINT, HALF_TRUST, load_checkpoint, new_network
from streamprn.train.graph import GraphNetwork

if TYPE_CHECKING:
    from pathlib import Path

    from streamprn.train.network import PointNetwork

CARD = "MODEL_CARD.md"
PRECISIONS = ("fp32", "fp16")
_FILES = {"fp32": "network.onnx", "fp16": "network.fp16.onnx"}
_NOTES = {
    "fp32": "",
    "fp16": " # what gives coordinates computes in fp32",
}


@dataclass(frozen=True, slots=True)
class About:
    """What a person says of the engine.

    Attributes:
        name: of the engine.
        licence: of its weights; SPDX name or a sentence.
        notes: Markdown for the model card: terms of the data, figures, limits.
        precisions: the networks to write, the first is the default.
    """

    name: str = "prn"
    licence: str = "not stated: see MODEL_CARD.md"
    notes: str = ""
    precisions: tuple[str, ...] = PRECISIONS


def export(run: Path, folder: Path, about: About, *, replace: bool = False) -> None:
    """Write the averaged network of a run as an engine, all or nothing.

    Args:
        run: folder with a checkpoint.
        folder: of the engine.
        about: see there.
        replace: an engine that is there already.

    Raises:
        InputError: no checkpoint, or a name that cannot be.
        EngineError: the folder may not be replaced or written.
    """
    if not NAME.fullmatch(about.name):
        raise InputError(f"{about.name!r} cannot be an engine's name", hint="use letters, digits")
    saved = load_checkpoint(run, torch.device("cpu"))
    settings = saved["settings"]
    network = new_network(settings["network"], settings["width"], None)
    network.load_state_dict(saved["mean"])
    network.eval()
    check_vacant(folder, replace=replace)
    with scratch_beside(folder) as made:
        made.mkdir()
        for precision in about.precisions:
            _write_network(network, precision, made / _FILES[precision])
        (made / MANIFEST).write_text(_manifest(about, network, settings))
        digests = "".join(
            f"- `{path.name}`: SHA-256 `{hashlib.sha256(path.read_bytes()).hexdigest()}`\n"
            for path in sorted(made.glob("*.onnx"))
        )
        (made / CARD).write_text(f"{_card(about, saved)}\n## Files\n\n{digests}")
        move_into_place(made, folder)


def _write_network(network: PointNetwork | GraphNetwork, precision: str, path: Path) -> None:
    if isinstance(network, GraphNetwork):
        network.write(registry.find(network.name).networks[precision], path)
        return
    import onnx

    onnx.save(onnx_writer.build(network, precision), path)


def _manifest(about: About, network: PointNetwork | GraphNetwork, settings: Any) -> str:
    networks = "\n".join(f"  {one}: {_FILES[one]}{_NOTES[one]}" for one in about.precisions)
    origin = settings["network"]
    title = "a PRN of our own" if origin == "prn" else f"{origin}, trained further at all angles"
    return f"""# Made by `streamprn train export`; see {CARD}.
name: {about.name}
title: {title}, 468 points on the map of facemesh
# subdivision: the network gives points, an operator makes the position map of them.
decoder: subdivision
# ONNX by precision; input (B, size, size, 3) float32 RGB in 0..1.
networks:
{networks}
# The 468 points are those of facemesh, so are these two files.
shares: facemesh
topology: topology.npz
operator: operator.npz
batched: false       # a CPU runs four crops one by one as fast as together
crop:
  size: {network.side}          # pixels
  span: {network.side}          # the ROI's edges are the outer edges of the border pixels
  square: max        # of the width and height of a box
  box_scale: 1.5     # ROI side over a detector's box
  box_shift_y: 0.0
  track_scale: 1.5   # ROI side over the box of the last frame's vertices
  rotate: true       # the ROI follows the roll of the eyes
licence: {json.dumps(about.licence)}
provenance: {CARD}
"""


def _card(about: About, saved: dict[str, Any]) -> str:
    """What the run itself knows, then what a person adds."""
    settings, state, labels = saved["settings"], saved["state"], saved["card"]
    history = state["history"]
    rows = [
        f"| {name} | {one['labelled']} | {one['kept']} |" for name, one in labels["sources"].items()
    ]
    start = settings["network"]
    begun = "from random weights" if start == "prn" else f"from the weights of `{start}`"
    lines = [
        f"# Model card of {about.name}",
        "",
        "468 points of a face, those of MediaPipe's Face Mesh, out of a crop; and a score.",
        f"Licence of the weights: {about.licence}.",
        "",
        "## Training",
        "",
        f"Trained {begun}: {state['step']} steps of {settings['batch']} samples in "
        f"{state['seconds'] / 60:.0f} minutes, seed {settings['seed']}; file {CHECKPOINT}. "
        "The labels are those of the engine facemesh2 (MediaPipe, Apache-2.0), averaged over six "
        "looks, where they agree and the head is turned by less than "
        f"{labels['rules']['yaw']:g} degrees; a linear head model (ICT-FaceKit, MIT) turned each "
        "face to yaws up to 95 degrees.",
        "",
        "| pictures | labelled | kept |",
        "|---|---|---|",
        *rows,
        "",
        f"The score is trained to be 1 / (1 + (e / {HALF_TRUST:.0%})^2) of the error e in parts of "
        "the face, and 0 for what is no face: the backs of heads, surroundings, crops beside a "
        "face, faces upside down.",
        "",
    ]
    if history:
        last = history[-1]
        lines += [
            "## Held-out faces of the same sets",
            "",
            f"{labels['held_out']} faces that training has not seen, turned by the renderer: mean "
            "2D error of the 68 landmarks against the labels, in percent of their box, and score.",
            "",
            "| yaw | error, % | score |",
            "|---|---|---|",
            *(
                f"| {yaw} | {error:.2f} | {last['score'][yaw]:.2f} |"
                for yaw, error in last["error_percent"].items()
            ),
            "",
        ]
    return "\n".join([*lines, about.notes.strip(), ""])
