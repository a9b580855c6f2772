"""Engines side by side: on the same pictures, or not at all."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamprn import cli
from streamprn.apps.comparison import Run, compare, read_runs, write_runs
from streamprn.apps.datasets import Truth
from streamprn.apps.evaluation import Score
from streamprn.apps.reconstruction import Reconstruction
from streamprn.errors import InputError
from tests.support import faces


def scored(name: str, error: float | None, yaw: float = 0.0, digest: str = "d") -> Score:
    truth = Truth(name, Path(name), None, np.array([0.0, yaw, 0.0]), digest=digest)
    if error is None:
        return Score(truth, found=False)
    return Score(
        truth, True, None, error, pitch=0, yaw=1, roll=0, found_yaw=0.8 * yaw, milliseconds=2
    )


def run_of(engine: str, *scores: Score, layout: str = "aflw2000", crop: str = "truth") -> Run:
    return Run(engine, "a runtime", layout, crop, scores)


A = run_of("a", scored("1", 2.0), scored("2", 4.0), scored("3", None), scored("4", 9.0))
B = run_of("b", scored("1", 3.0), scored("2", None), scored("3", 6.0), scored("4", 1.0))


def test_means_are_over_the_pictures_in_which_every_engine_found_the_face() -> None:
    found = compare([A, B])
    assert (found.pictures, found.common) == (4, 2)
    a, b = found.summaries
    assert (a.nme_2d, b.nme_2d) == pytest.approx((5.5, 2.0))
    assert (a.missed, b.missed) == (1, 1)
    assert (a.pictures, b.pictures) == (4, 4)


def test_one_run_alone_is_over_all_that_it_found() -> None:
    found = compare([A])
    assert (found.common, found.summaries[0].nme_2d) == (3, pytest.approx(5.0))


def test_different_pictures_are_refused_with_their_names() -> None:
    fewer = replace(B, scores=B.scores[:2])
    with pytest.raises(InputError, match=r"different pictures: 2 only in a \(3, 4\)"):
        compare([A, fewer])
    with pytest.raises(InputError, match=r"2 only in a \(3, 4\)"):
        compare([fewer, A])
    changed = replace(B, scores=(scored("1", 3.0, digest="e"), *B.scores[1:]))
    with pytest.raises(InputError, match=r"1 changed \(1\)"):
        compare([A, A, changed])
    many = run_of("m", *(scored(str(n), 1.0) for n in range(9)))
    with pytest.raises(InputError, match=r"5 only in m \(0, 5, 6, \.\.\.\)"):
        compare([A, many])


@pytest.mark.parametrize(("what", "other"), [("layout", "300w"), ("crop", "detector")])
def test_runs_that_were_made_otherwise_are_refused(what: str, other: str) -> None:
    with pytest.raises(InputError, match=f"{what} .* against {other}"):
        compare([A, replace(B, **{what: other})])


def test_results_survive_a_file(tmp_path: Path) -> None:
    write_runs(tmp_path / "r.json", [A, B])
    again = read_runs(tmp_path / "r.json")
    assert [one.engine for one in again] == ["a", "b"]
    assert again[0].pictures == A.pictures
    for one, same in zip(compare([A, B]).summaries, compare(again).summaries, strict=True):
        assert same.nme_2d == one.nme_2d
        assert same.pose == one.pose
        assert same.yaws == one.yaws
        assert math.isnan(same.nme_3d)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("{}", "no 'format'"),
        ('{"format": 2, "runs": []}', "format 2, expected 1"),
        ('{"format": 1, "runs": []}', "holds no run"),
        ('{"format": 1, "runs": [{"engine": "a"}]}', "no 'pictures'"),
        ('{"format": 1, "runs": [5]}', "no results of `evaluate`"),
    ],
)
def test_a_file_that_is_none_of_results_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        read_runs(path)
    assert str(path) in str(caught.value)


def test_yaws_are_told_by_what_the_engine_reads() -> None:
    scores = [scored(str(yaw), 1.0, yaw) for yaw in (-60.0, 60.0, 30.0)]
    (summary,) = compare([run_of("a", *scores)]).summaries
    assert [(one.true, one.reads, one.count) for one in summary.yaws] == [
        (30, pytest.approx(24), 1),
        (60, pytest.approx(48), 2),
    ]


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory, face: Reconstruction) -> Path:
    """Three heads of known yaw, each as a `.mat`, as a `.pts` and by its name."""
    folder = tmp_path_factory.mktemp("heads")
    texture = face.texture(256, "mirror")
    angles = [(0.0, 0.0, 0.0), (30.0, 0.0, 0.0), (-45.0, 0.0, 0.0)]
    known = faces.write_dataset(folder / "mat", face.topology, texture, angles)
    for index, (one, (yaw, _, _)) in enumerate(zip(known, angles, strict=True)):
        data = (folder / "mat" / f"image{index:05d}.jpg").read_bytes()
        for path in (folder / "pts" / f"{index}.jpg", folder / "yaw" / f"h{index}_yaw{yaw:+g}.jpg"):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        points = one.vertices[face.topology.landmarks, :2] + 1
        lines = "".join(f"{x} {y}\n" for x, y in points)
        header = "version: 1\nn_points: 68\n"
        (folder / "pts" / f"{index}.pts").write_text(header + "{\n" + lines + "}\n")
    return folder


def evaluated(folder: Path, out: Path, *options: str) -> list[Run]:
    assert cli.main(["evaluate", str(folder), "--out", str(out), *options]) == 0
    return read_runs(out / "results.json")


@pytest.mark.parametrize(
    "engines",
    [["--engine", "facemesh,facemesh2"], ["--engine", "facemesh", "--engine", "facemesh2"]],
)
def test_two_engines_stand_in_one_table(
    heads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], engines: list[str]
) -> None:
    runs = evaluated(heads / "mat", tmp_path, "--crop", "truth", *engines)
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 pictures; means over the 3 in which every engine found the face" in printed
    assert [one.engine for one in runs] == ["facemesh", "facemesh2"]
    for run in runs:
        assert f"\u2502 {run.engine} \u2502" in printed
        assert (tmp_path / run.engine / "errors.csv").is_file()
    first, second = compare(runs).summaries
    assert first.nme_2d != second.nme_2d
    assert max(first.nme_2d, second.nme_2d) < 9


def test_points_in_2d_give_the_errors_that_3d_gives(heads: Path, tmp_path: Path) -> None:
    (flat,) = evaluated(heads / "pts", tmp_path / "a", "--crop", "truth")
    (deep,) = evaluated(heads / "mat", tmp_path / "b", "--crop", "truth")
    assert (flat.layout, deep.layout) == ("300w", "aflw2000")
    for one, two in zip(flat.scores, deep.scores, strict=True):
        assert one.nme_2d == pytest.approx(two.nme_2d, abs=0.02)
        assert one.nme_inner == pytest.approx(two.nme_inner, abs=0.02)
        # The outer corners are nearer to each other than the sides of the box.
        assert one.nme_eyes > 1.2 * one.nme_2d
        assert math.isnan(one.nme_3d) and not math.isnan(two.nme_3d)


def test_a_folder_by_angle_tells_what_each_yaw_reads(
    heads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = evaluated(heads / "yaw", tmp_path)
    printed = " ".join(capsys.readouterr().out.split())
    assert "other sign" not in printed
    assert run.layout == "angles"
    (summary,) = compare([run]).summaries
    assert [one.true for one in summary.yaws] == [0, 30, 45]
    assert abs(summary.yaws[0].reads) < 6
    assert 20 < summary.yaws[1].reads < summary.yaws[2].reads < 50
    assert {path.name for path in tmp_path.iterdir()} == {
        "curve.png", "errors.csv", "results.json", "worst.jpg",
    }  # fmt: skip


def test_yaws_of_the_other_sign_are_noticed(
    heads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pattern = r"yaw(?P<minus_yaw>[+-]?\d+)"
    assert cli.main(["evaluate", str(heads / "yaw"), "--angle-pattern", pattern]) == 0
    assert "the other sign" in capsys.readouterr().out


def test_results_of_two_runs_are_compared_and_refused_where_pictures_differ(
    heads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, options in (
        ("a", ["--engine", "facemesh"]),
        ("b", ["--engine", "facemesh2"]),
        ("c", ["--limit", "2"]),
    ):
        evaluated(heads / "pts", tmp_path / name, "--crop", "truth", *options)
    files = {name: str(tmp_path / name / "results.json") for name in "abc"}
    capsys.readouterr()
    assert cli.main(["evaluate", "--compare", files["a"], files["b"]]) == 0
    assert "means over the 3 in which every engine" in " ".join(capsys.readouterr().out.split())
    assert cli.main(["evaluate", "--compare", files["a"], files["c"]]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "are of different pictures: 1 only in" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "give either a dataset or --compare"),
        (["DIR", "--compare", "x.json"], "give either a dataset or --compare"),
        (["DIR", "--engine", "facemesh,facemesh"], "given twice"),
        (["DIR", "--engine", "facemesh,"], "a name is empty"),
        (["DIR", "--crop", "truth"], "crops by the truth need landmarks"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(
    heads: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    given = [str(heads / "yaw") if one == "DIR" else one for one in arguments]
    assert cli.main(["evaluate", *given]) == 2
    assert reason in " ".join(capsys.readouterr().err.split())


def test_the_file_of_results_has_no_nan(tmp_path: Path) -> None:
    write_runs(tmp_path / "r.json", [A])

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content = json.loads((tmp_path / "r.json").read_text(), parse_constant=refuse)
    assert content["runs"][0]["pictures"][2]["nme_2d"] is None
