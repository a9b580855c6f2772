"""`streamprn export`, and what `run` and `watch` say of a recording."""

import json
import signal
import time

import pytest

from tests.support.recordings import moving, record


@pytest.fixture
def recording(elsewhere):
    return record(elsewhere / "rec", [moving(seq) for seq in range(4)])[0]


def test_a_recording_becomes_a_file_and_one_line_says_so(streamprn, recording, elsewhere):
    done = streamprn("export", "rec", "a.jsonl", "--every", "2")
    assert (done.code, done.err) == (0, "")
    assert done.out == "a.jsonl: 2 lines of cam1 (4 frames)\n"
    assert len((elsewhere / "a.jsonl").read_text().splitlines()) == 2


def test_the_options_choose_format_and_face(streamprn, recording, elsewhere):
    done = streamprn("export", recording, "faces.txt", "--format", "jsonl", "--face", "1")
    assert done.code == 0
    line = json.loads((elsewhere / "faces.txt").read_text().splitlines()[0])
    assert [face["id"] for face in line["faces"]] == [1]


def test_damage_is_said_and_the_exit_code_is_1(streamprn, recording, elsewhere):
    data = bytearray(recording.read_bytes())
    data[-500:] = bytes(500)
    recording.write_bytes(data)
    done = streamprn("export", "rec", "a.jsonl")
    assert done.code == 1
    assert "left out: " in done.err and "is damaged" in done.err
    assert len((elsewhere / "a.jsonl").read_text().splitlines()) >= 3


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["nowhere", "a.csv"], ["nowhere: no such recording"]),
        (["empty", "a.csv"], ["empty: holds no recording", "streamprn run --record DIR"]),
        (["notes.txt", "a.csv"], ["notes.txt: message 0 is damaged", "not a recording"]),
        (["nothing.sprn", "a.csv"], ["nothing.sprn: holds no frames"]),
        (["rec", "a.xlsx"], ["unknown format 'xlsx'", ".parquet", "--format"]),
        (["rec", "notes.txt", "--format", "csv"], ["notes.txt: exists already", "--replace"]),
        (["rec", "-", "--format", "csv"], ["-: OUT is a file or a folder"]),
        (["rec", "no/a.csv"], ["there is no folder no"]),
        (["rec", "a.csv", "--stream", "x"], ["no stream 'x'", "it has cam1"]),
        (["rec", "a.csv", "--face", "7"], ["no face 7", "its ids are: 1"]),
        (["rec", "a.csv", "--face", "x"], ["--face: got 'x', expected a whole number"]),
        (["rec", "a.csv", "--every", "0"], ["--every: got '0'"]),
        (["rec", "a.glb", "--max-frames", "2"], ["has 4 frames, and 2 are allowed", "--every 2"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(streamprn, recording, elsewhere, arguments, parts):
    (elsewhere / "empty").mkdir()
    (elsewhere / "notes.txt").write_text("these are notes")
    (elsewhere / "nothing.sprn").touch()
    before = sorted(elsewhere.rglob("*"))
    done = streamprn("export", *arguments)
    assert done.code == 2
    for part in parts:
        assert part in done.error
    assert sorted(elsewhere.rglob("*")) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_export_that_is_stopped_leaves_nothing(start, elsewhere, number):
    record(elsewhere / "long", [moving(seq) for seq in range(300)])
    process = start("export", "long", "seq")
    deadline = time.monotonic() + 30
    while not list(elsewhere.glob(".seq*/result/cam1")):
        assert time.monotonic() < deadline and process.popen.poll() is None
        time.sleep(0.002)
    code, err, _ = process.signal(number)
    assert (code, err) == (128 + number, "streamprn: stopped before the end\n")
    assert [path.name for path in elsewhere.iterdir()] == ["long"]


@pytest.mark.parametrize(
    ("command", "place"),
    [("watch", "file"), ("watch", "folder"), ("watch", "folders"), ("run", "folders")],
)
def test_run_and_watch_say_what_reads_a_recording(streamprn, recording, elsewhere, command, place):
    folders = elsewhere / "all"
    folders.mkdir()
    recording.parent.rename(folders / "cam1")
    path = {"file": folders / "cam1" / recording.name, "folder": folders / "cam1"}.get(
        place, folders
    )
    done = streamprn(command, path)
    assert done.code == 2
    assert f"{path}: is a recording" in done.error
    assert f"`streamprn replay {path}`" in done.error
    assert f"`streamprn export {path} OUT`" in done.error


def test_a_folder_of_pictures_with_a_recording_in_it_is_one_of_pictures(recording):
    from streamprn.config.address import SourceKind, resolve

    (recording.parent / "a.png").touch()
    assert resolve(str(recording.parent)).kind is SourceKind.FOLDER


@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_recording_is_no_source(recording, place):
    from streamprn.config.address import resolve
    from streamprn.errors import InputError

    path = recording if place == "file" else recording.parent
    with pytest.raises(InputError, match=r"is a recording .*streamprn replay"):
        resolve(str(path))
