"""Opening and running engines sends nothing, starts nothing and leaves nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, os, sys, threading

QUIET = ("socket.", "urllib.", "http.", "subprocess.", "os.exec", "os.posix_spawn")
events = []

def hook(event, arguments):
    if event.startswith(QUIET):
        events.append([event, repr(arguments)[:200]])

sys.addaudithook(hook)
import numpy as np
from streamprn.engines.engine import open_engine

engine = open_engine("facemesh", backend=sys.argv[1], max_batch=1)
engine.infer(np.zeros((1, 192, 192, 3), np.float32))
sockets = []
for number in os.listdir("/proc/self/fd") if sys.platform == "linux" else ():
    try:
        target = os.readlink("/proc/self/fd/" + number)
    except OSError:
        continue
    if target.startswith("socket:"):
        sockets.append(target)
names = [thread.name for thread in threading.enumerate()]
loaded = [name for name, module in sys.modules.items() if module and "_telemetry" in name]
print(json.dumps({"events": events, "threads": names, "sockets": sockets, "telemetry": loaded}))
"""


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_an_engine_opens_no_socket_and_writes_no_file_at_home(backend, tmp_path):
    home = tmp_path / "home"
    work = tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()
    # The kernels' cache lies beside their source or where this says; it is not what is looked at.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    environment |= {
        "HOME": str(home),
        "STREAMPRN_HOME": str(home / "streamprn"),
        "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", str(tmp_path / "numba")),
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, backend],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["threads"] == ["MainThread"]
    assert report["events"] == []
    assert report["sockets"] == []
    assert report["telemetry"] == []
    assert [
        path for path in tmp_path.rglob("*") if path.is_file() and "numba" not in path.parts
    ] == []
