"""Which files a recording is made of, what damage leaves, and how the result comes to its place."""

from __future__ import annotations

import csv
import io
import json
import random
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest

from streamprn.apps.export_recording import FORMATS, ExportOptions, export, format_of
from streamprn.apps.recordings import Recording, find
from streamprn.errors import InputError
from streamprn.records import Kind
from tests.support.recordings import moving, record

KINDS = (Kind.FACE,)


@pytest.fixture(scope="module")
def segments(tmp_path_factory) -> list[bytes]:
    """Three files of a stream, four frames each."""
    folder = tmp_path_factory.mktemp("segments")
    made = []
    for part in range(3):
        results = [moving(seq) for seq in range(4 * part, 4 * part + 4)]
        (path,) = record(folder / str(part), results, KINDS)
        made.append(path.read_bytes())
    return made


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_recording_is_a_file_a_folder_or_a_folder_of_folders(segments, tmp_path):
    names = [f"20260101T00000{part}-{part}.sprn" for part in range(3)]
    parts = dict(zip(names, segments, strict=True))
    flat = write(tmp_path / "flat", dict(reversed(parts.items())))
    deep = write(tmp_path / "deep", {f"cam1/{name}": data for name, data in parts.items()})
    write(deep, {"index.json": b"{}", "cam1/notes.txt": b"", "empty/x.txt": b""})
    assert [path.name for path in find(flat)] == [path.name for path in find(deep)] == names
    for number, path in enumerate((flat, deep, deep / "cam1")):
        out = tmp_path / f"{number}.csv"
        export(path, out)
        assert [int(row["frame"]) for row in rows(out)] == list(range(12))
        assert [float(row["timestamp"]) for row in rows(out)] == pytest.approx(
            [seq / 25 for seq in range(12)]
        )
    export(flat / names[1], tmp_path / "one.csv")
    assert [row["frame"] for row in rows(tmp_path / "one.csv")] == list("4567")


def test_where_the_publisher_started_again_a_session_begins_and_time_goes_on(tmp_path):
    again = [moving(seq, start_s=2000) for seq in range(3)]
    first = [moving(seq) for seq in range(5)]
    old, new = tmp_path / "old", tmp_path / "new"
    files = [*record(old, first, KINDS), *record(new, again, KINDS)]
    folder = write(
        tmp_path / "rec", {f"{n}.sprn": path.read_bytes() for n, path in enumerate(files)}
    )
    frames = list(Recording(find(folder)).frames())
    assert [(frame.session, frame.seq) for frame in frames] == [
        *((1, seq) for seq in range(5)),
        *((2, seq) for seq in range(3)),
    ]
    times = [frame.time_s for frame in frames]
    assert times[5] - times[4] == pytest.approx(1000 - 4 / 25)
    assert times == sorted(times)


def test_a_source_read_faster_than_it_plays_keeps_its_own_time(tmp_path):
    results = []
    for seq in range(4):  # a millisecond apart by the clock, 40 ms by the source
        result = moving(seq)
        frame = replace(result.frame, captured_ns=10**9 + seq * 10**6, pts_ns=seq * 40_000_000)
        results.append(replace(result, frame=frame))
    record(tmp_path / "rec", results, KINDS)
    times = [frame.time_s for frame in Recording(find(tmp_path / "rec")).frames()]
    assert times == pytest.approx([0, 0.04, 0.08, 0.12])


def test_what_is_whole_of_a_damaged_recording_is_given_and_the_rest_named(segments, tmp_path):
    spoilt = bytearray(segments[1])
    spoilt[-200:] = bytes(200)
    folder = write(
        tmp_path / "rec",
        {"a.sprn": segments[0], "b.sprn": bytes(spoilt), "c.sprn": segments[2][:-100]},
    )
    exported = export(folder, tmp_path / "a.csv")
    assert [int(row["frame"]) for row in rows(tmp_path / "a.csv")] == [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        8,
        9,
        10,
    ]
    assert len(exported.problems) >= 1
    assert "b.sprn" in exported.problems[0]


def test_a_stream_that_is_not_there_is_named_with_those_that_are(tmp_path):
    record(tmp_path / "rec", [moving(0, stream="door"), moving(0, stream="yard")], KINDS)
    with pytest.raises(InputError, match=r"no stream 'dor' .*it has door, yard"):
        export(tmp_path / "rec", tmp_path / "a.csv", ExportOptions(stream="dor"))
    export(tmp_path / "rec", tmp_path / "a.csv", ExportOptions(stream="yard"))
    assert [row["stream"] for row in rows(tmp_path / "a.csv")] == ["yard"]


def test_a_face_that_is_not_there_is_named_with_those_that_are(tmp_path):
    record(tmp_path / "rec", [moving(0, faces=2)], KINDS)
    with pytest.raises(InputError, match=r"no face 9 .*its ids are: 1, 2"):
        export(tmp_path / "rec", tmp_path / "a.csv", ExportOptions(face=9))
    assert [path.name for path in tmp_path.iterdir()] == ["rec"]


def test_what_is_there_is_replaced_only_on_request_and_by_a_whole_result(segments, tmp_path):
    source = write(tmp_path / "rec", {"a.sprn": segments[0]})
    out = tmp_path / "a.csv"
    out.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export(source, out)
    with pytest.raises(InputError, match="no face 9"):
        export(source, out, ExportOptions(face=9, replace=True))
    assert out.read_text() == "mine"
    export(source, out, ExportOptions(replace=True))
    assert len(rows(out)) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "rec"]


def test_a_folder_is_replaced_only_where_an_export_made_it(tmp_path):
    record(tmp_path / "rec", [moving(0)])
    out = tmp_path / "seq"
    write(out, {"thesis.txt": b"dear"})
    with pytest.raises(InputError, match="is no folder that `streamprn export` made"):
        export(tmp_path / "rec", out, ExportOptions(replace=True))
    assert (out / "thesis.txt").read_bytes() == b"dear"
    with pytest.raises(InputError, match="is a folder"):
        export(tmp_path / "rec", out, ExportOptions(format="csv", replace=True))
    shutil.rmtree(out)
    export(tmp_path / "rec", out)
    (out / "cam1" / "old").touch()
    export(tmp_path / "rec", out, ExportOptions(replace=True))
    assert json.loads((out / "export.json").read_text())["meshes"]
    assert not (out / "cam1" / "old").exists()


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.glb", "seq"])
def test_a_disk_that_fills_up_leaves_nothing_and_is_one_line(tmp_path, name):
    record(tmp_path / "rec", [moving(seq) for seq in range(8)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))
    try:
        with pytest.raises(InputError, match=r"cannot be written: .*File too large"):
            export(tmp_path / "rec", tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["rec"]


def test_the_suffix_says_the_format_and_an_unknown_one_is_refused():
    assert format_of(Path("a.CSV")) == "csv"
    assert format_of(Path("folder")) == format_of(Path("folder.obj")) == "obj"
    assert format_of(Path("a.txt"), "jsonl") == "jsonl"
    with pytest.raises(InputError, match=r"unknown format 'xlsx' \(end the name in one of .jsonl"):
        format_of(Path("a.xlsx"))


ODD = (0, -1, 2**63, 2**64 - 1, float("nan"), float("inf"), 1e308, 1e-320, "", [], None, {})


def spoilt(value, rng: random.Random):
    """The same data with something odd somewhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        return value | {key: spoilt(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        index = rng.randrange(len(value))
        return [*value[:index], spoilt(value[index], rng), *value[index + 1 :]]
    return rng.choice(ODD)


@pytest.mark.parametrize("seed", range(12))
def test_odd_values_in_a_recording_are_written_left_out_or_refused_in_one_line(tmp_path, seed):
    from tests.apps.test_export_meshes import check_rules
    from tests.apps.test_export_meshes import read as read_glb

    rng = random.Random(seed)
    (path,) = record(tmp_path / "rec", [moving(seq, faces=2) for seq in range(3)])
    # Without the checksums, which would find what is spoilt.
    messages = [message[:-1] for message in msgpack.Unpacker(io.BytesIO(path.read_bytes()))]
    for _ in range(3):
        message = rng.choice(messages)
        message[1] = msgpack.packb(spoilt(msgpack.unpackb(message[1]), rng))
    path.write_bytes(b"".join(map(msgpack.packb, messages)))
    for name in FORMATS:
        out = tmp_path / f"a.{name}"
        try:
            exported = export(path, out)
        except InputError as error:
            assert "\n" not in str(error)
            assert not out.exists()
            continue
        assert exported.count > 0
        if name == "glb":
            check_rules(read_glb(out))
