"""`python -m benchmarks.rig.failing FILE ARGUMENT...`: `streamprn`, with an engine that breaks.

Its network fails as OpenVINO does from the moment that FILE exists.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamprn.cli import main
from streamprn.engines.runtimes.openvino import OpenVinoRuntime
from streamprn.errors import BackendError

_switch = Path(sys.argv[1])
_infer = OpenVinoRuntime._infer


def _fail(self: OpenVinoRuntime, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    if _switch.exists():
        raise BackendError("OpenVINO failed: infer request was broken on purpose")
    return _infer(self, batch)


if __name__ == "__main__":
    OpenVinoRuntime._infer = _fail  # type: ignore[method-assign]
    sys.exit(main(sys.argv[2:]))
