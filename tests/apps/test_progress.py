"""Whoever waits at a terminal sees how far it is, and nothing of it is left behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamprn.apps import images
from tests.support import clips
from tests.support.terminal import on_terminal, plain


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("progress")
    picture = clips.draw([clips.place(160, 120, 1.2)], 320, 240)
    images.write_image(folder / "face.png", picture)
    clips.encode(folder / "clip.mp4", [picture] * 20)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ("draw", "clip.mp4", "OUT/drawn.mp4"),
        ("swap", "clip.mp4", "face.png", "OUT/swapped.mp4"),
        ("reconstruct", "clip.mp4", "OUT", "--every", "2"),
    ],
    ids=lambda words: words[0],
)
def test_a_bar_grows_to_the_end_and_goes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(folder)
    code, seen = on_terminal(*(word.replace("OUT", str(tmp_path)) for word in words))
    assert code == 0, seen
    parts = [int(part) for part in re.findall(r"clip\.mp4.*?(\d+)%", plain(seen))]
    assert any(0 < part < 100 for part in parts), seen
    assert parts == sorted(parts), seen
    assert "%" not in plain(re.split(r"\x1b\[2K", seen)[-1])
