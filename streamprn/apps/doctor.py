"""What this machine has, and what `streamprn run` would use on it.

Each probe looks at one thing and returns a `Report`. A probe loads a library only after it found
it installed, and what goes wrong in one probe is that probe's finding, not the program's end.
"""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from streamprn.errors import StreamPRNError

GIB = 1 << 30
#: Instruction sets that the CPU runtimes make use of.
CPU_FLAGS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni",
             "avx512_bf16", "amx_tile", "asimd", "asimddp", "sve")  # fmt: skip
DECODERS = ("h264", "hevc", "av1", "vp9", "mjpeg", "mpeg4")
HARDWARE_SUFFIXES = ("cuvid", "qsv", "v4l2m2m", "videotoolbox")


@dataclass(slots=True)
class Report:
    """What one probe found.

    Attributes:
        title: what was looked at.
        facts: findings by name.
        problems: what keeps something from working, with the next step.
    """

    title: str
    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


Probe = Callable[[], Report]


def examine(probes: Iterable[Probe] | None = None) -> list[Report]:
    """Run the probes, `PROBES` by default, in order."""
    return [_guarded(probe) for probe in (PROBES if probes is None else probes)]


def _guarded(probe: Probe) -> Report:
    try:
        return probe()
    except Exception as error:  # noqa: BLE001  a broken library must not hide the other findings
        title = probe.__name__.removeprefix("probe_").replace("_", " ")
        return Report(title, problems=[f"{type(error).__name__}: {error}"])


# --- the probes ---------------------------------------------------------------------------------


def probe_system() -> Report:
    """Operating system, Python, processor, memory."""
    import psutil

    from streamprn import __version__

    memory = psutil.virtual_memory()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model, flags = _processor()
    return Report(
        "system",
        {
            "streamprn": __version__,
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "processor": model,
            "cores": f"{usable} usable of {psutil.cpu_count()} logical, "
            f"{psutil.cpu_count(logical=False) or '?'} physical",
            "instructions": " ".join(flag for flag in CPU_FLAGS if flag in flags) or "unknown",
            "memory": f"{memory.total / GIB:.1f} GiB, {memory.available / GIB:.1f} available",
        },
    )


def probe_packages() -> Report:
    """The versions of what StreamPRN depends on, read from their metadata."""
    report = Report("packages")
    for name, extra in _requirements():
        version = _version(name)
        if version:
            report.facts[name] = version
        elif not extra:
            report.problems.append(f"{name} is missing: pip install {name}")
    return report


def probe_video() -> Report:
    """What PyAV decodes, and with which hardware."""
    import av
    from av.codec.hwaccel import hwdevices_available

    codecs = av.codec.codecs_available
    report = Report("video", {"PyAV": av.__version__, "FFmpeg": av.ffmpeg_version_info})
    report.facts["decoders"] = " ".join(name for name in DECODERS if name in codecs)
    report.facts["hardware decoders built in"] = (
        " ".join(sorted(name for name in codecs if _is_hardware_decoder(name))) or "none"
    )
    report.facts["hardware devices built in"] = " ".join(hwdevices_available()) or "none"
    missing = [name for name in DECODERS if name not in codecs]
    if missing:
        report.problems.append(f"this build of PyAV does not decode {', '.join(missing)}")
    return report


def probe_cameras() -> Report:
    """Video devices, and whether this user may read them."""
    report = Report("cameras")
    for device in sorted(Path("/dev").glob("video*")):
        report.facts[str(device)] = _camera_name(device)
        if not os.access(device, os.R_OK):
            report.problems.append(f"{device} cannot be read: add this user to its group (video)")
    if not report.facts:
        report.facts["/dev/video*"] = "none"
    return report


def probe_openvino() -> Report:
    """OpenVINO's devices."""
    if importlib.util.find_spec("openvino") is None:
        return Report("OpenVINO", {"version": "not installed"})
    from streamprn.engines.runtimes.openvino import devices

    return Report("OpenVINO", {"version": _version("openvino"), **devices()})


def probe_onnxruntime() -> Report:
    """ONNX Runtime and its execution providers."""
    if importlib.util.find_spec("onnxruntime") is None:
        return Report("ONNX Runtime", {"version": "not installed (extra: onnxruntime)"})
    from streamprn.engines.runtimes.onnxruntime import import_quietly

    onnxruntime = import_quietly()
    providers = " ".join(onnxruntime.get_available_providers())
    return Report(
        "ONNX Runtime", {"version": onnxruntime.__version__, "execution providers": providers}
    )


def probe_service() -> Report:
    """What `run --http` needs."""
    names = ("starlette", "uvicorn", "prometheus-client")
    missing = [name for name in names if importlib.util.find_spec(name.replace("-", "_")) is None]
    if missing:
        return Report("HTTP service", {"version": "not installed (extra: serve)"})
    return Report("HTTP service", {name: _version(name) for name in names})


def probe_gpu() -> Report:
    """NVIDIA's driver and device, TensorRT, NVDEC, and what the GPU path lacks.

    What is lacking is no problem: a CPU runtime takes over.
    """
    from streamprn.engines.cuda.probe import gpu_report
    from streamprn.engines.tensorrt import probe as tensorrt

    found = gpu_report(tensorrt.look)
    report = Report("NVIDIA GPU", dict(found.facts))
    if found.missing:
        report.facts["missing"] = "; ".join(found.missing)
    return report


def probe_engines() -> Report:
    """Where engines are looked for, and which are sound."""
    from streamprn import paths
    from streamprn.engines import registry
    from streamprn.engines.bundle import Bundle

    report = Report("engines", {"STREAMPRN_HOME": str(paths.home())})
    for name, folder in registry.available().items():
        try:
            bundle = Bundle.load(folder)
            report.facts[name] = f"{bundle.topology().vertex_count:,} vertices, {folder}"
        except StreamPRNError as error:
            report.problems.append(str(error))
    return report


def probe_run() -> Report:
    """What `streamprn run` would use, found out by opening it."""
    from streamprn.config import Config, load_config
    from streamprn.engines.failover import open_predictor

    path = Path("config.yaml")
    config = load_config(path) if path.is_file() else Config.default()
    report = Report("`streamprn run` here")
    report.facts["configuration"] = str(path.resolve()) if path.is_file() else "the defaults"
    predictor = open_predictor(config.with_overrides({"engine.max_batch": 1}).engine)
    report.facts["engine"] = predictor.topology.name
    report.facts["backend"] = predictor.backend
    report.facts["publishes on"] = config.publish.bind
    predictor.close()
    return report


PROBES: tuple[Probe, ...] = (
    probe_system,
    probe_packages,
    probe_video,
    probe_cameras,
    probe_openvino,
    probe_onnxruntime,
    probe_service,
    probe_gpu,
    probe_engines,
    probe_run,
)


# --- small things -------------------------------------------------------------------------------


def _processor() -> tuple[str, frozenset[str]]:
    """Model and instruction sets, as far as the system tells."""
    model, flags = platform.processor() or platform.machine(), frozenset[str]()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return model, flags
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = frozenset(value.split())
    return model, flags


def _requirements() -> list[tuple[str, bool]]:
    """The names of the declared dependencies, and whether only an extra asks for them."""
    try:
        declared = metadata.requires("streamprn") or []
    except metadata.PackageNotFoundError:
        return []
    names: dict[str, bool] = {}
    for line in declared:
        if any(f'extra == "{extra}"' in line for extra in ("test", "dev")):
            continue
        name = line.split(";")[0].strip()
        for mark in "[<>=!~ ":
            name = name.split(mark)[0]
        extra = "extra ==" in line
        names[name] = names.get(name, True) and extra
    names.pop("streamprn", None)
    return list(names.items())


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _is_hardware_decoder(name: str) -> bool:
    codec, _, suffix = name.rpartition("_")
    return suffix in HARDWARE_SUFFIXES and codec in DECODERS


def _camera_name(device: Path) -> str:
    try:
        return (Path("/sys/class/video4linux") / device.name / "name").read_text().strip()
    except OSError:
        return "unnamed"
