"""These need PyTorch, which `make test-train` installs and `make test` does not."""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy", reason="SciPy missing: pip install '.[train]'")


pytest.importorskip("torch", reason="PyTorch missing: make test-train")

import torch

from streamprn.engines.bundle import Bundle
from streamprn.engines.engine import open_engine
from streamprn.errors import EngineError, InputError
from streamprn.train.export import About, export
from streamprn.train.fit import (
    CHECKPOINT,
    Settings,
    Trainer,
    load_checkpoint,
    new_network,
)
from streamprn.train.graph import GraphNetwork
from streamprn.train.measure import Measure, Places, trust_of
from streamprn.train.samples import Sampler

SETTINGS = Settings(steps=8, batch=8, width=0.34, threads=1, device="cpu")


def settings(**changed):
    return replace(SETTINGS, **changed)


@pytest.fixture(scope="module")
def run(labels, tmp_path_factory):
    """A run of 150 steps; its folder and first and last report."""
    folder = tmp_path_factory.mktemp("run")
    Trainer(labels, folder, settings(steps=1, batch=16)).run()
    Trainer(labels, folder, settings(steps=150, batch=16, rate=4e-3)).run()
    history = json.loads((folder / "history.json").read_text())
    return folder, history[0], history[-1]


def test_training_makes_the_error_on_held_out_faces_smaller(run):
    _, first, last = run
    assert last["step"] == 150
    # As they are, the mean face in the middle is near already.
    for yaw in ("60", "85"):
        assert last["error_percent"][yaw] < 0.8 * first["error_percent"][yaw]


def test_a_run_can_be_looked_at(run):
    names = {path.name for path in run[0].iterdir()}
    assert {"samples.png", "faces.png", "worst.png", "curves.png", "history.json"} <= names


def test_a_run_that_is_resumed_ends_as_one_that_was_not(labels, tmp_path):
    Trainer(labels, tmp_path / "whole", settings(steps=6)).run()
    _stop_after(labels, tmp_path / "parts", 3)
    Trainer(labels, tmp_path / "parts", settings(steps=6)).run()
    whole, parts = (
        load_checkpoint(tmp_path / name, torch.device("cpu"))["mean"] for name in ("whole", "parts")
    )
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=0, atol=0)


def _stop_after(labels, folder, steps):
    """Interrupt a run of six steps after some of them."""
    trainer = Trainer(labels, folder, settings(steps=6))
    step = trainer._step

    def stopping(batch):
        if trainer.state.step == steps:
            raise KeyboardInterrupt
        return step(batch)

    trainer._step = stopping
    with contextlib.suppress(KeyboardInterrupt):
        trainer.run()
    assert trainer.state.step == steps


def test_a_killed_run_goes_on_from_its_checkpoint(labels, tmp_path):
    command = [sys.executable, "-m", "streamprn", "train", "fit", str(labels), "--output"]
    command += [str(tmp_path / "run"), "--minutes", "5", "--batch", "4", "--width", "0.34"]
    command += ["--save-every", "1", "--device", "cpu"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"NO_COLOR": "1"})
    try:
        checkpoint = tmp_path / "run" / CHECKPOINT
        deadline = time.monotonic() + 100
        while not checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert checkpoint.exists(), process.poll()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
    done = load_checkpoint(tmp_path / "run", torch.device("cpu"))["state"]["step"]
    assert done > 0
    told = []
    again = settings(steps=done + 2, batch=4)
    Trainer(labels, tmp_path / "run", again, tell=told.append).run()
    assert f"from step {done}" in told[0]


def test_a_run_of_other_settings_is_not_gone_on_with(labels, run):
    with pytest.raises(InputError, match="another batch, width"):
        Trainer(labels, run[0], settings(batch=24, width=0.5))


def test_an_exported_engine_gives_the_points_of_the_network(run, data, tmp_path):
    folder = tmp_path / "engine"
    export(run[0], folder, About("mine", licence="CC0-1.0", notes="## Limits\n\nMany."))
    saved = load_checkpoint(run[0], torch.device("cpu"))
    network = new_network("prn", saved["settings"]["width"], None)
    network.load_state_dict(saved["mean"])
    images = Sampler(data).held_out(30.0, 2).images.astype(np.float32) / 255
    with torch.no_grad():
        points, logits = network.eval()(torch.from_numpy(images).permute(0, 3, 1, 2))
    wanted = points.permute(0, 2, 1).numpy() * [64, 64, -64] + [63.5, 63.5, 0]
    for backend, precision, bound in (("openvino", "fp32", 0.05), ("onnxruntime", "fp16", 0.3)):
        engine = open_engine(folder, backend=backend, precision=precision)
        inference = engine.infer(images)
        for surface, one in zip(inference.surfaces, wanted, strict=True):
            np.testing.assert_allclose(surface.points, one, atol=bound)
        np.testing.assert_allclose(inference.scores, torch.sigmoid(logits), atol=0.01)
        engine.close()
    card = (folder / "MODEL_CARD.md").read_text()
    assert "## Limits" in card
    assert "| own |" in card
    stated = dict(re.findall(r"- `(.+)`: SHA-256 `(.+)`", card))
    assert stated.keys() == {"network.onnx", "network.fp16.onnx"}
    for name, digest in stated.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    with pytest.raises(EngineError, match="exists already"):
        export(run[0], folder, About("mine"))


def test_the_program_trains_exports_and_reconstructs(run, portraits, tmp_path):
    from streamprn.cli import main

    engine = str(tmp_path / "engine")
    assert main(["train", "export", str(run[0]), "--output", engine]) == 0
    assert (
        main(
            [
                "reconstruct",
                "--engine",
                engine,
                "--min-score",
                "0",
                str(portraits / "0.png"),
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    assert list((tmp_path / "out").rglob("*.obj"))


@pytest.mark.parametrize("name", ["facemesh", "facemesh2"])
def test_a_packaged_network_says_in_pytorch_what_it_says_in_its_engine(name, data):
    network = GraphNetwork(name)
    images = Sampler(data, network.side).held_out(None, 1).images.astype(np.float32) / 255
    with torch.no_grad():
        points, logits = network(torch.from_numpy(images).permute(0, 3, 1, 2))
    engine = open_engine(name, backend="onnxruntime")
    inference = engine.infer(images)
    half = network.side / 2
    wanted = inference.surfaces[0].points[:468]
    np.testing.assert_allclose(
        points[0, :2].T.numpy() * half + half - 0.5, wanted[:, :2], atol=0.01
    )
    assert float(torch.sigmoid(logits)[0]) == pytest.approx(float(inference.scores[0]), abs=1e-3)


def test_training_can_go_on_from_a_packaged_network(labels, tmp_path):
    Trainer(
        labels, tmp_path / "run", settings(network="facemesh", steps=2, batch=2, rate=1e-5)
    ).run()
    export(tmp_path / "run", tmp_path / "engine", About("further", precisions=("fp32",)))
    engines = [open_engine(one, backend="onnxruntime") for one in ("facemesh", tmp_path / "engine")]
    crop = np.random.default_rng(0).random((1, 192, 192, 3), np.float32)
    ours, theirs = (engine.infer(crop).surfaces[0].points for engine in engines)
    assert 0 < np.abs(ours - theirs).max() < 10


def test_the_network_of_the_paper_is_trained_and_exported(labels, data, tmp_path):
    run, folder = tmp_path / "run", tmp_path / "engine"
    told = []
    small = settings(network="resfcn256", steps=2, batch=2, rate=1e-3)
    Trainer(labels, run, small, tell=told.append).run()
    # As many multiply-accumulates as the file of the authors' network has.
    assert "(4129 MMAC)" in told[0]
    entry = Trainer(labels, run, replace(small, steps=3), tell=told.append).run()
    assert any("from step 2" in line for line in told)
    assert entry["error_percent"].keys() == {"own", "30", "60", "85"}
    assert entry["score"] == {}
    export(run, folder, About("paper"))
    network = new_network("resfcn256", 1.0, None)
    network.load_state_dict(load_checkpoint(run, torch.device("cpu"))["mean"])
    images = Sampler(data, 256).held_out(30.0, 1).images.astype(np.float32) / 255
    with torch.no_grad():
        own = network.eval().position_map(torch.from_numpy(images).permute(0, 3, 1, 2))
    wanted = own[0].permute(1, 2, 0).numpy() * 281.6
    for backend, precision, bound in (("openvino", "fp32", 0.05), ("onnxruntime", "fp16", 1.5)):
        engine = open_engine(folder, backend=backend, precision=precision)
        (surface,) = engine.infer(images).surfaces
        mask = engine.topology.mask
        np.testing.assert_allclose(surface.position_map()[mask], wanted[mask], atol=bound)
        engine.close()
    # Pictures of people go with an engine only where that is asked for.
    assert not (folder / "worst.png").exists()
    assert "gives no score" in (folder / "MODEL_CARD.md").read_text()


def test_int8_goes_with_an_engine_only_if_it_moves_little(run, tmp_path):
    folder = tmp_path / "engine"
    moved = export(run[0], folder, About("mine", precisions=("fp32", "int8"), show_faces=True))
    assert 0 < moved.mean <= moved.worst <= moved.largest
    card = (folder / "MODEL_CARD.md").read_text()
    assert f"{moved.worst:.2f} px in the worst picture (bound 0.3)" in card
    bundle = Bundle.load(folder)
    assert ("int8" in bundle.networks) == moved.kept == (moved.worst < 0.3)
    assert (folder / "network.int8.onnx").exists() == moved.kept
    # Asked for this time.
    assert (folder / "worst.png").is_file()
    with pytest.raises(InputError, match="int8 is made of fp32"):
        export(run[0], tmp_path / "other", About("mine", precisions=("int8",)))


def test_a_map_that_says_what_the_labels_say_has_no_error(data):
    batch = Sampler(data, 256).held_out(30.0, 2)
    measure = Measure(torch.device("cpu"), Places.of_vertices())
    target = measure.target(batch.points)
    is_face = torch.tensor(batch.is_face)
    assert float(measure.loss(target, None, target, is_face)) == 0
    assert float(measure.loss(target + 0.1, None, target, is_face)) > 0.1
    # The vertices nearest to the points are on them, nearly.
    away = np.abs(measure.shown(target) - batch.points)[:, :, :2]
    assert away.mean() < 0.01


def test_the_score_is_one_half_at_an_error_of_eight_percent():
    scores = trust_of(torch.tensor([0.0, 0.08, 0.4]))
    assert scores.tolist() == pytest.approx([1, 0.5, 1 / 26])
