"""The files of a recording: bounds, retention, a full disk, a killed process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from streamprn.errors import WireError
from streamprn.records import Kind
from streamprn.wire import record
from streamprn.wire.record import Recorder, read
from streamprn.wire.segments import Limits, index, recordings
from tests.support.wire import eventually, make_result, make_topology


def recorder(folder, **limits):
    return Recorder(folder, make_topology(20), (Kind.FACE,), limits=Limits(**limits))


def write(recorder, frames, first=0, stream="cam1"):
    for seq in range(first, first + frames):
        recorder.take(make_result(stream, seq=seq), 77)


def numbers(paths):
    """The numbers of the frames in some files, in order."""
    return [m.seq for path in paths for m in read(path) if m.kind is Kind.FACE]


def test_a_second_recording_goes_beside_the_first(tmp_path):
    for first in (0, 10):
        one = recorder(tmp_path)
        write(one, 10, first)
        one.close()
    paths = recordings(tmp_path)["cam1"]
    assert len(paths) == 2
    assert numbers(paths) == list(range(20))


def test_segments_end_at_a_size_and_each_can_be_read_alone(tmp_path):
    one = recorder(tmp_path, segment_bytes=30_000)
    write(one, 60)
    one.close()
    paths = recordings(tmp_path)["cam1"]
    assert len(paths) > 3
    assert numbers(paths) == list(range(60))
    for path in paths:
        assert next(read(path)).kind is Kind.TOPOLOGY
        assert path.stat().st_size < 40_000


def test_segments_end_at_an_age(tmp_path):
    one = recorder(tmp_path, segment_s=0.2)
    for seq in range(6):
        write(one, 1, seq)
        time.sleep(0.1)
    one.close()
    assert 2 <= len(recordings(tmp_path)["cam1"]) <= 5


def test_the_index_tells_of_every_closed_segment(tmp_path):
    one = recorder(tmp_path, segment_bytes=30_000)
    write(one, 30)
    one.close()
    paths = recordings(tmp_path)["cam1"]
    told = index(tmp_path / "cam1")
    assert [info.file for info in told] == [path.name for path in paths]
    assert [info.bytes for info in told] == [path.stat().st_size for path in paths]
    assert told[0].first_seq == 0
    assert told[-1].last_seq == 29
    assert all(a.last_seq + 1 == b.first_seq for a, b in pairwise(told))
    assert all(0 < info.first_wall_ns <= info.last_wall_ns for info in told)


def test_the_oldest_segments_go_where_a_size_is_set(tmp_path):
    one = recorder(tmp_path, segment_bytes=30_000, keep_bytes=100_000)
    write(one, 200)
    one.close()
    paths = recordings(tmp_path)["cam1"]
    assert sum(path.stat().st_size for path in paths) < 140_000
    assert numbers(paths)[-1] == 199
    assert [info.file for info in index(tmp_path / "cam1")] == [path.name for path in paths]


def test_segments_go_where_an_age_is_set(tmp_path):
    one = recorder(tmp_path)
    write(one, 5)
    one.close()
    (old,) = recordings(tmp_path)["cam1"]
    os.utime(old, (1, 1))
    one = recorder(tmp_path, keep_s=3600)
    write(one, 5, first=5)
    one.close()
    (left,) = recordings(tmp_path)["cam1"]
    assert numbers([left]) == list(range(5, 10))


def test_segments_of_streams_that_are_no_more_go_at_an_age_too(tmp_path):
    one = recorder(tmp_path)
    for stream in ("gone", "young", "noted"):
        write(one, 5, stream=stream)
    one.close()
    for stream in ("gone", "noted"):
        os.utime(recordings(tmp_path)[stream][0], (1, 1))
    (tmp_path / "noted" / "mine.sprn").write_bytes(b"x")
    os.utime(tmp_path / "noted" / "mine.sprn", (1, 1))
    one = recorder(tmp_path, keep_s=3600)
    write(one, 5)
    try:
        eventually(lambda: not (tmp_path / "gone").exists() and "cam1" in recordings(tmp_path))
    finally:
        one.close()
    assert {name: len(paths) for name, paths in recordings(tmp_path).items()} == {
        "cam1": 1,
        "noted": 1,
        "young": 1,
    }
    assert [path.name for path in recordings(tmp_path)["noted"]] == ["mine.sprn"]
    assert index(tmp_path / "young")
    assert not index(tmp_path / "noted")


def test_the_oldest_segments_of_all_streams_go_where_a_total_is_set(tmp_path):
    one = recorder(tmp_path, segment_bytes=30_000)
    for stream in ("first", "second", "third"):
        write(one, 60, stream=stream)
    one.close()
    for age, stream in enumerate(("third", "second", "first")):
        for path in recordings(tmp_path)[stream]:
            os.utime(path, (1_000_000 - 1000 * age,) * 2)
    size = sum(path.stat().st_size for path in recordings(tmp_path)["third"])
    one = recorder(tmp_path, keep_total_bytes=size + 60_000)
    write(one, 5)
    try:
        eventually(lambda: "first" not in recordings(tmp_path))
    finally:
        one.close()
    left = recordings(tmp_path)
    assert numbers(left["third"]) == list(range(60))
    assert numbers(left["cam1"]) == list(range(5))
    assert 0 < len(left["second"]) < len(left["third"])
    assert numbers(left["second"])[-1] == 59


@pytest.mark.parametrize("limits", [{"keep_s": 1e-9}, {"keep_total_bytes": 1}])
def test_the_segment_that_is_written_never_goes(tmp_path, monkeypatch, limits):
    monkeypatch.setattr(record, "RETIRE_S", 0.0)
    one = recorder(tmp_path, **limits)
    write(one, 5)
    time.sleep(2.5 * record.CARE_S)
    write(one, 5, first=5)
    one.close()
    (left,) = recordings(tmp_path)["cam1"]
    assert numbers([left]) == list(range(10))


def test_each_stream_has_a_folder_of_its_own(tmp_path):
    one = recorder(tmp_path)
    for stream in ("door", "yard"):
        write(one, 3, stream=stream)
    one.close()
    assert {name: numbers(paths) for name, paths in recordings(tmp_path).items()} == {
        "door": [0, 1, 2],
        "yard": [0, 1, 2],
    }


def test_a_stream_that_was_removed_is_closed_after_what_waits_of_it(tmp_path):
    one = recorder(tmp_path)
    write(one, 20)
    write(one, 5, stream="other")
    one.forget("cam1")
    one.forget("unknown")
    eventually(lambda: len(index(tmp_path / "cam1")) == 1, 2)
    assert numbers(recordings(tmp_path)["cam1"]) == list(range(20))
    assert index(tmp_path / "other") == []
    write(one, 3, first=20)
    one.close()
    assert [info.last_seq for info in index(tmp_path / "cam1")] == [19, 22]


def test_one_changed_byte_is_found(tmp_path):
    one = recorder(tmp_path)
    write(one, 5)
    one.close()
    (path,) = recordings(tmp_path)["cam1"]
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    with pytest.raises(WireError, match="message 5 is damaged"):
        list(read(path))


def test_a_killed_recorder_leaves_whole_messages(tmp_path):
    code = (
        "import sys, os, pathlib; from tests.wire.test_segments import recorder, write\n"
        "one = recorder(pathlib.Path(sys.argv[1])); write(one, 20)\n"
        "while one.statistics().frames < 20: pass\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -9
    assert numbers(recordings(tmp_path)["cam1"]) == list(range(20))


FULL = """
import logging, pathlib, resource, sys, time
from streamprn.wire import record
from tests.wire.test_segments import recorder, write
logging.basicConfig(format="%(message)s")
record.RETRY_S = 0.2
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
limit(40_000)
one = recorder(pathlib.Path(sys.argv[1]))
began = time.monotonic()
write(one, 30)
assert time.monotonic() - began < 1
while one.statistics().lost + one.statistics().frames < 30: time.sleep(0.01)
stopped = one.statistics()
assert stopped.trouble and 0 < stopped.frames < 30, stopped
limit(resource.RLIM_INFINITY)
time.sleep(0.25)
write(one, 10, first=30)
one.close()
print(stopped.frames, one.statistics().lost, repr(one.statistics().trouble))
"""


def test_a_full_disk_stops_the_recording_alone_and_it_goes_on_when_there_is_room(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    frames, lost, trouble = done.stdout.split()
    assert int(frames) + int(lost) == 30
    assert trouble == "''"
    assert done.stderr.count("recording stopped: File too large") == 1
    assert f"recording goes on; {lost} frames are missing" in done.stderr
    found = numbers(recordings(tmp_path)["cam1"])
    assert found == [*range(int(frames)), *range(30, 40)]


@pytest.mark.timed
def test_a_slow_disk_loses_frames_of_the_recording_and_delays_none(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(record, "WAITING_BYTES", 20_000)
    one = recorder(tmp_path)
    write(one, 1)
    eventually(lambda: one.statistics().frames == 1)
    lock = one._changed
    with lock:  # the writer gets nothing meanwhile
        began = time.monotonic()
        write(one, 50, first=1)
        assert time.monotonic() - began < 1
        assert one.statistics().lost > 0
    one.close()
    statistics = one.statistics()
    assert statistics.frames + statistics.lost == 51
    assert caplog.text.count("too slow") == 1
