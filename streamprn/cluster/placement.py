"""Which worker has which stream: by measured cost, and kept where it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping

__all__ = ["better", "loads", "measured", "place"]

#: Cores that a stream takes before anything was measured of any.
UNKNOWN_COST = 0.1
#: Streams stay where they are until the highest load is above the mean by this part of it.
TOLERANCE = 0.25
#: By how much of it a move must lower the highest load: what is measured is never quite the same.
GAIN = 0.15
#: How much a new measurement counts against those before.
WEIGHT = 0.3


def loads(
    where: Mapping[str, str], costs: Mapping[str, float], workers: Collection[str]
) -> dict[str, float]:
    """Cores that the streams of each worker take.

    Args:
        where: the worker of each stream.
        costs: cores that a stream takes, where it was measured; else the mean of the others.
        workers: those that live.
    """
    found = dict.fromkeys(workers, 0.0)
    usual = sum(costs.values()) / len(costs) if costs else UNKNOWN_COST
    for stream, worker in where.items():
        if worker in found:
            found[worker] += costs.get(stream, usual)
    return found


def place(
    where: Mapping[str, str], costs: Mapping[str, float], workers: Collection[str]
) -> str | None:
    """The worker for one more stream: that with the least to do; None where there is none."""
    found = loads(where, costs, workers)
    counts = {worker: list(where.values()).count(worker) for worker in workers}
    return min(found, key=lambda worker: (found[worker], counts[worker], worker), default=None)


def better(
    where: Mapping[str, str], costs: Mapping[str, float], workers: Collection[str]
) -> tuple[str, str] | None:
    """One move that is worth its gap: the stream and its new worker; None where there is none."""
    found = loads(where, costs, workers)
    if len(found) < 2:
        return None
    high, low = max(found, key=found.__getitem__), min(found, key=found.__getitem__)
    usual = sum(costs.values()) / len(costs) if costs else UNKNOWN_COST
    mean = sum(found.values()) / len(found)
    if found[high] <= mean * (1 + TOLERANCE):
        return None
    best, best_load = None, found[high] * (1 - GAIN)
    for stream, worker in where.items():
        cost = costs.get(stream, usual)
        then = max(found[high] - cost, found[low] + cost)
        if worker == high and then < best_load:
            best, best_load = (stream, low), then
    return best


def measured(before: float | None, cores: float) -> float:
    """What a stream costs after one more measurement, in cores."""
    return cores if before is None else before + WEIGHT * (cores - before)
