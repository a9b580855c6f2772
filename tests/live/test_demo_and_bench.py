"""The demo and the benchmark, as commands a newcomer runs first."""

from __future__ import annotations

import io
import json
import threading

import cv2
import numpy as np
import pytest
from rich.console import Console

from streamprn import bench
from streamprn.apps import demo
from streamprn.bench import measure, report
from streamprn.bench.measure import STAGES
from streamprn.errors import InputError, StreamPRNError
from streamprn.live.pipeline import Summary


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=100)


def test_the_demo_finds_the_face_receives_it_and_draws_it(tmp_path, console):
    out = tmp_path / "demo.png"
    assert demo.run(out=out, seconds=1.0, console=console) == 0
    text = console.file.getvalue()
    assert "30 face" in text
    assert "vertices" in text
    picture = cv2.imread(str(out))
    assert picture.shape == (960, 1280, 3)
    original, drawn = picture[:480, 640:], picture[480:, 640:]
    assert np.ptp(drawn) > 200  # the depth panel shows something
    assert np.abs(original.astype(int) - drawn).mean() > 20


def test_bench_measures_every_stage_and_writes_json_and_a_plot(tmp_path, console):
    figures, picture = tmp_path / "bench.json", tmp_path / "bench.png"
    code = bench.run(
        streams=2,
        seconds=1.0,
        warmup_s=0.3,
        json_path=figures,
        plot_path=picture,
        console=console,
    )
    assert code in (0, 1)  # whether the pace is held depends on the machine
    found = json.loads(figures.read_text())
    (run,) = found["runs"]
    assert run["streams"] == 2
    assert set(run["stages_ms"]) == set(STAGES)
    for name in ("decode", "crop", "network", "geometry", "publish", "subscribe"):
        assert run["stages_ms"][name]["p50"] > 0, name
    assert run["latency_ms"]["p50"] <= run["received_ms"]["max"]
    assert run["faces"] == run["frames"]
    assert found["machine"]["versions"]
    assert cv2.imread(str(picture)) is not None
    assert "due to published" in console.file.getvalue()


def test_bench_without_a_face_says_so(clips, console):
    with pytest.raises(StreamPRNError, match="no face"):
        bench.run(clips.no_face().uri, fps=0, seconds=0.2, warmup_s=0.1, console=console)


def test_bench_refuses_a_file_that_it_could_not_write_before_it_measures(console, tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        bench.run("no-such-clip.mp4", json_path=tmp_path / "missing" / "a.json", console=console)
    with pytest.raises(InputError, match="cannot be written"):
        bench.run("no-such-clip.mp4", plot_path=tmp_path, console=console)


def test_bench_refuses_what_it_cannot_measure(console):
    with pytest.raises(InputError, match="--streams"):
        bench.run(streams=0, console=console)
    with pytest.raises(InputError, match="unknown peer"):
        bench.run(against="nobody", console=console)
    with pytest.raises(InputError, match="--find-max"):
        bench.run(find_max=True, fps=0, console=console)


def test_bench_against_a_peer_that_is_not_installed_says_how_to_install_it(
    monkeypatch, tmp_path, console
):
    monkeypatch.setenv("STREAMPRN_PEERS_PYTHON", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="make peers"):
        bench.run(against="mediapipe", console=console)


def test_a_gpu_s_own_stage_times_stand_beside_the_host_s(console):
    spans = {"network": 2_000_000, "device crop": 30_000, "device network": 1_200_000}
    collector = measure._Collector(measure.Plan("clip"), threading.Event())
    # A frame without a face gave the GPU nothing to do.
    rows = [(0, 5_000_000, 1, spans), (0, 9_000_000, 0, {"network": 0}), (1, 9_500_000, 1, spans)]
    collector.rows = rows
    summary = Summary((), "tcp://127.0.0.1:1", "tensorrt, device chain", 1.0)
    one = measure._measurement(collector._plan, collector, summary, {}, 0)
    assert one.as_json()["stages_ms"]["device network"]["p50"] == pytest.approx(1.2)
    assert one.stages_ms["device crop"].shape == (2,)
    report.show(console, one)
    text = console.file.getvalue()
    assert "device network" in text
    assert text.index("device network") < text.index("due to published")
