"""Every setting with its default, bounds and unit: the one place where they are written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from streamprn.config import convert
from streamprn.config.address import stream_names
from streamprn.config.checked import NOT_EMPTY, Checked
from streamprn.config.rules import about, setting
from streamprn.config.service import ClusterConfig, HttpConfig, LogConfig
from streamprn.config.source import SourceConfig
from streamprn.records import FRAME_KINDS, Kind

if TYPE_CHECKING:
    from pathlib import Path

MAX_SOURCES = 256


@dataclass(frozen=True, slots=True)
class EngineConfig(Checked):
    """The network that makes position maps, and what runs it."""

    name: str = setting(
        "facemesh",
        "Engine bundle: a name from `streamprn engine list`, or the path of a bundle's folder",
        pattern=NOT_EMPTY,
    )
    backend: Literal["auto", "openvino", "onnxruntime", "tensorrt"] = setting(
        "auto",
        "Runtime; auto takes the best one that works here and says which",
        choices=("auto", "openvino", "onnxruntime", "tensorrt"),
    )
    precision: Literal["fp32", "fp16", "int8"] | None = setting(
        None,
        "Precision of the network; null leaves it to the engine and the backend",
        choices=("fp32", "fp16", "int8"),
    )
    threads: int = setting(1, "CPU threads of the network", unit="threads", minimum=1, maximum=256)
    max_batch: int = setting(
        8, "Most crops in one call of the network", unit="crops", minimum=1, maximum=64
    )
    device_times: bool = setting(
        False,
        "Let the GPU time its own stages, into each message's spans (TensorRT with PyCUDA)",
    )


@dataclass(frozen=True, slots=True)
class DetectConfig(Checked):
    """Finding new faces. Faces already tracked need no detection."""

    kind: Literal["short", "full"] = setting(
        "short",
        "BlazeFace model: short for faces within about 2 m, full for smaller ones",
        choices=("short", "full"),
    )
    interval_frames: int = setting(
        10,
        "Look for further faces every so many frames while some are tracked",
        unit="frames",
        minimum=1,
        maximum=100_000,
    )
    idle_interval_frames: int = setting(
        1,
        "The same while no face is tracked",
        unit="frames",
        minimum=1,
        maximum=100_000,
    )
    min_score: float = setting(0.5, "Least score of a detection", minimum=0, maximum=1)
    max_faces: int = setting(
        4, "Most faces tracked in one stream", unit="faces", minimum=1, maximum=64
    )
    turned_passes: int = setting(
        5,
        "Every so many passes also search the frame turned by one, two or three quarters, in turn, "
        "for faces that are not upright (four times as rarely while a face is tracked); 0: never",
        unit="passes",
        minimum=0,
        maximum=100_000,
    )
    tiled: bool = setting(
        False, "Also search overlapping tiles, for small faces in large frames (slower)"
    )


@dataclass(frozen=True, slots=True)
class SmoothingConfig(Checked):
    """One Euro filter over the vertices (Casiez et al., CHI 2012). It adds lag."""

    enabled: bool | None = setting(
        None,
        "Smooth the vertices over time; null does so with cameras and network streams, not with "
        "files. Adds up to 1 / (2 pi min_cutoff_hz) seconds of lag, less in motion: at 30 frames/s "
        "and these defaults 106 ms at rest, 6 ms at 100 px/s, 2 ms at 300 px/s",
    )
    min_cutoff_hz: float = setting(
        1.5,
        "Cut-off for a face at rest: lower is smoother and later",
        unit="Hz",
        minimum=0.001,
        maximum=1000,
    )
    beta: float = setting(
        0.2, "How fast the cut-off rises with speed (px/s)", unit="1/px", minimum=0, maximum=1000
    )
    derivative_cutoff_hz: float = setting(
        1.0, "Cut-off for the speed itself", unit="Hz", minimum=0.001, maximum=1000
    )


@dataclass(frozen=True, slots=True)
class TrackConfig(Checked):
    """Following a face from frame to frame through its own mesh."""

    recrop_threshold: float = setting(
        0.15,
        "Run the network again on a better crop when the face moved by this part of the crop's "
        "side",
        minimum=0.01,
        maximum=10,
    )
    min_score: float = setting(
        0.5,
        "Least score of a face, the probability that its mesh lies on it (docs/score.md); below it "
        "a face counts as lost",
        minimum=0,
        maximum=1,
    )
    check_frames: int = setting(
        120,
        "Look four times more at a tracked face every so many frames, and when it is new or in "
        "doubt",
        unit="frames",
        minimum=1,
        maximum=100_000,
    )
    lost_frames: int = setting(
        3, "Forget a face lost for this many frames in a row", unit="frames", minimum=1,
        maximum=10_000,
    )  # fmt: skip
    remember_s: float = setting(
        10.0,
        "A face that returns within so many seconds gets its id again, and faces that pass each "
        "other keep theirs, by their looks; 0: ids follow places alone",
        unit="s",
        minimum=0,
        maximum=600,
    )
    still_change: float = setting(
        0.02,
        "A face is not computed again while no block of 8x8 pixels around it changes by more than "
        "this part of the contrast there, which is noise, nor an empty picture searched; 0: every "
        "frame is",
        minimum=0,
        maximum=1,
    )
    max_overlap: float = setting(
        0.4,
        "Two boxes with a greater intersection over union are one face",
        minimum=0.01,
        maximum=1,
    )
    smoothing: SmoothingConfig = field(
        default_factory=SmoothingConfig, metadata=about("One Euro smoothing over time")
    )


@dataclass(frozen=True, slots=True)
class GeometryConfig(Checked):
    """What is computed from a position map, when somebody subscribes to it."""

    depth: bool = setting(True, "Offer depth images (`<stream>/depth`)")
    blendshapes: bool = setting(
        True,
        "Offer expressions: 52 coefficients of each face in its messages, for who subscribes to "
        "`<stream>/blendshapes`",
    )
    texture_size: int = setting(
        256, "Side of UV textures (`<stream>/texture`)", unit="px", minimum=16, maximum=4096
    )


@dataclass(frozen=True, slots=True)
class PublishConfig(Checked):
    """The ZeroMQ publisher."""

    bind: str = setting(
        "tcp://127.0.0.1:5870",
        "Address to bind; tcp://*:5870 serves the network, port 0 takes any free port",
        pattern=r"(tcp|ipc|inproc)://\S+",
        pattern_doc="tcp://HOST:PORT, ipc://PATH or inproc://NAME",
    )
    send_hwm: int = setting(
        16,
        "Messages kept for one slow subscriber before it misses some; a frame is up to 5 messages",
        unit="messages",
        minimum=1,
        maximum=10_000,
    )
    mesh_format: Literal["float32", "int16"] = setting(
        "float32",
        "Vertices on the wire; int16 halves the bytes (with scale and offset)",
        choices=("float32", "int16"),
    )
    stats_interval_s: float = setting(
        1.0, "Time between messages on `<stream>/stats`", unit="s", minimum=0.1, maximum=3600
    )
    heartbeat_s: float = setting(
        1.0,
        "Time between two messages that repeat each stream's state, and that of the publisher",
        unit="s",
        minimum=0.1,
        maximum=3600,
    )
    curve_secret_file: str | None = setting(
        None,
        "ZeroMQ certificate file with the server's secret key; null sends in the clear",
        pattern=NOT_EMPTY,
    )
    curve_allow_dir: str | None = setting(
        None,
        "Folder of the public keys (.key) of those who may connect, read again when it changes; "
        "null lets everybody connect who knows the server's public key",
        pattern=NOT_EMPTY,
    )
    insecure: bool = setting(
        False, "Publish beyond this machine also without keys, or to everybody who has the key"
    )


@dataclass(frozen=True, slots=True)
class PipelineConfig(Checked):
    """How the stages share the machine."""

    max_batch_wait_ms: float = setting(
        2.0,
        "Longest wait for crops of other streams to fill a batch",
        unit="ms",
        minimum=0,
        maximum=1000,
    )
    queue_frames: int = setting(
        4, "Frames decoded ahead of a file", unit="frames", minimum=1, maximum=1024
    )


@dataclass(frozen=True, slots=True)
class RecordConfig(Checked):
    """Writing results to disk."""

    dir: str | None = setting(
        None,
        "Folder for recordings, in it one folder a stream; null records nothing",
        pattern=NOT_EMPTY,
    )
    kinds: tuple[str, ...] = setting(
        ("face",),
        "What to record: a list; blendshapes and gaze stand in the messages of the others",
        choices=tuple(kind.value for kind in (*FRAME_KINDS, Kind.BLENDSHAPES, Kind.GAZE)),
        max_items=len(FRAME_KINDS) + 2,
    )
    segment_mb: int = setting(
        256, "A file of a recording ends at this size", unit="MiB", minimum=1, maximum=1_000_000
    )
    segment_s: float = setting(600.0, "and at this age", unit="s", minimum=1, maximum=1_000_000)
    keep_mb: int | None = setting(
        None,
        "Size of all files of a stream, beyond which the oldest are deleted; null keeps all",
        unit="MiB",
        minimum=1,
        maximum=1_000_000_000,
    )
    keep_total_mb: int | None = setting(
        None,
        "Size of all files of all streams, also of those that are no more, beyond which the oldest "
        "are deleted; null keeps all",
        unit="MiB",
        minimum=1,
        maximum=1_000_000_000,
    )
    keep_hours: float | None = setting(
        None,
        "Age at which files are deleted, also those of streams that are no more; null keeps all",
        unit="h",
        minimum=0.001,
        maximum=1_000_000,
    )


@dataclass(frozen=True, slots=True)
class Config(Checked):
    """Everything that `streamprn run` can be told. Immutable and always valid."""

    sources: tuple[SourceConfig, ...] = setting(
        (), "Video sources, one stream each; all share one engine", max_items=MAX_SOURCES
    )
    engine: EngineConfig = field(
        default_factory=EngineConfig, metadata=about("The network, and what runs it")
    )
    detect: DetectConfig = field(default_factory=DetectConfig, metadata=about("Finding new faces"))
    track: TrackConfig = field(
        default_factory=TrackConfig, metadata=about("Following faces from frame to frame")
    )
    geometry: GeometryConfig = field(
        default_factory=GeometryConfig,
        metadata=about("What is computed when somebody subscribes to it"),
    )
    publish: PublishConfig = field(
        default_factory=PublishConfig, metadata=about("The ZeroMQ publisher")
    )
    pipeline: PipelineConfig = field(
        default_factory=PipelineConfig, metadata=about("How the stages share the machine")
    )
    record: RecordConfig = field(
        default_factory=RecordConfig, metadata=about("Writing results to disk")
    )
    http: HttpConfig = field(
        default_factory=HttpConfig,
        metadata=about("The control interface: streams, health, metrics and pictures over HTTP"),
    )
    cluster: ClusterConfig = field(
        default_factory=ClusterConfig, metadata=about("`streamprn cluster`: several machines")
    )
    log: LogConfig = field(default_factory=LogConfig, metadata=about("Messages on standard error"))

    @classmethod
    def default(cls) -> Config:
        """Every default, and no source."""
        return cls()

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], *, where: str = "") -> Config:
        """Build from nested mappings and lists, as YAML gives them.

        Args:
            mapping: dotted keys are nested mappings here.
            where: the file or flag to name in an error.

        Raises:
            ConfigError: a key is unknown, or a value has a wrong type or is out of bounds.
        """
        return convert.build(cls, mapping, where)

    def to_mapping(self) -> dict[str, Any]:
        """Nested dicts and lists of plain values; `from_mapping` reads them back."""
        mapping = convert.plain(self)
        assert isinstance(mapping, dict)
        return mapping

    def with_overrides(self, overrides: Mapping[str, Any], *, where: str = "") -> Config:
        """A copy with some settings replaced.

        Args:
            overrides: values by dotted key, such as `{"engine.threads": 2}`. An item of
                `sources` goes by its position or its name: `sources.0.loop`, `sources.door.loop`.
            where: the file or flag to name in an error.

        Raises:
            ConfigError: as for `from_mapping`.
        """
        mapping = self.to_mapping()
        for key, value in overrides.items():
            convert.replace(mapping, key, value, where)
        return convert.build(Config, mapping, where)

    def stream_names(self) -> tuple[str, ...]:
        """The name of each source's stream, in order: given, or made from its uri; unique."""
        return stream_names((source.name, source.uri) for source in self.sources)


def load_config(path: Path) -> Config:
    """Read and check a YAML file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or a key or value is wrong; the message
            names file, line and key.
    """
    from streamprn.config.load import load

    return load(path, Config)
