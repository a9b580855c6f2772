"""Which TensorRT this machine has, for `streamprn doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamprn.engines.cuda.probe import version
from streamprn.engines.tensorrt import api

if TYPE_CHECKING:
    from streamprn.engines.cuda.probe import GpuReport


def look(report: GpuReport) -> None:
    """Note the TensorRT packages that are installed, or that there are none."""
    flavours = api.installed()
    if not flavours:
        report.missing.append("TensorRT: pip install tensorrt, or tensorrt-rtx for consumer cards")
    for flavour in flavours:
        report.facts[flavour] = _version_of(flavour)


def _version_of(flavour: str) -> str:
    for suffix in ("", "-cu13", "-cu12", "-cu13-bindings", "-cu12-bindings"):
        if found := version(flavour + suffix):
            return found
    return "installed, version unknown"
