"""The host's share of the device chain, without a GPU: staging, Python, PyCUDA's calls.

    make test-pycuda                            # compiles PyCUDA
    python benchmarks/chain_host_share.py

Runs the chain on PyCUDA itself over the driver of `tests/cuda/host_driver.c`, whose copies are the
host's. Kernels and network are left out; CUDA graphs are replayed as on a GPU.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
BATCHES = 1000


def main():
    if len(sys.argv) > 1:
        return measure()
    sys.path.insert(0, str(ROOT))
    from tests.cuda import stub_driver

    with tempfile.TemporaryDirectory() as folder:
        stub_driver.build_host(Path(folder), stub_driver.include_folder())
        environment = {**os.environ, "LD_LIBRARY_PATH": folder}
        return subprocess.run(
            [sys.executable, __file__, "child"], env=environment, check=False
        ).returncode


def measure():
    from streamprn.engines import registry
    from streamprn.engines.cuda.gpu import Gpu
    from streamprn.engines.device.chain import DeviceChain
    from streamprn.engines.device.spec import ChainSpec
    from streamprn.records import FrameImage, Roi, YuvPlanes

    class WithoutKernels(Gpu):
        def launch(self, kernel, grid, stream, *arguments):
            pass

    class NoNetwork:
        def __init__(self):
            self.inputs = {"input": (-1, 192, 192, 3)}
            self.outputs = {"points": (-1, 468, 3), "logit": (-1,)}

        def enqueue(self, arrays, batch, stream):
            pass

    spec = ChainSpec.of_bundle(registry.find("facemesh"), 8)
    chain = DeviceChain(WithoutKernels(), spec, NoNetwork)
    shapes = ((1080, 1920), (540, 960), (540, 960))
    planes = YuvPlanes(*(np.zeros(shape, np.uint8) for shape in shapes))
    image = FrameImage(1920, 1080, lambda: None, planes)
    for faces in (1, 4, 8):
        views = [(0, Roi(300 + 150 * index, 500, 400)) for index in range(faces)]
        took = []
        for _ in range(BATCHES):
            began = time.perf_counter()
            chain.process([image], views)
            took.append(1e3 * (time.perf_counter() - began))
        cuts = statistics.quantiles(took[100:], n=100)
        print(
            f"{faces} faces of one 1920 x 1080 frame: p50 {cuts[49]:.3f} ms, p90 {cuts[89]:.3f} ms"
        )
    chain.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
