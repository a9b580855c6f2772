"""A process that opened and closed engines still takes signals."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc, os, signal, sys
import numpy as np
from streamprn.engines.engine import open_engine

def opened():
    engine = open_engine("facemesh", backend="openvino", max_batch=1)
    engine.infer(np.zeros((1, 192, 192, 3), np.float32))
    return engine

engines = [opened(), opened()]
for at in [int(digit) for digit in sys.argv[1]]:
    engines[at].close()
    engines[at] = None
    gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: print("heard", flush=True))
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="alternate signal stacks as Linux has them")
@pytest.mark.parametrize("order", ["01", "10"])
def test_a_signal_is_heard_after_engines_have_gone_in_any_order(order):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, order],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "heard\n", "")
