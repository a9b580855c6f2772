"""What is compiled in a process beside is what the program then uses."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time

import pytest

from streamprn.kernels import prepare

#: Uses everything as the pipeline does, then prints the names of the loops that it had to compile.
USE = """
import gc
from numba.core.dispatcher import Dispatcher
from streamprn.config import Config
from streamprn.live.pipeline import Pipeline
from streamprn.records import Kind

class Sink:
    wanted = frozenset(Kind)
    def take(self, result, published_ns): pass
    def close(self): pass

def run(uri, **settings):
    mapping = {"sources": [{"uri": uri, "realtime": False}]}
    mapping |= {"publish": {"bind": "tcp://127.0.0.1:*"}}
    config = Config.from_mapping(mapping).with_overrides(settings)
    with Pipeline(config, sinks=[Sink()]) as pipeline:
        assert not pipeline._beside.running
        pipeline.run(max_frames=5)

run("lavfi:testsrc2=size=640x480:rate=30", **{"sources.0.boxes": [[200, 100, 400, 300]],
    "track.min_score": 0})
run("lavfi:testsrc2=size=1280x720:rate=30", **{"sources.0.boxes": [[200, 100, 400, 300]],
    "track.min_score": 0, "track.smoothing.enabled": True, "publish.mesh_format": "int16"})
loops = [one for one in gc.get_objects() if isinstance(one, Dispatcher)]
print(sorted({one.py_func.__name__ for one in loops if sum(one.stats.cache_misses.values())}))
"""

#: Of the engine `facemesh` alone; together they take a second.
OF_ENGINE = {"_combine", "_some", "_place", "_restore_control"}


@pytest.mark.timeout(240)
def test_the_program_compiles_nothing_that_was_prepared(tmp_path):
    environment = {**os.environ, "STREAMPRN_HOME": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-m", "streamprn.kernels.prepare"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines() == list(prepare.STEPS)
    used = subprocess.run(
        [sys.executable, "-c", USE],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert used.returncode == 0, used.stderr
    compiled = set(eval(used.stdout.splitlines()[-1]))
    assert compiled <= OF_ENGINE


def test_a_preparation_is_waited_for_and_ends_with_its_block(monkeypatch):
    monkeypatch.setattr(prepare, "is_cached", lambda step: False)
    with prepare.Preparation(["pose", "depth"]) as beside:
        assert beside.running
        beside.wait("pose")
        process = beside._process
    assert process.poll() is not None
    # A step that nobody compiles is not waited for once the process is gone.
    began = time.monotonic()
    beside.wait("texture")
    assert time.monotonic() - began < 5


def test_nothing_is_started_where_all_is_cached():
    for step in prepare._LOOPS:
        prepare.STEPS[step]()
        assert prepare.is_cached(step)
    with prepare.Preparation(list(prepare.STEPS)) as beside:
        assert not beside.running
        beside.wait("pose")


def test_a_program_that_cannot_be_started_is_done_without(monkeypatch):
    monkeypatch.setattr(prepare, "is_cached", lambda step: False)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with prepare.Preparation(["pose"]) as beside:
        assert not beside.running
        beside.wait("pose")


def test_collection_goes_on_after_it_was_paused():
    assert gc.isenabled()
    with prepare.paused_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
