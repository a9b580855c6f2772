"""The program in this process (fast) and as a process of its own (signals, exit)."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from streamprn.cli import main


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that a user error is."""
        lines = [line for line in self.err.splitlines() if line.startswith("streamprn: error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err + self.out
        return lines[0]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty current folder; no colours or settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "NO_COLOR", "STREAMPRN_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def streamprn(capsys):
    def call(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return call


class Process:
    """The program as a child process; its lines are read as they come."""

    def __init__(self, *arguments, **options):
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "streamprn", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | options.pop("env", {}),
            **options,
        )

    def wait_for(self, text):
        """Read standard error until a line holds `text`; returns what was read."""
        said = ""
        for line in self.popen.stderr:
            said += line
            if text in line:
                return said
        raise AssertionError(f"ended with {self.popen.wait()} before saying {text!r}")

    def signal(self, number=signal.SIGINT, limit_s=10):
        """Send a signal; returns exit code, standard error's rest, seconds until the end."""
        began = time.monotonic()
        self.popen.send_signal(number)
        _, err = self.popen.communicate(timeout=limit_s)
        return self.popen.returncode, err, time.monotonic() - began


@pytest.fixture
def start():
    with contextlib.ExitStack() as stack:

        def call(*arguments, **options):
            process = Process(*arguments, **options)
            stack.callback(process.popen.communicate)
            stack.callback(process.popen.kill)
            return process

        yield call
