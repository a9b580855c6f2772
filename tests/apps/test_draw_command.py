"""A film with the overlay keeps its times and its sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamprn import cli
from streamprn.apps import images
from streamprn.apps.video import ClipReader
from tests.support import clips
from tests.support.media import make_media, seen_in


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    picture = clips.draw([clips.place(160, 120, 1.2)], 320, 240)
    images.write_image(tmp_path / "one.png", picture)
    return clips.encode(tmp_path / "clip.mp4", [picture] * 5)


def read(path: Path) -> list[np.ndarray]:
    with ClipReader(path) as clip:
        return [frame.rgb.astype(int) for frame in clip.frames()]


def test_a_film_is_drawn_over_and_the_solid_face_stands_beside_it(film: Path) -> None:
    assert cli.main(["draw", "clip.mp4", "out.mp4", "--show", "landmarks", "--solid"]) == 0
    before, after = read(film), read(film.with_name("out.mp4"))
    assert [one.shape for one in after] == [(240, 640, 3)] * 5
    for old, new in zip(before, after, strict=True):
        drawn = (np.abs(new[:, :320] - old).max(axis=2) > 60).mean()
        assert 0.002 < drawn < 0.05
        assert 0.05 < (new[:, 320:].max(axis=2) > 90).mean() < 0.6


def test_times_and_sound_are_kept_also_without_a_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    times = [0.0, 0.04, 0.2, 0.24, 0.6, 0.7, 0.9]
    make_media(tmp_path / "uneven.mp4", times, audio="aac")
    assert cli.main(["draw", "uneven.mp4", "out.mp4"]) == 1
    before, after = seen_in(tmp_path / "uneven.mp4"), seen_in(tmp_path / "out.mp4")
    assert after.times == pytest.approx(before.times, abs=0.001)
    assert after.codecs == ["aac"]
    assert after.beep_s == pytest.approx(before.beep_s, abs=0.03)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["clip.mp4", "out.mp4", "--show", "hats"], "unknown 'hats'"),
        (["clip.mp4", "out.mp4", "--solid", "fur"], "unknown 'fur'"),
        (["clip.mp4", "clip.mp4"], "would overwrite an input"),
        (["clip.mp4", "out.gif"], "no video can be written"),
        (["one.png", "out.mp4"], "is not a film"),
        (["none.mp4", "out.mp4"], "none.mp4: no such file"),
    ],
)
def test_wrong_arguments_exit_with_2(
    film: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert cli.main(["draw", *arguments]) == 2
    printed = capsys.readouterr().err
    assert words in printed and "Traceback" not in printed
