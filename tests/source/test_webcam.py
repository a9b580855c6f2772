"""Webcams through FFmpeg's own v4l2 input, over a camera that a preloaded library plays."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"
READ = """
import json, sys, threading, time
from streamprn.channel import Channel
from streamprn.config import SourceConfig, resolve
from streamprn.source import SourceReader

channel, states, seen = Channel(1, newest=True, ready=threading.Condition()), [], []
reader = SourceReader(
    SourceConfig(sys.argv[1]),
    resolve(sys.argv[1]),
    channel,
    lambda status: states.append([status.state, status.cause]),
)
reader.start()
deadline = time.monotonic() + 20
while len(seen) < int(sys.argv[2]) and time.monotonic() < deadline:
    frame = channel.take()
    if frame is None:
        time.sleep(0.002)
        continue
    seen.append([frame.image.width, frame.image.height, int(frame.image.rgb[24, 32, 1])])
stopped = reader.stop(1.0)
print(json.dumps({"seen": seen, "states": states, "stopped": stopped}))
"""


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("webcam") / "webcam.so"
    source = SUPPORT / "fake_webcam.c"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


def watch(camera: Path, uri: str, frames: int, unplug_after: int = 0) -> dict:
    environment = {
        **os.environ,
        "LD_PRELOAD": str(camera),
        "FAKE_WEBCAM": "/dev/video9",
        "FAKE_WEBCAM_FRAMES": str(unplug_after),
    }
    done = subprocess.run(
        [sys.executable, "-c", READ, uri, str(frames)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("uri", ["9", "/dev/video9"])
def test_a_webcam_is_read_by_number_and_by_path(camera, uri):
    found = watch(camera, uri, 12)
    assert [state for state, _ in found["states"]] == ["connecting", "live", "ended"]
    assert {(width, height) for width, height, _ in found["seen"]} == {(64, 48)}
    # Grey of luma 16 + 8 n: every picture is brighter by 8 / 219 of the range.
    green = [value for *_, value in found["seen"]]
    steps = [(after - before) / (8 * 255 / 219) for before, after in itertools.pairwise(green)]
    assert all(round(step) >= 1 and abs(step - round(step)) < 0.2 for step in steps)
    assert found["stopped"]


def test_a_webcam_that_is_pulled_out_is_connected_again(camera):
    found = watch(camera, "9", 30, unplug_after=15)
    states = [state for state, _ in found["states"]]
    assert states[:5] == ["connecting", "live", "reconnecting", "connecting", "live"]
    assert "try in 0." in found["states"][2][1]
    assert len(found["seen"]) == 30


def test_a_webcam_that_is_not_there_is_tried_again_and_says_so(camera):
    environment = {**os.environ}
    environment.pop("LD_PRELOAD", None)
    code = READ.replace("deadline = time.monotonic() + 20", "deadline = time.monotonic() + 1")
    done = subprocess.run(
        [sys.executable, "-c", code, "/dev/video99", "1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    states = json.loads(done.stdout)["states"]
    assert states[1][0] == "reconnecting"
    assert "no such webcam (see `streamprn doctor`)" in states[1][1]
