"""A sample of the matrix behind docs/inputs.md is read right."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import pytest

from tools.inputs import ASPECTS, CLOCKS, COLOURS, PAGE, Case, cases, check, make, sample


@pytest.mark.parametrize(
    "case", sample(60), ids=lambda case: "-".join(map(str, dataclasses.astuple(case)))
)
def test_a_made_clip_is_read_right(case: Case, tmp_path: Path) -> None:
    assert check(case, tmp_path) == ""


def test_the_matrix_is_wide() -> None:
    whole = cases()
    assert len(whole) == len(set(whole)) >= 300
    assert len({case.container for case in whole}) >= 12
    assert len({case.form for case in whole}) >= 20
    assert {case.orientation for case in whole} == set(range(1, 9))
    assert {case.aspect for case in whole} == set(ASPECTS)
    assert {case.clock for case in whole} == set(CLOCKS)
    assert {case.colour for case in whole} == set(COLOURS)


def test_the_page_tells_of_the_whole_matrix() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"{len(cases())} clips" in text, "run `python -m tools.inputs`"


def test_what_is_read_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("mkv", "ffv1", "bgr0", 1, Fraction(1), CLOCKS[0], COLOURS[0])
    assert check(case, tmp_path) == ""
    for wrong, words in (
        ({"orientation": 2}, "colours are off"),
        ({"orientation": 6}, "the size is"),
        ({"clock": CLOCKS[1]}, "times are off"),
    ):
        other = dataclasses.replace(case, **wrong)
        with monkeypatch.context() as patch:
            patch.setattr("tools.inputs.make", lambda _, path: make(case, path))
            assert words in check(other, tmp_path)
