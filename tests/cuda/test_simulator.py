"""The kernels in Numba's simulator, which is chosen when Numba is imported: hence a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(200)
def test_every_kernel_agrees_with_its_cpu_twin_in_the_simulator():
    environment = {
        **os.environ,
        "NUMBA_ENABLE_CUDASIM": "1",
        # The maths then run as Python, in the simulated kernels and in the CPU twins alike.
        "NUMBA_DISABLE_JIT": "1",
    }
    command = [sys.executable, "-m", "pytest", "tests/cuda/simulator", "-q", "--no-header"]
    # NumPy scalars warn of what compiled arithmetic does silently: NaN - NaN.
    done = subprocess.run(
        [*command, "-W", "ignore::RuntimeWarning", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=190,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert " passed" in done.stdout
