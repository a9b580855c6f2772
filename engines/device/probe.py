"""What this machine has of the GPU path, for `streamprn doctor`; looks, and never raises."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from streamprn.errors import StreamPRNError

PACKAGES = {
    "cuda-bindings": "pip install 'numba-cuda[cu13]'",
    "pycuda": "pip install 'streamprn[gpu]' (it compiles itself with nvcc)",
    "numba-cuda": "pip install 'numba-cuda[cu13]'",
}
TENSORRT = ("tensorrt", "tensorrt-rtx")
#: Codecs by number (cudaVideoCodec), and 4:2:0 (cudaVideoChromaFormat).
NVDEC = {"mpeg4": 2, "h264": 4, "mjpeg": 5, "hevc": 8, "vp8": 9, "vp9": 10, "av1": 11}
CHROMA_420 = 1
TIMEOUT_S = 10


@dataclass(slots=True)
class GpuReport:
    """Findings by name, and what is missing with the next step."""

    facts: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def gpu_report() -> GpuReport:
    """Driver, device, compute capability, TensorRT, NVDEC codecs, and what is missing."""
    report = GpuReport()
    for look in (_driver, _device, _tensorrt, _packages, _nvdec):
        try:
            look(report)
        except Exception as error:  # noqa: BLE001  a broken library must not hide the others
            report.missing.append(f"{look.__name__[1:]}: {type(error).__name__}: {error}")
    return report


def _driver(report: GpuReport) -> None:
    module = Path("/proc/driver/nvidia/version")
    if module.exists():
        report.facts["driver"] = module.read_text().splitlines()[0].strip()
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return
    query = "--query-gpu=driver_version,name,memory.total"
    done = subprocess.run(
        [tool, query, "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode == 0 and done.stdout.strip():
        report.facts["nvidia-smi"] = done.stdout.strip().splitlines()[0]


def _device(report: GpuReport) -> None:
    from streamprn.engines.tensorrt import driver

    try:
        device = driver.device()
    except StreamPRNError as error:
        report.missing.append(f"a GPU: {error}")
        return
    major, minor = device.capability
    report.facts["device"] = device.name
    report.facts["compute capability"] = f"{major}.{minor}"
    if (major, minor) < (7, 5):
        report.missing.append(f"compute capability 7.5 or later: this GPU has {major}.{minor}")


def _tensorrt(report: GpuReport) -> None:
    from streamprn.engines.tensorrt import api

    flavours = api.installed()
    if not flavours:
        report.missing.append("TensorRT: pip install tensorrt, or tensorrt-rtx for consumer cards")
    for flavour in flavours:
        report.facts[flavour] = _tensorrt_version(flavour)


def _tensorrt_version(flavour: str) -> str:
    for suffix in ("", "-cu13", "-cu12", "-cu13-bindings", "-cu12-bindings"):
        if version := _version(flavour + suffix):
            return version
    return "installed, version unknown"


def _packages(report: GpuReport) -> None:
    for name, hint in PACKAGES.items():
        version = _version(name)
        if version:
            report.facts[name] = version
        else:
            report.missing.append(f"{name}: {hint}")


class _DecodeCaps(ctypes.Structure):
    """CUVIDDECODECAPS of NVIDIA's video codec interface (cuviddec.h)."""

    _fields_ = (
        ("codec", ctypes.c_int),
        ("chroma", ctypes.c_int),
        ("bit_depth_minus_8", ctypes.c_uint),
        ("reserved1", ctypes.c_uint * 3),
        ("supported", ctypes.c_ubyte),
        ("engines", ctypes.c_ubyte),
        ("output_formats", ctypes.c_ushort),
        ("max_width", ctypes.c_uint),
        ("max_height", ctypes.c_uint),
        ("max_macroblocks", ctypes.c_uint),
        ("min_width", ctypes.c_ushort),
        ("min_height", ctypes.c_ushort),
        ("reserved3", ctypes.c_uint * 11),
    )


def _nvdec(report: GpuReport) -> None:
    if "device" not in report.facts:
        report.missing.append("NVDEC: it needs the GPU; sources with hwaccel decode on the CPU")
        return
    from streamprn.engines.tensorrt import driver

    try:
        library = ctypes.CDLL("nvcuvid.dll" if sys.platform == "win32" else "libnvcuvid.so.1")
    except OSError:
        report.missing.append("NVDEC: the driver was installed without its video part")
        return
    driver.driver().make_current()
    found = [name for name, codec in NVDEC.items() if _decodes(library, codec)]
    report.facts["NVDEC"] = " ".join(found) or "no codec"


def _decodes(library: ctypes.CDLL, codec: int) -> bool:
    caps = _DecodeCaps(codec=codec, chroma=CHROMA_420)
    return library.cuvidGetDecoderCaps(ctypes.byref(caps)) == 0 and bool(caps.supported)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
