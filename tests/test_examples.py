"""The examples run as they stand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from skimage import data

from streamprn import Config, Pipeline
from streamprn.wire.bind import CurveKeys
from tests.support.clips import ClipStore
from tests.support.feeds import free_port

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def _run(*command: object, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _python(name: str, *arguments: object) -> str:
    return _run(sys.executable, EXAMPLES / name, *arguments)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return ClipStore(tmp_path_factory.mktemp("clips")).still().uri


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for name in ("door", "alice"):
        CurveKeys.create(folder, name)
    (folder / "clients").mkdir()
    (folder / "alice.key").rename(folder / "clients" / "alice.key")
    return folder


def _published(clip, **publish):
    """The endpoint of a pipeline in which two streams show the clip, until the caller is done."""
    sources = [{"uri": clip, "name": name, "loop": True, "max_fps": 10} for name in ("a", "b")]
    publish = {"bind": "tcp://127.0.0.1:*", **publish}
    stop = threading.Event()
    with Pipeline(Config.from_mapping({"sources": sources, "publish": publish})) as pipeline:
        runner = threading.Thread(target=pipeline.run, args=(stop,))
        runner.start()
        yield pipeline.endpoint
        stop.set()
        runner.join()


@pytest.fixture(scope="module")
def endpoint(clip):
    yield from _published(clip)


@pytest.fixture(scope="module")
def encrypted(clip, keys):
    secret, clients = str(keys / "door.key_secret"), str(keys / "clients")
    yield from _published(clip, curve_secret_file=secret, curve_allow_dir=clients)


def test_the_tracker_follows_the_face_of_a_clip(clip):
    lines = _python("tracker.py", clip).splitlines()
    assert len(lines) == 30
    assert all(line.startswith("face 1: yaw ") for line in lines)


def test_landmarks_are_drawn_onto_a_frame(endpoint, tmp_path):
    out = tmp_path / "out.png"
    assert ", 1 faces" in _python("draw_landmarks.py", endpoint, "a", out)
    picture = cv2.imread(str(out))
    assert picture.shape == (480, 640, 3)
    green = (picture == (0, 255, 0)).all(axis=2)
    assert np.count_nonzero(green) > 200


def test_two_streams_share_an_event_loop(endpoint):
    lines = _python("asyncio_faces.py", endpoint, "a", "b").splitlines()
    assert sorted(line.split()[0] for line in lines) == ["a"] * 10 + ["b"] * 10
    assert all("1: " in line for line in lines)


def test_the_live_mesh_is_one_that_trimesh_reads(endpoint, tmp_path):
    out = tmp_path / "face.glb"
    assert " vertices, area " in _python("live_mesh.py", endpoint, "a", out)
    mesh = trimesh.load(out, force="mesh")
    assert len(mesh.vertices) > 400
    width, height, depth = mesh.extents
    assert 0.6 < width / height < 1.2
    assert depth < width


def test_an_encrypted_publisher_is_read_with_the_right_keys(encrypted, keys):
    arguments = encrypted, "a", keys / "door.key", keys / "alice.key_secret"
    assert ": 1 faces" in _python("encrypted.py", *arguments)


def test_a_picture_becomes_meshes(tmp_path):
    picture = tmp_path / "face.png"
    cv2.imwrite(str(picture), data.astronaut()[:, :, ::-1])
    assert _python("reconstruct.py", picture, tmp_path / "out").startswith("face 0: yaw ")
    for suffix in ("obj", "glb"):
        assert len(trimesh.load(tmp_path / "out" / f"face0.{suffix}", force="mesh").faces) > 800


def test_a_recording_is_made_replayed_and_exported(clip, tmp_path):
    folder = Path(sys.executable).parent
    out = _run(
        EXAMPLES / "record_replay_export.sh",
        clip,
        tmp_path / "recorded",
        ENDPOINT=f"tcp://127.0.0.1:{free_port()}",
        PATH=f"{folder}:{os.environ['PATH']}",
    )
    messages = [json.loads(line) for line in out.splitlines() if line[0] == "{"]
    assert len(messages) == 10
    assert any(message["kind"] == "face" and message["faces"] for message in messages)
    rows = (tmp_path / "recorded" / "faces.csv").read_text().splitlines()
    assert len(rows) == 31


def test_the_notebook_runs(tmp_path):
    """Its cells one after the other, in an interpreter without a window."""
    cells = json.loads((EXAMPLES / "first_steps.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    script = tmp_path / "cells.py"
    script.write_text("\n".join(code))
    out = _run(sys.executable, script, MPLBACKEND="agg")
    assert out.startswith("score 0.9")
    assert len(out.splitlines()) == 6
