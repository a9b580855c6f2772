"""OpenFace's CSV as it happens, read by the csv module."""

import csv
import math

import pytest

from streamprn.apps.export_tables import COLUMNS
from streamprn.bridge.table import Table
from streamprn.errors import InputError
from tests.bridge.conftest import bridged, head
from tests.support.wire import eventually


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_face_of_every_frame_gets_a_row_while_it_happens(source, tmp_path):
    path = tmp_path / "faces.csv"
    second = source.show(head(), id_=2)
    source.show(head(yaw=20), further=[second])
    with bridged(source.publisher.endpoint, lambda _: Table(path), face="all"):
        eventually(lambda: path.exists() and len(rows(path)) > 20)
        source.faces = ()
        eventually(lambda: rows(path)[-1]["success"] == "0")
    found = rows(path)
    assert tuple(found[0]) == tuple(COLUMNS)
    assert {"timestamp", "confidence", "pose_Rx", "pose_Ry", "x_0", "y_67"} <= set(found[0])
    first, other = found[:2]
    assert (first["face_id"], other["face_id"], first["success"]) == ("1", "2", "1")
    assert float(first["confidence"]) == 0.875
    # OpenFace's y axis points down: a turn to the subject's right is ...
    assert abs(float(first["pose_Ry"])) == pytest.approx(math.radians(20), abs=1e-5)
    assert float(first["yaw"]) == 20
    assert first["frame"] == other["frame"]
    frames = [int(row["frame"]) for row in found]
    assert frames == sorted(frames)
    times = [float(row["timestamp"]) for row in found]
    assert times == sorted(times)
    assert times[0] == 0
    # Nothing is left out, as a program that reads tables wants all of it.
    assert set(range(frames[0], frames[-1] + 1)) == set(frames)


def test_one_face_by_its_id(source, tmp_path):
    second = source.show(head(), id_=7)
    source.show(head(), further=[second])
    path = tmp_path / "faces.csv"
    with bridged(source.publisher.endpoint, lambda _: Table(path), face=7):
        eventually(lambda: path.exists() and len(rows(path)) > 3)
    assert {row["face_id"] for row in rows(path)} == {"7"}


def test_a_file_that_exists_is_not_written_over(tmp_path):
    path = tmp_path / "faces.csv"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        Table(path)
    Table(path, replace=True).close()
    assert rows(path) == []


def test_a_folder_that_is_missing_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be written: No such file"):
        Table(tmp_path / "none" / "faces.csv")
