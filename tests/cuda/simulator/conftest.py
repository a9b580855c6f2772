"""Collected only by `tests/cuda/test_simulator.py`, whose process runs Numba's simulator."""

import os

collect_ignore_glob = [] if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" else ["test_*.py"]
