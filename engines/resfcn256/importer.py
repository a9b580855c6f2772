"""From the authors' checkpoint and UV data to an engine bundle."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import numpy as np

from streamprn.engines.bundle import MANIFEST, check_vacant
from streamprn.engines.checkpoint import Checkpoint
from streamprn.engines.files import move_into_place, scratch_beside
from streamprn.engines.resfcn256 import architecture, graph, uvdata
from streamprn.errors import BackendError, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from streamprn.engines.topology import Topology

    Arrays = Mapping[str, NDArray[np.generic]]

LICENCE: Final = (
    "The weights and UV data of PRNet were published by their authors for research; commercial "
    "use needs their permission"
)
NOTICE: Final = "resfcn256: the weights are for research only; see licence in its manifest"
_NOT_OF_THE_NETWORK: Final = re.compile(
    r"/(Adam|Momentum|RMSProp)(_\d+)?$|^beta\d_power(_\d+)?$|^global_step$"
)

_MANIFEST_TEXT: Final = """\
name: {name}
title: {title}
# position-map: the network gives the map itself, in units of output_scale crop pixels.
decoder: position-map
networks:
  fp32: fp32.onnx
  fp16: fp16.onnx
topology: topology.npz
output_scale: {output_scale}    # 256 x 1.1: a map may leave the crop a little
batched: false         # a CPU runs crops one by one just as fast
crop:
  size: 256            # pixels
  span: 255            # the ROI's edges are the centres of the border pixels
  square: mean         # of the width and height of a box
  box_scale: {box_scale}      # ROI side over a detector's box; see docs/engines.md
  box_shift_y: {box_shift_y}   # ROI centre below the box's, in parts of that mean
  track_box: landmarks # the next ROI comes from the 68 landmarks of the last map
  track_scale: 1.6     # ROI side over their box
  rotate: false
licence: >-
  {licence}
provenance: PROVENANCE.md
notice: >-
  {notice}
"""

# The authors' rule for a box of dlib's detector is 1.58 and 0.14; these give the same region from
# BlazeFace's box of the same face. How they were found: docs/engines.md.
BOX_SCALE: Final = 1.55
BOX_SHIFT_Y: Final = 0.065


def import_prnet(
    weights: Path,
    data: Path,
    folder: Path,
    *,
    replace: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> Path:
    """Write the bundle of the official network.

    Args:
        weights: prefix of the checkpoint, `.../256_256_resfcn256_weight`.
        data: the authors' `Data/uv-data`.
        folder: where the bundle shall be; its last part becomes the engine's name.
        replace: whether an engine that is there already may be replaced.
        progress: told each step in words.

    Returns:
        `folder`.

    Raises:
        EngineError: something is missing, damaged or does not fit; nothing was written then.
        BackendError: the package onnx is not installed.
    """
    _check_onnx()
    progress("reading the UV data")
    topology = uvdata.read_topology(data, licence=LICENCE, provenance="the authors' Data/uv-data")
    progress("reading the checkpoint")
    arrays = read_variables(weights)
    provenance = (
        "# Where this engine comes from\n\n"
        f"- Weights: checkpoint `{weights.name}`, its {len(arrays)} variables have SHA-256 "
        f"`{_digest(arrays)}`.\n"
        "- Topology: the authors' `Data/uv-data`.\n\n"
        f"{LICENCE}.\n\n"
        "Feng et al., Joint 3D Face Reconstruction and Dense Alignment with Position Map "
        "Regression Network, ECCV 2018.\n"
    )
    return write_bundle(
        arrays,
        topology,
        folder,
        title="Position Map Regression Network (PRNet, ECCV 2018)",
        licence=LICENCE,
        notice=NOTICE,
        provenance=provenance,
        replace=replace,
        progress=progress,
    )


def _check_onnx() -> None:
    if find_spec("onnx") is None:
        raise BackendError(
            "writing a network needs the package onnx", hint="pip install 'streamprn[convert]'"
        )


def read_variables(weights: Path) -> dict[str, NDArray[np.generic]]:
    """The network's variables out of a checkpoint; those of the optimiser are passed over.

    Raises:
        EngineError: a file or variable is missing, damaged, unknown, or of another shape.
    """
    checkpoint = Checkpoint(weights)
    shapes = {
        name: variable.shape
        for name, variable in checkpoint.variables.items()
        if not _NOT_OF_THE_NETWORK.search(name)
    }
    try:
        graph.check_shapes(shapes)
    except EngineError as error:
        raise EngineError(f"{weights}: {error.what}", hint=error.hint) from error
    return {name: checkpoint.read(name) for name in shapes}


def write_bundle(
    arrays: Arrays,
    topology: Topology,
    folder: Path,
    *,
    title: str,
    licence: str,
    notice: str,
    provenance: str,
    replace: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> Path:
    """Write graphs, topology and manifest into `folder`, all or nothing.

    Raises:
        EngineError: the folder is there already and may not be replaced, or cannot be written.
        BackendError: the package onnx is not installed.
    """
    _check_onnx()
    check_vacant(folder, replace=replace)
    manifest = _MANIFEST_TEXT.format(
        # Quoted: a bare 123 or `no` would not be read back as text.
        name=json.dumps(folder.name),
        title=json.dumps(title),
        licence=licence,
        notice=notice,
        output_scale=round(architecture.OUTPUT_SCALE, 1),
        box_scale=BOX_SCALE,
        box_shift_y=BOX_SHIFT_Y,
    )
    with scratch_beside(folder) as made:
        made.mkdir()
        for precision in graph.PRECISIONS:
            progress(f"writing the {precision} network")
            model = graph.build(arrays, precision)
            (made / f"{precision}.onnx").write_bytes(model.SerializeToString())
        topology.save(made / "topology.npz")
        (made / "PROVENANCE.md").write_text(provenance, encoding="utf-8")
        (made / MANIFEST).write_text(manifest, encoding="utf-8")
        move_into_place(made, folder)
    return folder


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
