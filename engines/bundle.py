"""An engine on disk: a folder with `manifest.yaml`, a network, and a topology."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from streamprn.engines.arrays import read_arrays
from streamprn.engines.manifest import MANIFEST, NAME_PATTERN, Folder, Manifest, read
from streamprn.engines.topology import Topology
from streamprn.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from streamprn.engines.protocol import CropRule, ScoreRule
    from streamprn.kernels.uv import Operator

__all__ = ["MANIFEST", "NAME", "Bundle", "Subdivision", "check_vacant"]

_log = logging.getLogger(__name__)

NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What `manifest.yaml` says; the files are there but not read yet.

    Attributes:
        folder: where the files lie.
        name: of the engine.
        title: one line for people.
        decoder: "subdivision" (points and an operator) or "position-map".
        networks: ONNX file by precision.
        topology_file: see `Topology`.
        operator_file: the UV operator (.npz) of decoder "subdivision", else None.
        crop: the crop rule.
        score: how the score of a face is made, or None for the network's own.
        output_scale: crop pixels per unit of the network's position map.
        batched: whether a CPU runs a batch faster than crop by crop.
        licence: SPDX name or a sentence.
        provenance_file: where everything comes from, or None.
        notice: a line that is logged when the engine is opened, or an empty string.
    """

    folder: Path
    name: str
    title: str
    decoder: str
    networks: Mapping[str, Path]
    topology_file: Path
    operator_file: Path | None
    crop: CropRule
    score: ScoreRule | None
    output_scale: float
    batched: bool
    licence: str
    provenance_file: Path | None
    notice: str

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Read and check a bundle's manifest.

        Raises:
            EngineError: the manifest is missing, damaged, has a missing, unknown or wrong key, or
                names a file that is not there.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise EngineError(
                f"{folder} is not an engine: it has no {MANIFEST}",
                hint="see `streamprn engine list`",
            )
        return cls._of(read(path, Manifest, hint="correct the manifest"), path)

    @classmethod
    def _of(cls, said: Manifest, path: Path) -> Bundle:
        files = Folder(path)
        if (said.decoder == "subdivision") != (said.operator is not None):
            verb = "needs" if said.decoder == "subdivision" else "does not take"
            raise files.error("decoder", f"{said.decoder} {verb} the key operator")
        return cls(
            folder=path.parent,
            name=said.name,
            title=said.name if said.title is None else said.title,
            decoder=said.decoder,
            networks=files.networks(said.networks),
            topology_file=files.file("topology", said.topology, said.shares),
            operator_file=files.optional("operator", said.operator, said.shares),
            crop=said.crop.rule(),
            score=None if said.score is None else said.score.rule(),
            output_scale=said.output_scale,
            batched=said.batched,
            licence=said.licence,
            provenance_file=files.optional("provenance", said.provenance),
            notice=said.notice,
        )

    def log_notice(self) -> None:
        """Put the notice into the log, for whoever opens the engine."""
        if self.notice:
            _log.info("%s", self.notice)

    def topology(self) -> Topology:
        """Read the topology. Raises `EngineError` where it is damaged."""
        return Topology.load(self.topology_file)

    def subdivision(self, topology: Topology) -> Subdivision:
        """Read the operator file of decoder "subdivision".

        Raises:
            EngineError: the file is damaged or does not fit the topology.
        """
        assert self.operator_file is not None
        return Subdivision.load(self.operator_file, topology)


@dataclass(frozen=True)
class Subdivision:
    """The linear map from a network's P points to the texels of a topology.

    Attributes:
        starts: `(P,)` int64, first entry of each row of stage 0 (square, CSR). It moves the points
            so that the smooth surface, which shrinks from its control points, passes near where
            they were.
        sources: `(K,)` int64, its columns.
        weights: `(K,)` float32, its values.
        operator: the surface, and its place in the UV plane.
    """

    starts: NDArray[np.int64]
    sources: NDArray[np.int64]
    weights: NDArray[np.float32]
    operator: Operator

    @classmethod
    def load(cls, path: Path, topology: Topology) -> Subdivision:
        """Read an .npz file (format 1): stages 0 and 1 as CSR, stage 2 as barycentric rows.

        Raises:
            EngineError: the file is missing, damaged, or does not fit the topology.
        """
        try:
            data = read_arrays(path)
            if int(data["format"]) != 1:
                raise ValueError(f"format {int(data['format'])}, expected 1")
            return cls._from_arrays(data, topology)
        except (OSError, ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise EngineError(
                f"{path}: not an operator of this topology: {error}",
                hint="import or build the engine again",
            ) from error

    @classmethod
    def _from_arrays(
        cls, data: Mapping[str, NDArray[np.generic]], topology: Topology
    ) -> Subdivision:
        from streamprn.kernels.uv import Operator

        operator = Operator(
            indptr1=np.ascontiguousarray(data["indptr1"], np.int32),
            indices1=np.ascontiguousarray(data["indices1"], np.int32),
            weights1=np.ascontiguousarray(data["weights1"], np.float32),
            indices2=np.ascontiguousarray(data["indices2"], np.int32),
            weights2=np.ascontiguousarray(data["weights2"], np.float32),
            texel=topology.texel,
        )
        operator.check()
        starts = np.ascontiguousarray(data["indptr0"], np.int64)
        sources = np.ascontiguousarray(data["indices0"], np.int64)
        weights = np.ascontiguousarray(data["weights0"], np.float32)
        count = starts.shape[0] - 1
        good = (
            (starts[1:] > starts[:-1]).all()
            and starts[0] == 0
            and starts[-1] == sources.shape[0] == weights.shape[0]
            and 0 <= sources.min() <= sources.max() < count
        )
        if not good:
            raise ValueError("the arrays of stage 0 contradict each other")
        if operator.point_count > count:
            raise ValueError(f"stage 1 wants {operator.point_count} points, stage 0 has {count}")
        return cls(starts[:-1], sources, weights, operator)

    def correct(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points `(B, P, 3)` float32 moved by stage 0: `(B, P, 4)`, see `kernels.uv.combine`."""
        from streamprn.kernels import uv

        return uv.combine(points, *self.rows)

    @cached_property
    def rows(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
        """Stage 0 as kernels take it: starts `(P + 1,)`, sources and weights `(K,)`."""
        ends = np.append(self.starts, self.sources.shape[0]).astype(np.int32)
        return ends, self.sources.astype(np.int32), self.weights


def check_vacant(folder: Path, *, replace: bool) -> None:
    """See that a bundle may be written to `folder`.

    To replace is to delete what is there, so nothing but an engine or an empty folder is replaced.

    Raises:
        EngineError: something is there already that may not be replaced.
    """
    if not folder.exists():
        return
    if not replace:
        raise EngineError(f"{folder} exists already", hint="add --replace, or choose another place")
    empty = folder.is_dir() and not any(folder.iterdir())
    if not (empty or (folder / MANIFEST).is_file()):
        raise EngineError(
            f"{folder} is not an engine, so it is not replaced", hint="choose another place"
        )
