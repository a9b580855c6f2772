"""What this machine has of the GPU path, for `streamprn doctor`; looks, and never raises."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from streamprn.errors import StreamPRNError

PACKAGES = {
    "cuda-bindings": "pip install 'numba-cuda[cu13]'",
    "pycuda": "pip install 'streamprn[gpu]' (it compiles itself with nvcc)",
    "numba-cuda": "pip install 'numba-cuda[cu13]'",
}
#: Codecs by number (cudaVideoCodec), and 4:2:0 (cudaVideoChromaFormat).
NVDEC = {"mpeg4": 2, "h264": 4, "mjpeg": 5, "hevc": 8, "vp8": 9, "vp9": 10, "av1": 11}
CHROMA_420 = 1
TIMEOUT_S = 10


@dataclass(slots=True)
class GpuReport:
    """Findings by name, and what is missing with the next step."""

    facts: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def gpu_report(*further: Callable[[GpuReport], None]) -> GpuReport:
    """Driver, device, compute capability, NVDEC codecs, and what is missing.

    Args:
        *further: add to the report what they know of.
    """
    report = GpuReport()
    for look in (_driver, _device, *further, _packages, _nvdec):
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
    from streamprn.engines.cuda import driver

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


def _packages(report: GpuReport) -> None:
    for name, hint in PACKAGES.items():
        found = version(name)
        if found:
            report.facts[name] = found
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
    from streamprn.engines.cuda import driver

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


def version(name: str) -> str:
    """The version of an installed package, or an empty string."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
