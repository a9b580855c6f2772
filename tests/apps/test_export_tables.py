"""Recordings as tables and JSON lines: each number where the format says, from frames we know."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamprn.apps.export_recording import ExportOptions, export
from streamprn.apps.export_tables import COLUMNS, openface_angles
from streamprn.errors import InputError
from streamprn.records import Kind
from tests.support.recordings import moving, record, rotation_xyz

FRAMES = 4


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """Two faces in frames 0, 1 and 3, none in frame 2."""
    folder = tmp_path_factory.mktemp("recording")
    record(folder, [moving(seq, faces=0 if seq == 2 else 2) for seq in range(FRAMES)])
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_begins_with_the_columns_of_openface_and_has_none_of_a_wrong_meaning(
    recording, tmp_path
):
    export(recording, tmp_path / "a.csv")
    header = (tmp_path / "a.csv").read_text().splitlines()[0].split(",")
    assert header == list(COLUMNS)
    openface = ["frame", "face_id", "timestamp", "confidence", "success"]
    openface += [f"pose_{part}{axis}" for part in "TR" for axis in "xyz"]
    openface += [f"{axis}_{index}" for axis in "xy" for index in range(68)]
    assert header[: len(openface)] == openface
    # Landmarks in millimetres and gaze are not recorded: nothing may be called by those names.
    assert not {"X_0", "Y_0", "Z_0", "gaze_0_x", "AU01_r"} & set(header)


def test_the_rows_hold_what_was_recorded(recording, tmp_path):
    exported = export(recording, tmp_path / "a.csv")
    rows = table(tmp_path / "a.csv")
    assert (exported.count, exported.unit, exported.frames) == (7, "row", {"cam1": FRAMES})
    found = [(row["frame"], row["face_id"], row["success"]) for row in rows]
    assert found == [
        ("0", "1", "1"),
        ("0", "2", "1"),
        ("1", "1", "1"),
        ("1", "2", "1"),
        ("2", "", "0"),
        ("3", "1", "1"),
        ("3", "2", "1"),
    ]
    assert [float(row["timestamp"]) for row in rows[::2]] == [0, 0.04, 0.08, 0.12]
    face = moving(1, faces=2).faces[1]
    row = rows[3]
    landmarks = [[float(row[f"{axis}_{index}"]) for axis in "xyz"] for index in range(68)]
    np.testing.assert_allclose(landmarks, face.landmarks, atol=6e-4)
    assert [int(row[f"visible_{index}"]) for index in range(68)] == face.visible.tolist()
    assert [float(row[f"head_{axis}"]) for axis in "xyz"] == face.pose.translation.tolist()
    assert (row["stream"], row["session"], row["confidence"]) == ("cam1", "1", "0.875")
    assert rows[4]["x_0"] == rows[4]["pose_Rx"] == ""


@given(st.floats(-3.1, 3.1), st.floats(-1.5, 1.5), st.floats(-3.1, 3.1))
def test_the_angles_are_those_of_which_openface_makes_the_same_rotation(rx, ry, rz):
    # OpenFace's axes: x right, y down, z away; ours have y up and z to the camera.
    flip = np.diag([1.0, -1.0, -1.0])
    angles = openface_angles(flip @ rotation_xyz(rx, ry, rz) @ flip)
    np.testing.assert_allclose(angles, (rx, ry, rz), atol=1e-6)


def test_a_head_that_turns_to_the_right_of_the_picture_has_a_negative_ry():
    nose = rotation_xyz(0, 0.5, 0) @ [0, 0, 1]  # y up, z to the camera
    assert nose[0] > 0
    assert openface_angles(rotation_xyz(0, 0.5, 0))[1] == pytest.approx(-0.5)


def test_parquet_holds_the_same_table_with_types(recording, tmp_path):
    export(recording, tmp_path / "a.csv")
    export(recording, tmp_path / "a.parquet")
    read = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert read.schema.names == list(COLUMNS)
    assert str(read.schema.field("x_0").type) == "float"
    assert str(read.schema.field("wall_ns").type) == "int64"
    for row, same in zip(table(tmp_path / "a.csv"), read.to_pylist(), strict=True):
        for name, text in row.items():
            value = same[name]
            if text == "":
                assert value is None
            elif COLUMNS[name] is str:
                assert value == text
            else:
                assert value == pytest.approx(float(text), abs=6e-4)


def test_parquet_without_pyarrow_says_what_to_install(recording, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'streamprn\[parquet\]'"):
        export(recording, tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


def test_every_frame_is_a_json_line(recording, tmp_path):
    export(recording, tmp_path / "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [(line["seq"], len(line["faces"])) for line in lines] == [(0, 2), (1, 2), (2, 0), (3, 2)]
    assert lines[3]["stamps_ns"]["wall"] == moving(3).frame.wall_ns
    face, given = lines[1]["faces"][0], moving(1).faces[0]
    np.testing.assert_allclose(face["landmarks_xyz"], given.landmarks, atol=6e-4)
    np.testing.assert_allclose(face["quaternion_wxyz"], given.pose.quaternion)
    assert face["visible"] == given.visible.tolist()


def test_a_score_that_is_no_number_is_an_empty_cell_and_null(tmp_path):
    from dataclasses import replace

    result = moving(0)
    result = replace(result, faces=(replace(result.faces[0], score=math.nan),))
    record(tmp_path / "rec", [result], [Kind.FACE])
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        export(tmp_path / "rec", tmp_path / name)
    assert table(tmp_path / "a.csv")[0]["confidence"] == ""
    assert json.loads((tmp_path / "a.jsonl").read_text())["faces"][0]["score"] is None
    column = pyarrow.parquet.read_table(tmp_path / "a.parquet")["confidence"]
    assert column.to_pylist() == [None]


def test_one_face_alone_has_a_row_in_every_frame(recording, tmp_path):
    export(recording, tmp_path / "a.csv", ExportOptions(face=2))
    rows = table(tmp_path / "a.csv")
    assert [(row["face_id"], row["success"]) for row in rows] == [
        ("2", "1"),
        ("2", "1"),
        ("2", "0"),
        ("2", "1"),
    ]


def test_every_second_frame_is_taken_of_each_stream(tmp_path):
    results = [moving(seq, stream=name) for seq in range(5) for name in ("a", "b")]
    record(tmp_path / "rec", results)
    export(tmp_path / "rec", tmp_path / "a.csv", ExportOptions(every=2))
    found = [(row["stream"], row["frame"]) for row in table(tmp_path / "a.csv")]
    assert sorted(found) == [(name, seq) for name in "ab" for seq in "024"]
