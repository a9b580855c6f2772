"""The examples run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.clips import ClipStore

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def test_the_tracker_example_follows_the_face_of_a_clip(tmp_path):
    clip = ClipStore(tmp_path).still()
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "tracker.py"), clip.uri],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 30
    assert all(line.startswith("face 1: yaw ") for line in lines)
