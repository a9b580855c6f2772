"""Every command of the main job with `--engine resfcn256` and random weights.

This proves the plumbing: that maps of another size, topology and crop rule go through every
command. It says nothing about faces.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from streamprn.cli import main
from streamprn.engines.bundle import Bundle
from tests.support.resfcn import make_random_bundle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    make_random_bundle(folder / "engines" / "resfcn256")
    return folder


@pytest.fixture(scope="module")
def vertex_count(home) -> int:
    return Bundle.load(home / "engines" / "resfcn256").topology().vertex_count


@pytest.fixture
def pictures(tmp_path) -> tuple[Path, Path]:
    """A face, and its mirror image."""
    face = data.astronaut()[:, :, ::-1]
    paths = tmp_path / "face.png", tmp_path / "mirrored.png"
    for path, picture in zip(paths, (face, face[:, ::-1]), strict=True):
        cv2.imwrite(str(path), picture)
    return paths


@pytest.fixture
def streamprn(home, monkeypatch, tmp_path):
    """Runs a command with that engine, in a folder without settings of its own."""
    monkeypatch.setenv("STREAMPRN_HOME", str(home))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> int:
        return main([*map(str, arguments), "--engine", "resfcn256", "--backend", "openvino"])

    return run


def test_run_follows_the_face_and_tells_the_engines_notice(streamprn, pictures, tmp_path, capfd):
    options = ("--loop", "--max-frames", 5, "--fast", "--record", tmp_path / "record")
    assert streamprn("run", pictures[0], "--bind", "tcp://127.0.0.1:*", *options) == 0
    err = capfd.readouterr().err
    assert "random weights: this engine runs the plumbing and finds no faces" in err
    assert sum(path.stat().st_size for path in tmp_path.glob("record/face/*.sprn")) > 1000


def test_reconstruct_writes_every_output(streamprn, pictures, tmp_path, vertex_count):
    assert streamprn("reconstruct", pictures[0], tmp_path / "out", "--all") == 0
    folder = tmp_path / "out" / "face" / "face0"
    vertices = np.load(folder / "vertices.npy")
    assert vertices.shape == (vertex_count, 3)
    assert np.isfinite(vertices).all()
    corners = [line for line in (folder / "mesh.obj").read_text().splitlines() if line[:2] == "v "]
    assert len(corners) == vertex_count
    assert np.load(folder / "landmarks.npy").shape == (68, 3)
    assert len(list((tmp_path / "out").rglob("*.*"))) > 20


@pytest.mark.parametrize(
    "command", [("swap",), ("edit", "--part", "face"), ("edit", "--part", "lips")]
)
def test_swap_and_edit_change_the_picture(streamprn, pictures, tmp_path, command):
    name, *options = command
    assert streamprn(name, *pictures, tmp_path / "out.png", *options) == 0
    before, after = cv2.imread(str(pictures[0])), cv2.imread(str(tmp_path / "out.png"))
    assert before.shape == after.shape
    assert (before != after).any()


def test_bench_measures_every_stage(streamprn, pictures, tmp_path):
    figures = tmp_path / "bench.json"
    pace = ("--fps", 2, "--duration", 3, "--warmup", 1, "--json", figures)
    # 1: the pace was not held, as may be on a busy machine.
    assert streamprn("bench", *pace) in (0, 1)
    assert "network" in json.dumps(json.loads(figures.read_text()))
