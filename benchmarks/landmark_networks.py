"""One face through the networks of `facemesh` and `facemesh2`, taking turns in one run.

    python benchmarks/landmark_networks.py [--threads 1] [--rounds 100] [--backend onnxruntime]
    python benchmarks/landmark_networks.py --prelu     # each with and without `runtimes.prelu`

Only the network is timed, not the crop and what follows it. The engines take turns, in another
order every round, so that a busy machine slows both; what counts is the ratio of the fastest runs.
The work of each, in multiply-accumulates, stands beside it.
"""

from __future__ import annotations

import argparse
import platform
import random
import time
from dataclasses import replace
from unittest.mock import patch

import numpy as np

from streamprn.engines import registry
from streamprn.engines.engine import open_runtime
from streamprn.engines.inspection import inspect_network
from streamprn.engines.runtimes import prelu
from streamprn.engines.runtimes.spec import NetworkSpec
from streamprn.engines.verify import invented_pictures

ENGINES = ("facemesh", "facemesh2")
# After a name: with every PReLU as it stands in the file, fused into its convolution.
FUSED = " fused"
BATCHES = (1, 4)
# Runs in a row in each turn; the first of them finds the other network's data in the cache.
RUNS = 5


class Contestant:
    """One network with one batch size."""

    def __init__(self, name: str, batch: int, backend: str, threads: int) -> None:
        name, fused, _ = name.partition(FUSED)
        bundle = registry.find(name)
        spec = NetworkSpec.of_bundle(bundle, max_batch=batch, threads=threads)
        # Otherwise OpenVINO runs the crops of a batch one by one where the manifest says so.
        spec = replace(spec, batched=True)
        with patch.object(prelu, "pays", (lambda: False) if fused else prelu.pays):
            self.runtime, _ = open_runtime(spec, backend)
        self.crops = invented_pictures(batch, bundle.crop.size)
        self.macs = inspect_network(bundle.networks["fp32"], bundle.crop.size).macs
        for _ in range(5):
            self.milliseconds()

    def milliseconds(self) -> float:
        """Of one crop."""
        start = time.perf_counter()
        self.runtime.run(self.crops)
        return 1e3 * (time.perf_counter() - start) / len(self.crops)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--backend", default="openvino", choices=("openvino", "onnxruntime"))
    parser.add_argument("--prelu", action="store_true", help="each also with its PReLU fused")
    args = parser.parse_args()
    names = [f"{name}{end}" for name in ENGINES for end in ((FUSED, "") if args.prelu else ("",))]
    contestants = {
        (name, batch): Contestant(name, batch, args.backend, args.threads)
        for name in names
        for batch in BATCHES
    }
    times: dict[tuple[str, int], list[float]] = {key: [] for key in contestants}
    order = list(contestants)
    shuffle = random.Random(0).shuffle
    for _ in range(args.rounds):
        shuffle(order)
        for key in order:
            times[key] += [contestants[key].milliseconds() for _ in range(RUNS)]
    report(contestants, times)


def report(
    contestants: dict[tuple[str, int], Contestant], times: dict[tuple[str, int], list[float]]
) -> None:
    any_runtime = next(iter(contestants.values())).runtime
    print(f"{platform.machine()}, {any_runtime.description}")
    print(f"{'':15} {'batch':>5} {'min':>7} {'median':>7} {'p90':>7} ms a crop {'MMAC':>6}  ratio")
    for (name, batch), spans in times.items():
        low, middle, high = np.percentile(spans, [0, 50, 90])
        ratio = low / min(times[ENGINES[0], batch])
        macs = contestants[name, batch].macs / 1e6
        print(
            f"{name:15} {batch:5} {low:7.2f} {middle:7.2f} {high:7.2f} {macs:16.1f}  {ratio:5.2f}"
        )


if __name__ == "__main__":
    main()
