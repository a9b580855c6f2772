"""`--max-pixels`: every command that reads pictures refuses those that are too large."""

from __future__ import annotations

import subprocess
import sys

import av
import cv2
import numpy as np
import pytest

from streamprn.cli import whole_parser
from streamprn.cli.view import _engine_options
from streamprn.limits import MAX_PIXELS
from streamprn.pixels import limit_pixels
from tests.train.model import write_model

REASON = "200x100 px are more than the 19,999 px allowed"
#: What reads pictures that somebody names; A is such a picture, CLIP a film.
COMMANDS = {
    "reconstruct": ["reconstruct", "A", "out"],
    "swap": ["swap", "A", "A", "out.png"],
    "edit": ["edit", "A", "A", "out.png", "--part", "eyes"],
    "draw": ["draw", "CLIP", "out.mp4"],
    "evaluate": ["evaluate", "heads", "--angle-pattern", "yaw(?P<yaw>[0-9]+)"],
    "engine verify": ["engine", "verify", "facemesh", "--against", "openvino", "--images", "A"],
    "run": ["run", "A", "--bind", "tcp://127.0.0.1:*"],
    "bench": ["bench", "A", "--duration", "1"],
}


@pytest.fixture
def folder(tmp_path):
    picture = cv2.imencode(".png", np.zeros((100, 200, 3), np.uint8))[1].tobytes()
    (tmp_path / "a.png").write_bytes(picture)
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, width=200, height=100, pix_fmt="yuv420p")
        container.mux(stream.encode(av.VideoFrame(200, 100)))
        container.mux(stream.encode())
    (tmp_path / "heads").mkdir()
    (tmp_path / "heads" / "yaw20.png").write_bytes(picture)
    return tmp_path


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_command_that_reads_pictures_refuses_a_larger_one(folder, words):
    files = {"A": str(folder / "a.png"), "CLIP": str(folder / "clip.mp4")}
    arguments = [files.get(word, word) for word in words]
    done = subprocess.run(
        [sys.executable, "-m", "streamprn", *arguments, "--max-pixels", "19999"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    said = " ".join((done.stdout + done.stderr).split())
    assert REASON in said
    assert "--max-pixels" in said
    assert "Traceback" not in said
    assert done.returncode != 0


def test_view_gives_the_limit_to_the_engine_that_it_starts(streamprn):
    args = whole_parser().parse_args(["view", "--run", "0", "--max-pixels", "19999"])
    assert _engine_options(args) == ["--max-pixels", "19999"]
    done = streamprn("view", "--max-pixels", "19999")
    assert "--max-pixels is for the engine, and none is started" in done.error
    limit_pixels(MAX_PIXELS)


def test_the_processes_that_label_pictures_keep_to_the_limit(folder, monkeypatch, streamprn):
    pytest.importorskip("scipy", reason="SciPy missing: pip install '.[train]'")
    monkeypatch.chdir(folder)
    monkeypatch.setattr("streamprn.train.label.PART", 1)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    model = write_model(folder / "FaceXModel")
    words = ["train", "label", "a.png", "heads", "--model-dir", str(model), "--output", "out"]
    try:
        done = streamprn(*words, "--processes", "2", "--max-pixels", "19999")
    finally:
        limit_pixels(MAX_PIXELS)
    assert "no face was found in any picture: 2 too many pixels" in done.err
