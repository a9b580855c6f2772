"""What `manifest.yaml` and `detectors.yaml` may say, read and checked as `config.yaml` is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePath
from typing import TypeVar

from streamprn.config.load import load
from streamprn.config.rules import about, required, setting
from streamprn.engines.protocol import CropRule, ScoreRule
from streamprn.errors import ConfigError, EngineError

T = TypeVar("T")

MANIFEST = "manifest.yaml"
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
#: Of one file; the format of ONNX ends there too.
MAX_FILE_BYTES = 2 << 30
DECODERS = ("subdivision", "position-map")


@dataclass(frozen=True, slots=True)
class Networks:
    """ONNX file by precision."""

    fp32: str | None = setting(None, "ONNX file in float32")
    fp16: str | None = setting(None, "ONNX file in float16, for GPUs")
    int8: str | None = setting(None, "ONNX file with quantised layers (QDQ), for CPUs")


@dataclass(frozen=True, slots=True)
class Crop:
    """See `CropRule`, which has the same fields."""

    size: int = required("pixels of the square crop", unit="px", minimum=16, maximum=2048)
    span: float = required("crop pixels of the ROI's side", unit="px", minimum=1, maximum=4096)
    box_scale: float = required("ROI side over that of a detector's box", minimum=0.01, maximum=100)
    box_shift_y: float = setting(
        0.0, "ROI centre below the box's, in parts of its side", minimum=-10, maximum=10
    )
    track_scale: float = setting(
        1.5, "ROI side over that of the last map's box", minimum=0.01, maximum=100
    )
    track_box: str = setting(
        "vertices", "what that box is around", choices=("vertices", "landmarks")
    )
    square: str = setting(
        "mean", "which of a box's width and height is its side", choices=("mean", "max")
    )
    rotate: bool = setting(True, "whether the ROI follows the roll of the head")

    def rule(self) -> CropRule:
        """The rule itself."""
        return CropRule(**asdict(self))


@dataclass(frozen=True, slots=True)
class Score:
    """See `ScoreRule`, which has the same fields."""

    bias: float = required("the constant", minimum=-1000, maximum=1000)
    network: float = required("weight of the network's own logit", minimum=0, maximum=100)
    disagreement: float = required(
        "weight of the logarithm of how far its looks differ", minimum=-100, maximum=0
    )

    def rule(self) -> ScoreRule:
        """The rule itself."""
        return ScoreRule(**asdict(self))


@dataclass(frozen=True, slots=True)
class Manifest:
    """The keys of `manifest.yaml`; see `Bundle`."""

    networks: Networks = field(metadata=about("ONNX file by precision: fp32, fp16, int8"))
    crop: Crop = field(metadata=about("how a face becomes the network's input"))
    name: str = required(
        "the engine's name, which also names cached files",
        pattern=NAME_PATTERN,
        pattern_doc="letters, digits, '_', '.', '-'; at most 64, the first a letter or digit",
    )
    decoder: str = required("what the network gives", choices=DECODERS)
    topology: str = required("the topology's file (.npz)")
    licence: str = required("SPDX name or a sentence")
    title: str | None = setting(None, "one line for people")
    shares: str | None = setting(
        None,
        "the engine in the package whose topology and operator it uses where it has none",
        pattern=NAME_PATTERN,
        pattern_doc="the name of an engine that ships with StreamPRN",
    )
    operator: str | None = setting(None, "the UV operator's file (.npz) of decoder subdivision")
    output_scale: float = setting(
        1.0, "crop pixels per unit of the network's position map", minimum=-1e9, maximum=1e9
    )
    score: Score | None = field(
        default=None, metadata=about("how the score of a face is made; else the network's own")
    )
    batched: bool = setting(True, "whether a CPU runs a batch faster than crop by crop")
    provenance: str | None = setting(None, "the file that says where everything comes from")
    notice: str = setting("", "a line for the log when the engine is opened")


@dataclass(frozen=True, slots=True)
class Detector:
    """One entry of `detectors.yaml`."""

    network: str = required("ONNX file")
    size: int = required("pixels of the square input", unit="px", minimum=16, maximum=2048)
    layers: tuple[tuple[int, int], ...] = required(
        "cells per side and anchors per cell of each output layer", minimum=1, maximum=1024
    )


@dataclass(frozen=True, slots=True)
class Detectors:
    """The keys of `detectors.yaml`."""

    short: Detector = field(metadata=about("faces nearer than about 2 m"))
    full: Detector = field(metadata=about("faces nearer than about 5 m"))
    licence: str = required("SPDX name or a sentence")
    provenance: str = required("the file that says where everything comes from")


def read(path: Path, kind: type[T], hint: str) -> T:
    """A YAML file as a section of type `kind`.

    Raises:
        EngineError: the file cannot be read, is not YAML, or has a missing, unknown or wrong key;
            the message names file, line and key.
    """
    try:
        return load(path, kind, hint=hint)
    except ConfigError as error:
        raise EngineError(error.what, hint=error.hint or hint) from error


class Folder:
    """The files that a manifest names; an error names the manifest and the key."""

    def __init__(self, manifest: Path) -> None:
        self._manifest = manifest

    def error(self, key: str, what: str, hint: str = "correct the manifest") -> EngineError:
        """A key's value that does not go with the rest."""
        return EngineError(f"{self._manifest}: {key}: {what}", hint=hint)

    def file(self, key: str, name: str, lender: str | None = None) -> Path:
        """The file of that name.

        Args:
            key: that names it.
            name: relative to the folder.
            lender: the packaged engine that may have it instead.

        Raises:
            EngineError: it is outside the engine's folder, or not there.
        """
        try:
            return self._file(key, name, lender)
        except (OSError, ValueError) as error:
            raise self.error(key, f"names {name[:80]!r}, which cannot be used: {error}") from error

    def _file(self, key: str, name: str, lender: str | None) -> Path:
        path = PurePath(name)
        if path.is_absolute() or ".." in path.parts:
            raise self.error(key, f"names {name}, which is outside the engine's folder")
        folder = self._manifest.parent
        found = folder / name
        if not found.resolve().is_relative_to(folder.resolve()):
            raise self.error(
                key, f"names {name}, a link out of the engine's folder", "put the file itself there"
            )
        if not found.is_file() and lender is not None:
            found = self._of_lender(lender, name)
        if not found.is_file():
            raise self.error(
                key, f"names {name!r}, which is not there", "import or build the engine again"
            )
        if found.stat().st_size > MAX_FILE_BYTES:
            raise self.error(key, f"names {name}, which has more than {MAX_FILE_BYTES >> 30} GiB")
        return found

    def _of_lender(self, lender: str, name: str) -> Path:
        folder = Path(__file__).resolve().parent / lender
        if not (folder / MANIFEST).is_file():
            raise self.error("shares", f"no engine of the name {lender!r} ships with StreamPRN")
        return folder / name

    def optional(self, key: str, name: str | None, lender: str | None = None) -> Path | None:
        """The file of that name, or None where none is named."""
        return None if name is None else self.file(key, name, lender)

    def networks(self, named: Networks) -> dict[str, Path]:
        """ONNX file by precision, one at least."""
        names = {one.name: getattr(named, one.name) for one in fields(named)}
        files = {
            key: self.file(f"networks.{key}", name)
            for key, name in names.items()
            if name is not None
        }
        if not files:
            raise self.error("networks", f"names none of: {', '.join(names)}")
        return files
