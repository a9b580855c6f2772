"""An engine on disk: a folder with `manifest.yaml`, a network, and a topology."""

from __future__ import annotations

import difflib
import logging
import math
import re
import zlib
from dataclasses import dataclass, fields
from functools import cached_property
from io import BytesIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from streamprn.engines.protocol import CropRule
from streamprn.engines.topology import Topology
from streamprn.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from streamprn.kernels.uv import Operator

_log = logging.getLogger(__name__)

MANIFEST = "manifest.yaml"
DECODERS = ("subdivision", "position-map")
PRECISIONS = ("fp32", "fp16")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
REQUIRED = ("name", "decoder", "networks", "topology", "crop", "licence")
OPTIONAL = ("title", "operator", "shares", "output_scale", "batched", "provenance", "notice")
LENT = ("topology", "operator")


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
        return _Manifest(folder).bundle()

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
            with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as data:
                if int(data["format"]) != 1:
                    raise ValueError(f"format {int(data['format'])}, expected 1")
                return cls._from_arrays(data, topology)
        except (
            OSError,
            ValueError,
            KeyError,
            EOFError,
            IndexError,
            BadZipFile,
            zlib.error,
        ) as error:
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


class _Manifest:
    """A manifest on its way to a `Bundle`; every error names file and key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / MANIFEST
        self.data = self._read()
        self._check_keys(self.data, REQUIRED, OPTIONAL, "")

    def _error(self, what: str, hint: str = "") -> EngineError:
        return EngineError(f"{self.path}: {what}", hint=hint or "correct the manifest")

    def _read(self) -> dict[str, Any]:
        import yaml

        if not self.path.is_file():
            raise EngineError(
                f"{self.folder} is not an engine: it has no {MANIFEST}",
                hint="see `streamprn engine list`",
            )
        try:
            data = yaml.safe_load(self.path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
            raise self._error(f"not readable as YAML: {error}") from error
        if not isinstance(data, dict):
            raise self._error("not a mapping of keys")
        return data

    def _check_keys(
        self, data: Mapping[str, Any], required: Iterable[str], optional: Iterable[str], within: str
    ) -> None:
        known = [*required, *optional]
        for key in data:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                raise self._error(f"unknown key {within}{key}", hint)
        for key in required:
            if key not in data:
                raise self._error(f"key {within}{key} is missing")

    def _text(self, key: str, default: str = "") -> str:
        value = self.data.get(key, default)
        if not isinstance(value, str):
            raise self._error(f"{key} is not text: {value!r}")
        return value

    def _name(self) -> str:
        """The name, which also names cached files."""
        name = self._text("name")
        if not NAME.fullmatch(name):
            raise self._error(f"name is {name!r}: use letters, digits, '_', '.', '-'")
        return name

    def _choice(self, key: str, choices: Iterable[str]) -> str:
        value = self._text(key)
        if value not in choices:
            raise self._error(f"{key} is {value!r}, not one of: {', '.join(choices)}")
        return value

    def _crop_choice(self, crop: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str:
        """One of the choices; the first of them where the key is not there."""
        value = crop.get(key, choices[0])
        if value not in choices:
            raise self._error(f"crop.{key} is {value!r}, not one of: {', '.join(choices)}")
        return str(value)

    def _number(self, data: Mapping[str, Any], key: str, default: float, within: str) -> float:
        value = data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._error(f"{within}{key} is not a number: {value!r}")
        if not math.isfinite(value):
            raise self._error(f"{within}{key} is not finite")
        return float(value)

    def _flag(self, data: Mapping[str, Any], key: str, default: bool, within: str = "") -> bool:
        value = data.get(key, default)
        if not isinstance(value, bool):
            raise self._error(f"{within}{key} is neither true nor false: {value!r}")
        return value

    def _file(self, value: object, key: str) -> Path:
        if not isinstance(value, str) or not value:
            raise self._error(f"{key} is not a file name: {value!r}")
        path = self.folder / value
        if PurePath(value).is_absolute() or ".." in PurePath(value).parts:
            raise self._error(f"{key} names {value}, which is outside the engine's folder")
        if not path.is_file() and key in LENT and "shares" in self.data:
            path = self._lender() / value
        if not path.is_file():
            raise EngineError(
                f"{self.path}: {key} names {value}, which is not there",
                hint="import or build the engine again",
            )
        return path

    def _lender(self) -> Path:
        """The folder of the packaged engine whose topology and operator this one uses."""
        name = self._text("shares")
        folder = Path(__file__).resolve().parent / name
        if not NAME.fullmatch(name) or not (folder / MANIFEST).is_file():
            raise self._error(f"shares is {name!r}: no engine of that name ships with StreamPRN")
        return folder

    def _optional_file(self, key: str) -> Path | None:
        return self._file(self.data[key], key) if key in self.data else None

    def _networks(self) -> dict[str, Path]:
        value = self.data["networks"]
        if not isinstance(value, dict) or not value:
            raise self._error("networks is not a mapping of precision to ONNX file")
        self._check_keys(value, (), PRECISIONS, "networks.")
        return {key: self._file(name, f"networks.{key}") for key, name in value.items()}

    def _crop(self) -> CropRule:
        value = self.data["crop"]
        if not isinstance(value, dict):
            raise self._error("crop is not a mapping")
        names = [field.name for field in fields(CropRule)]
        required = ("size", "span", "box_scale")
        self._check_keys(value, required, [n for n in names if n not in required], "crop.")
        size = value["size"]
        if isinstance(size, bool) or not isinstance(size, int) or not 16 <= size <= 2048:
            raise self._error(f"crop.size is not a whole number of pixels in 16..2048: {size!r}")
        rule = CropRule(
            size=size,
            span=self._number(value, "span", size, "crop."),
            box_scale=self._number(value, "box_scale", 1.0, "crop."),
            box_shift_y=self._number(value, "box_shift_y", 0.0, "crop."),
            track_scale=self._number(value, "track_scale", 1.5, "crop."),
            track_box=self._crop_choice(value, "track_box", ("vertices", "landmarks")),
            square=self._crop_choice(value, "square", ("mean", "max")),
            rotate=self._flag(value, "rotate", True, "crop."),
        )
        for key in ("span", "box_scale", "track_scale"):
            if getattr(rule, key) <= 0:
                raise self._error(f"crop.{key} is not above 0")
        return rule

    def bundle(self) -> Bundle:
        decoder = self._choice("decoder", DECODERS)
        if (decoder == "subdivision") != ("operator" in self.data):
            verb = "needs" if decoder == "subdivision" else "does not take"
            raise self._error(f"decoder {decoder} {verb} the key operator")
        return Bundle(
            folder=self.folder,
            name=self._name(),
            title=self._text("title", self._name()),
            decoder=decoder,
            networks=self._networks(),
            topology_file=self._file(self.data["topology"], "topology"),
            operator_file=self._optional_file("operator"),
            crop=self._crop(),
            output_scale=self._number(self.data, "output_scale", 1.0, ""),
            batched=self._flag(self.data, "batched", True),
            licence=self._text("licence"),
            provenance_file=self._optional_file("provenance"),
            notice=self._text("notice"),
        )
