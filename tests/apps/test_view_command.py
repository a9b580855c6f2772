"""`streamprn view` says what is missing or wrong before it starts anything."""

from __future__ import annotations

import sys

import pytest

from streamprn import cli


def test_without_its_library_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "viser", None)
    assert cli.main(["view", "--port", "0"]) == 2
    printed = capsys.readouterr().err
    assert "package viser" in printed
    assert "pip install 'streamprn[view]'" in printed


@pytest.mark.parametrize(
    "words", [["--engine", "x"], ["--config", "x.yaml"], ["--set", "engine.threads=1"]]
)
def test_options_for_an_engine_need_one(words, capsys):
    assert cli.main(["view", *words]) == 2
    printed = capsys.readouterr().err
    assert f"{words[0]} is for the engine" in printed and "add --run" in printed


def test_a_token_is_read_before_anything_is_served(tmp_path, capsys):
    assert cli.main(["view", "--token", str(tmp_path / "none")]) == 2
    assert "no token can be read" in capsys.readouterr().err
