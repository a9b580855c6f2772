"""What measures is kept up with what it measures."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_finds_what_it_uses(name):
    if name == "jitter_mediapipe":
        pytest.importorskip("mediapipe", reason="a peer's package: make peers")
    assert import_module(f"benchmarks.{name}").__doc__


@pytest.mark.parametrize("name", ["apps", "scale", "publish"])
def test_the_commands_of_benchmarks_start(name):
    text = (ROOT / "benchmarks" / f"{name}.py").read_text()
    as_module = re.search(rf"python -m benchmarks\.{name}", text)
    words = ["-m", f"benchmarks.{name}"] if as_module else [f"benchmarks/{name}.py"]
    command = [sys.executable, *words, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
