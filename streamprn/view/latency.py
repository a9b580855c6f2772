"""Latency by stage, as series of a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamprn.records import Float64, Stamps

__all__ = ["COLOURS", "STAGES", "latency_series"]

STAGES = ("decode", "detect and track", "network", "geometry", "transit")
COLOURS = ("#4dabf7", "#ffd43b", "#ff8787", "#69db7c", "#b197fc")


def latency_series(trail: Sequence[tuple[Stamps, int]]) -> tuple[Float64, ...]:
    """Seconds before the newest frame, and for each of `STAGES` milliseconds, one on the other.

    Args:
        trail: stamps of frames, and when they were received, or 0 where that is not known.

    Returns:
        One `(n,)` float64 for the time and one for each stage: the sum up to its end, so that the
        last one is the whole latency. At least two places, 0 where nothing is known.
    """
    if len(trail) < 2:
        empty = np.zeros(2, np.float64)
        return (np.array([-1.0, 0.0]), *[empty] * len(STAGES))
    rows = [
        (one.captured, one.decoded, one.tracked, one.inferred, one.published, received)
        for one, received in trail
    ]
    ns = np.array(rows, np.int64)
    ns[:, 5] = np.where(ns[:, 5] > 0, ns[:, 5], ns[:, 4])
    sums = np.maximum(ns[:, 1:] - ns[:, :1], 0) / 1e6
    times = (ns[:, 0] - ns[-1, 0]) / 1e9
    return (times, *[np.ascontiguousarray(sums[:, stage]) for stage in range(len(STAGES))])
