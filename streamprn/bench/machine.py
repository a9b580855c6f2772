"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version

import psutil

PACKAGES = ("streamprn", "openvino", "onnxruntime", "numba", "numpy", "av", "pyzmq")


def describe() -> dict[str, str]:
    """Date, processor, cores, memory, load, Python and the versions that matter, as text."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": str(_cores()),
        "memory": f"{psutil.virtual_memory().total / (1 << 30):.0f} GiB",
        "load before": f"{psutil.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
    }


def in_words() -> str:
    """Date, processor and cores, in a line: the head of figures."""
    facts = describe()
    return f"{facts['date']}, {facts['processor']}, {facts['cores']} cores"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
