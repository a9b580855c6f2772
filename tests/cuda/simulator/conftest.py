"""Collected only by `tests/cuda/test_simulator.py`, whose process runs Numba's simulator."""

import os

collect_ignore_glob = ["test_*.py"]
if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
    from tests.cuda.simulator import blocks

    blocks.install()
    collect_ignore_glob = []
