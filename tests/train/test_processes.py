"""Processes that label and make samples calculate with one thread each."""

import os
import subprocess
import sys

import pytest

from streamprn.train.processes import one_blas_thread

NAMES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
THREADS = """
import os, numpy
numpy.linalg.solve(numpy.eye(600), numpy.eye(600))
print(len(os.listdir("/proc/self/task")))
"""


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_a_process_that_starts_inside_has_no_threads_of_blas():
    with one_blas_thread():
        done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, check=True)
    assert int(done.stdout) == 1
    assert not any(name in os.environ for name in NAMES)


def test_what_the_user_says_stays(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    with one_blas_thread():
        assert [os.environ[name] for name in NAMES] == ["3", "1", "1"]
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
