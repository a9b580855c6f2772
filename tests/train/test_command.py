import importlib.util

import pytest

pytest.importorskip("scipy", reason="SciPy missing: pip install '.[train]'")


from streamprn.cli import main


def refused(capsys, *arguments):
    code = main(["train", *map(str, arguments)])
    assert code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "library"),
    [("label", "scipy"), ("fit", "torch"), ("export", "onnx")],
)
def test_a_missing_library_names_the_extra(capsys, monkeypatch, tmp_path, stage, library):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == library else there(name)
    )
    options = {
        "label": ["--model-dir", tmp_path],
        "fit": ["--steps", 1],
        "export": [],
    }[stage]
    error = refused(capsys, stage, tmp_path, "--output", tmp_path / "out", *options)
    assert library in error
    assert "streamprn[train]" in error


def test_a_folder_without_pictures_is_refused(capsys, tmp_path, head_model):
    error = refused(capsys, "label", tmp_path, "--model-dir", head_model, "--output", tmp_path)
    assert "no pictures in" in error


def test_a_length_of_training_is_demanded(capsys, tmp_path):
    assert "--minutes" in refused(capsys, "fit", tmp_path, "--output", tmp_path)
