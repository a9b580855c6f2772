"""One crop through the PRN network: OpenVINO, ONNX Runtime and TensorFlow, in one run.

    python benchmarks/runtimes.py [--threads 2] [--rounds 40] [--int8]

The runtimes take turns, in another order every round, so that a busy machine slows all of them
alike; TensorFlow, in a process of its own, is asked for one crop at a time. Weights are random:
times do not depend on them. `--int8` adds a network that ONNX Runtime quantised (static, QDQ, per
channel, calibrated on invented pictures) and its difference from fp32; with random weights that
difference says nothing about the official ones.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from streamprn.engines.resfcn256 import architecture, graph, importer
from streamprn.engines.runtimes import onnxruntime as onnxruntime_backend
from streamprn.engines.runtimes import openvino as openvino_backend
from streamprn.engines.runtimes.spec import NetworkSpec
from streamprn.engines.verify import invented_pictures

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "tests" / "reference" / "prnet_tensorflow.py"


class TensorFlow:
    """The network in a TensorFlow process that answers one request after the other."""

    def __init__(self, folder: Path, threads: int) -> None:
        command = [sys.executable, PROGRAM, folder, "--serve", "--threads", str(threads)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.description = self._read()["version"]

    def _read(self) -> dict:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("TensorFlow ended early")
        return json.loads(line)

    def milliseconds(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self._read()["ms"]

    def close(self) -> None:
        self.process.communicate(timeout=60)


class Local:
    """One of our runtimes."""

    def __init__(self, runtime, crop: np.ndarray) -> None:
        self.runtime, self.crop = runtime, crop
        self.description = runtime.description
        self.milliseconds()

    def milliseconds(self) -> float:
        start = time.perf_counter()
        self.runtime.run(self.crop)
        return 1e3 * (time.perf_counter() - start)

    def close(self) -> None:
        self.runtime.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--int8", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run(Path(scratch), args)


def run(folder: Path, args: argparse.Namespace) -> None:
    contestants: dict[str, TensorFlow | Local] = {}
    if find_spec("tensorflow"):
        contestants["TensorFlow"] = TensorFlow(folder, args.threads)
        arrays = importer.read_variables(folder / "256_256_resfcn256_weight")
    else:
        sys.path.insert(0, str(ROOT))
        from tests.support.resfcn import random_variables

        arrays = random_variables()
    files = write_networks(folder, arrays, args.int8)
    crops = invented_pictures(8, architecture.SIZE)
    for name, backend in (("OpenVINO", openvino_backend), ("ONNX Runtime", onnxruntime_backend)):
        for kind, path in files.items():
            spec = NetworkSpec("prn", {"fp32": path}, 256, threads=args.threads, batched=False)
            contestants[f"{name} {kind}"] = Local(backend.open_runtime(spec), crops[:1])
    times = race(contestants, args.rounds)
    report(contestants, times, args.threads)
    if args.int8:
        differ(contestants, crops)
    for contestant in contestants.values():
        contestant.close()


def write_networks(folder: Path, arrays, int8: bool) -> dict[str, Path]:
    files = {}
    for precision in graph.PRECISIONS:
        files[precision] = folder / f"{precision}.onnx"
        files[precision].write_bytes(graph.build(arrays, precision).SerializeToString())
    if int8:
        files["int8"] = quantise(files["fp32"], folder / "int8.onnx")
    return files


def quantise(source: Path, target: Path) -> Path:
    """Static quantisation; the last three layers, 3 channels of coordinates, stay as they are."""
    from onnxruntime import quantization

    class Calibration(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.crops = iter(invented_pictures(16, architecture.SIZE, seed=1))

        def get_next(self):
            crop = next(self.crops, None)
            return None if crop is None else {graph.INPUT: crop[None]}

    import onnx

    weights = {f"{conv.name}/weights" for conv in architecture.DECODER[-3:]}
    nodes = onnx.load(source).graph.node
    kept = [node.name for node in nodes if weights.intersection(node.input)]
    quantization.quantize_static(
        source,
        target,
        Calibration(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        op_types_to_quantize=["Conv", "ConvTranspose"],
        nodes_to_exclude=kept,
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
    )
    return target


def race(contestants: dict, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants)
    shuffle = random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            times[name].append(contestants[name].milliseconds())
    return times


def report(contestants: dict, times: dict[str, list[float]], threads: int) -> None:
    print(f"{platform.machine()}, {threads} threads, {len(next(iter(times.values())))} rounds")
    print(f"{'':18} {'min':>8} {'median':>8} {'p90':>8}   ms a crop")
    for name, spans in sorted(times.items(), key=lambda item: np.median(item[1])):
        low, middle, high = np.percentile(spans, [0, 50, 90])
        print(f"{name:18} {low:8.1f} {middle:8.1f} {high:8.1f}   {contestants[name].description}")


def differ(contestants: dict, crops: np.ndarray) -> None:
    exact, rough = (contestants[f"OpenVINO {kind}"].runtime for kind in ("fp32", "int8"))
    gaps = []
    for crop in crops[:, None]:
        first = next(iter(exact.run(crop).values())).copy()
        second = next(iter(rough.run(crop).values()))
        gaps.append(architecture.OUTPUT_SCALE * np.abs(first - second))
    print(
        f"int8 against fp32: mean {np.mean(gaps):.2f} px, p99 {np.percentile(gaps, 99):.2f} px, "
        f"largest {np.max(gaps):.2f} px (random weights)"
    )


if __name__ == "__main__":
    main()
