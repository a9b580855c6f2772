"""What holds for every test."""

import os
from pathlib import Path

# Compiled kernels stay in the checkout: tests give the programs that they start homes of their own,
# in which each would compile for half a minute.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / ".numba_cache"))
