"""The house stays fit to live in: no room outgrows a reader."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = [
    path
    for room in ("streamprn", "engines", "kernels")
    for path in sorted((ROOT / room).rglob("*.py"))
    if not {"kernels", "engines"} & set(path.relative_to(ROOT).parts[1:2])
]


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_no_module_is_longer_than_450_lines():
    assert len(MODULES) > 100
    assert [str(path) for path in MODULES if lines(path) > 450] == []


def test_the_pipeline_is_no_longer_than_200_lines():
    assert lines(ROOT / "streamprn" / "live" / "pipeline.py") <= 200


def test_outside_the_engines_nobody_knows_where_a_face_lives():
    words = re.compile(r"resident|startswith\(.tensorrt")
    ours = [path for path in MODULES if path.relative_to(ROOT).parts[0] == "streamprn"]
    assert [str(path) for path in ours if words.search(path.read_text())] == []


@pytest.mark.parametrize(
    "room", ["source", "faces", "live", "wire", "apps", "config", "cli", "serve"]
)
def test_every_room_is_named_in_the_architecture(room):
    assert f"`streamprn/{room}/`" in (ROOT / "ARCHITECTURE.md").read_text()
