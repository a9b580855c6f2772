"""Recordings that lie, and what reading them costs."""

from __future__ import annotations

import contextlib
import io
import os
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamprn.errors import InputError, WireError
from streamprn.records import Kind
from streamprn.wire import record
from streamprn.wire.record import Recorder, read
from streamprn.wire.segments import recordings
from tests.support.wire import make_result, make_topology

FRAMES = 4


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """The topology and four frames, as the recorder writes them."""
    folder = tmp_path_factory.mktemp("recording")
    recorder = Recorder(folder, make_topology(20), (Kind.FACE, Kind.MESH))
    for seq in range(FRAMES):
        recorder.take(make_result(seq=seq, vertices=20), 77)
    recorder.close()
    (path,) = recordings(folder)["cam1"]
    return path


@pytest.mark.parametrize("asked", [(), (Kind.BLENDSHAPES,)])
def test_blendshapes_are_recorded_where_they_are_asked_for(tmp_path, asked):
    recorder = Recorder(tmp_path, make_topology(20), (Kind.FACE, *asked))
    result = make_result(vertices=20)
    recorder.take(result, 77)
    recorder.close()
    topology, message = read(recordings(tmp_path)["cam1"][0])
    assert (topology.kind, message.kind) == (Kind.TOPOLOGY, Kind.FACE)
    found = message.faces[0].blendshapes
    expected = result.faces[0].blendshapes
    assert np.array_equal(found, expected) if asked else found is None


def test_blendshapes_alone_are_refused_since_they_stand_in_other_messages(tmp_path):
    with pytest.raises(InputError, match="blendshapes stand in the messages of other kinds"):
        Recorder(tmp_path, make_topology(20), (Kind.BLENDSHAPES,))


def starts(path) -> list[int]:
    """Where each message begins, and the end of the last."""
    unpacker = msgpack.Unpacker(io.BytesIO(path.read_bytes()))
    return [0, *(unpacker.tell() for _ in unpacker)]


def messages_and_error(path):
    found = []
    try:
        found.extend(read(path))
    except WireError as error:
        return found, str(error)
    return found, ""


def test_a_recording_may_have_many_parts_and_any_form_of_lengths(recording, tmp_path):
    def loose(parts):
        """The longest form that MessagePack has for each length."""
        parts = parts[:-1]  # and without the checksum, as older recordings are
        packed = b"\xdd" + len(parts).to_bytes(4, "big")
        return packed + b"".join(b"\xc6" + len(part).to_bytes(4, "big") + part for part in parts)

    other = tmp_path / "other.sprn"
    with recording.open("rb") as file:
        other.write_bytes(b"".join(loose(parts) for parts in msgpack.Unpacker(file)))
    assert other.stat().st_size > recording.stat().st_size
    kinds = [message.kind for message in read(recording)]
    assert kinds == [Kind.TOPOLOGY] + [Kind.FACE, Kind.MESH] * FRAMES
    for one, same in zip(read(recording), read(other), strict=True):
        assert (one.kind, one.seq) == (same.kind, same.seq)
        if one.kind is Kind.MESH:
            assert np.array_equal(one.vertices[1], same.vertices[1])


def test_wherever_a_recording_is_cut_off_it_gives_what_is_whole(recording, tmp_path, caplog):
    begins, whole = starts(recording), recording.read_bytes()
    cut = tmp_path / "cut.sprn"
    for size in {*range(0, len(whole), 97), *begins, begins[3] + 1, begins[3] + 2, begins[3] + 3}:
        caplog.clear()
        cut.write_bytes(whole[:size])
        complete = sum(begin <= size for begin in begins) - 1
        found, error = messages_and_error(cut)
        assert (len(found), error) == (max(complete, 0), "")
        assert ("cut off" in caplog.text) == (size not in begins)


@given(data=st.data())
def test_any_changed_byte_is_one_error_with_the_number_or_none(recording, tmp_path_factory, data):
    begins, whole = starts(recording), bytearray(recording.read_bytes())
    number = data.draw(st.integers(0, len(begins) - 2))
    at = data.draw(st.integers(begins[number], begins[number + 1] - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    spoilt = tmp_path_factory.mktemp("spoilt") / "spoilt.sprn"
    spoilt.write_bytes(whole)
    found, error = messages_and_error(spoilt)
    assert len(found) >= number
    assert not error or f"message {len(found)} is damaged" in error


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (b"\xc1", "is damaged"),
        (b"\x93\xc4\x01a\xa1b\xc4\x00", "is damaged: 1 exceeds max_str_len"),
        (b"\x91\x81\xc4\x01a\xc0", "is damaged: 1 exceeds max_map_len"),
        (b"\x91" * 5000, "is damaged: 1 exceeds max_array_len"),
        (b"\x92\x05\xc4\x01a", "is damaged: part 0 is no binary"),
        (b"\x92\xc4\x01a\x05", "is damaged: its checksum is wrong"),
        (b"\xdd\xff\xff\xff\xff" + bytes(100), "is damaged: 4294967295 parts"),
        (b"\x92\xc4\x09cam1/face\xc4\x01a", "is damaged"),
    ],
)
def test_damage_is_named_with_the_number_of_its_message(recording, tmp_path, spoil, reason):
    spoilt = tmp_path / "spoilt.sprn"
    begins, whole = starts(recording), recording.read_bytes()
    spoilt.write_bytes(whole[: begins[3]] + spoil + whole[begins[3] :])
    found, error = messages_and_error(spoilt)
    assert len(found) == 3
    assert f"spoilt.sprn: message 3 {reason}" in error


@pytest.mark.parametrize("head", [b"\xc6\xff\xff\xff\xff", b"\xc6\x0f\xff\xff\xff"])
@pytest.mark.parametrize("array", [b"\x92", b"\xdd\x00\x00\x10\x00"])
def test_a_huge_declared_length_takes_no_memory(tmp_path, array, head):
    path = tmp_path / "huge.sprn"
    path.write_bytes(array + head + b"few")
    tracemalloc.start()
    try:
        with contextlib.suppress(WireError):
            assert not list(read(path))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_part_beyond_the_bound_is_refused_and_takes_no_more_memory_than_the_bound(
    recording, tmp_path, monkeypatch
):
    monkeypatch.setattr(record, "MAX_PART_BYTES", 1 << 20)
    path = tmp_path / "long.sprn"
    with path.open("wb") as file:
        file.write(recording.read_bytes() + b"\x92\xc6\x7f\xff\xff\xff")
        os.truncate(path, 1 << 30)
        tracemalloc.start()
        try:
            found, error = messages_and_error(path)
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()
    assert len(found) == 1 + 2 * FRAMES
    assert f"message {len(found)} is damaged" in error


def test_a_message_beyond_the_bound_is_refused(recording, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "MAX_MESSAGE_BYTES", 1 << 20)
    path = tmp_path / "long.sprn"
    part = b"\xc6" + (400_000).to_bytes(4, "big") + bytes(400_000)
    path.write_bytes(recording.read_bytes() + b"\x94" + part * 4)
    assert "is damaged: more than 1 MiB" in messages_and_error(path)[1]


class CountingFile(io.BytesIO):
    count = 0

    def read(self, size=-1):
        data = super().read(size)
        self.count += len(data)
        return data


@pytest.mark.parametrize("messages", [1, 100_000])
def test_damage_behind_50_megabytes_is_found_by_reading_each_byte_once(messages):
    message = msgpack.packb([b"cam1/mesh", bytes(50_000_000 // messages)])
    file = CountingFile(message * messages + b"\x91\xa1a")
    with pytest.raises(ValueError, match="max_str_len"):
        for _ in record._split(file):
            pass
    assert file.count == len(file.getvalue())
