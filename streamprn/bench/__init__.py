"""Latency and throughput of the whole pipeline, measured as a user would meet them."""

from __future__ import annotations

from streamprn.bench.command import run

__all__ = ["run"]
