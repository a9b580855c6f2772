"""`streamprn engine`, run as a user runs it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamprn.cli import main
from streamprn.engines.bundle import Bundle
from streamprn.engines.tensorrt import api as packages
from tests.support.resfcn import NAME, make_random_bundle, random_variables, write_uv_data
from tests.support.tensor_bundle import write_checkpoint

needs_rtx = pytest.mark.skipif(
    "tensorrt-rtx" not in packages.installed(), reason="tensorrt-rtx is not installed"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    make_random_bundle(folder / "engines" / NAME)
    return folder


@pytest.fixture
def engine(home, monkeypatch, capsys):
    """Runs the command; returns exit code, standard output and standard error."""
    monkeypatch.setenv("STREAMPRN_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["engine", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def test_list_names_the_packaged_engines_and_the_users_own(engine):
    code, out, _ = engine("list")
    assert code == 0
    assert "facemesh" in out
    assert NAME in out
    names = [row["name"] for row in json.loads(engine("list", "--json")[1])]
    assert names == ["facemesh", "facemesh2", "prn", NAME]


def test_list_shows_a_damaged_engine_instead_of_failing(engine, home):
    broken = home / "engines" / "broken"
    broken.mkdir()
    (broken / "manifest.yaml").write_text("name: broken\n")
    try:
        code, out, _ = engine("list")
    finally:
        (broken / "manifest.yaml").unlink()
        broken.rmdir()
    assert code == 0
    assert "damaged: " in out


def test_info_counts_parameters_and_work(engine):
    facts = json.loads(engine("info", NAME, "--json")[1])
    assert facts["MACs"] == 4_129_292_288
    assert 13.3e6 < facts["parameters"] < 13.4e6
    assert facts["inputs"] == {"input": "(B, 256, 256, 3) float32"}
    assert facts["crop"]["track_box"] == "landmarks"
    _, out, _ = engine("info", "facemesh")
    assert "55,450" in out
    assert "Apache-2.0" in out


def test_an_unknown_engine_is_one_clear_line(engine):
    code, _, err = engine("info", "facemash")
    assert code == 2
    assert err.count("\n") == 1
    assert "did you mean 'facemesh'?" in err


def test_import_prnet_makes_an_engine_and_says_the_licence(engine, home, tmp_path):
    prefix = write_checkpoint(tmp_path / "weights", random_variables())
    data = write_uv_data(tmp_path / "uv-data")
    options = ("import-prnet", "--weights", prefix, "--data", data, "--name", "prnet")
    code, out, _ = engine(*options)
    assert code == 0
    assert "research" in out
    assert Bundle.load(home / "engines" / "prnet").name == "prnet"
    code, _, err = engine(*options)
    assert code == 2
    assert "exists already" in err


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "facemesh"])
def test_import_prnet_refuses_names_that_cannot_be(engine, tmp_path, name):
    code, _, err = engine("import-prnet", "--weights", "w", "--data", tmp_path, "--name", name)
    assert code == 2
    assert "name" in err or "ships with" in err


def test_import_prnet_names_the_file_that_is_missing(engine, tmp_path):
    code, _, err = engine("import-prnet", "--weights", "w", "--data", tmp_path, "--name", "y")
    assert code == 2
    assert "no face_ind.txt there" in err


def test_a_damaged_file_of_the_import_is_one_line_and_nothing_is_written(home, tmp_path):
    prefix = write_checkpoint(tmp_path / "weights", random_variables())
    data = write_uv_data(tmp_path / "uv-data")
    picture = data / "uv_face.png"
    picture.write_bytes(picture.read_bytes()[:100])
    # As a process of its own: OpenCV's and NumPy's own lines would count.
    command = [sys.executable, "-m", "streamprn", "engine", "import-prnet", "--name", "cut"]
    done = subprocess.run(
        [*command, "--weights", prefix, "--data", data],
        env=os.environ | {"STREAMPRN_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "uv_face.png: expected a 256x256 picture (copy the authors'" in done.stderr
    assert not [*(home / "engines").glob("cut"), *(home / "engines").glob(".new-*")]


def test_export_copies_the_network_or_all(engine, home, tmp_path):
    bundle = Bundle.load(home / "engines" / NAME)
    assert engine("export", NAME, tmp_path / "net.onnx", "--precision", "fp16")[0] == 0
    assert (tmp_path / "net.onnx").read_bytes() == bundle.networks["fp16"].read_bytes()
    assert engine("export", "facemesh", tmp_path / "copy")[0] == 0
    assert Bundle.load(tmp_path / "copy").topology().vertex_count == 55_450
    code, _, err = engine("export", "facemesh", tmp_path / "copy")
    assert code == 2
    assert "exists already" in err
    assert engine("export", "facemesh", tmp_path / "copy", "--replace")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "net.onnx"]


def test_export_replaces_engines_and_files_but_no_other_folder(engine, tmp_path):
    folder = tmp_path / "photos.onnx"
    folder.mkdir()
    (folder / "picture").touch()
    for place in (folder, tmp_path):
        code, _, err = engine("export", "facemesh", place, "--replace")
        assert code == 2
        assert "is a folder" in err or "is not an engine, so it is not replaced" in err
    assert (folder / "picture").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["photos.onnx"]


def test_export_of_one_precision_into_a_folder_is_refused(engine, tmp_path):
    code, _, err = engine("export", "facemesh", tmp_path / "copy", "--precision", "fp16")
    assert code == 2
    assert "copy.onnx would take the network alone" in err
    assert not list(tmp_path.iterdir())


def test_export_of_a_precision_that_is_not_there_is_refused(engine, tmp_path):
    single = tmp_path / "single"
    assert engine("export", "facemesh", single)[0] == 0
    manifest = single / "manifest.yaml"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(line for line in lines if "fp16" not in line))
    code, _, err = engine("export", single, tmp_path / "net.onnx", "--precision", "fp16")
    assert code == 2
    assert "no fp16 network" in err
    assert [path.name for path in tmp_path.iterdir()] == ["single"]


def test_verify_finds_the_two_cpu_runtimes_equal(engine):
    code, out, _ = engine("verify", NAME, "--crops", 2, "--bound", 0.05)
    assert code == 0
    assert "OpenVINO" in out
    assert "ONNX Runtime" in out
    assert "2 crops: largest difference 0.0" in out


def test_verify_fails_above_the_bound(engine, tmp_path):
    picture = tmp_path / "picture.png"
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    cv2.imwrite(str(picture), noise)
    options = ("--against", "openvino", "--precision", "fp16", "--images", picture)
    code, out, _ = engine("verify", NAME, *options, "--bound", 0.001)
    assert code == 1
    assert "1 crops" in out
    assert engine("verify", NAME, *options, "--bound", 3)[0] == 0


def test_verify_refuses_what_is_no_picture(engine, tmp_path):
    (tmp_path / "rubbish.png").write_bytes(b"rubbish")
    for name, reason in (("none.png", "no such file"), ("rubbish.png", "not a readable picture")):
        code, _, err = engine("verify", "facemesh", "--images", tmp_path / name)
        assert code == 2
        assert reason in err


@needs_rtx
def test_build_makes_a_plan_that_info_shows(engine):
    options = ("build", "facemesh", "--flavour", "tensorrt-rtx", "--max-batch", 4)
    code, out, _ = engine(*options)
    assert code == 0
    assert "built, since there was none" in out
    assert "fp16, batches 1/4/4, for any RTX GPU" in out
    assert "already there" in engine(*options)[1]
    assert "asked to rebuild" in engine(*options, "--rebuild")[1]
    plans = json.loads(engine("info", "facemesh", "--json")[1])["plans"]
    assert list(plans) == ["tensorrt-rtx-fp16-b4-any-rtx-gpu.plan"]


@needs_rtx
def test_info_tells_a_stale_plan_and_a_damaged_one(engine, home, tmp_path):
    mine = home / "engines" / "mine"
    assert engine("export", "facemesh", mine)[0] == 0
    manifest = mine / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("name: facemesh", "name: mine"))
    options = ("build", "mine", "--flavour", "tensorrt-rtx", "--max-batch")
    for batch in (1, 2):
        assert engine(*options, batch)[0] == 0
    shutil.copyfile(mine / "network.onnx", mine / "network.fp16.onnx")
    plans = home / "cache" / "plans" / "mine"
    damaged = plans / "tensorrt-rtx-fp16-b2-any-rtx-gpu.plan"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    facts = json.loads(engine("info", "mine", "--json")[1])["plans"]
    assert facts["tensorrt-rtx-fp16-b1-any-rtx-gpu.plan"].endswith("built from another network")
    assert "it is damaged or cut short" in facts[damaged.name]
    code, out, _ = engine(*options, 2)
    assert code == 0
    assert "plan refused: it is damaged or cut short" in out


@needs_rtx
def test_build_into_a_home_that_cannot_be_written_is_one_clear_line(engine, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("STREAMPRN_HOME", str(tmp_path / "file"))
    code, out, err = engine("build", "facemesh", "--flavour", "tensorrt-rtx")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "set STREAMPRN_HOME to a folder that can" in err


@pytest.mark.skipif("tensorrt" in packages.installed(), reason="tensorrt is installed")
def test_build_without_the_package_says_how_to_get_it(engine):
    code, _, err = engine("build", "facemesh", "--flavour", "tensorrt")
    assert code == 2
    assert "pip install tensorrt" in err
