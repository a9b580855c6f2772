"""Recordings: written beside publication, read back as messages."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest

from streamprn.config import Config, SourceConfig
from streamprn.errors import InputError, WireError
from streamprn.live.pipeline import Pipeline
from streamprn.records import Kind
from streamprn.wire.record import Recorder, read
from streamprn.wire.segments import index, recordings
from tests.live.conftest import Collector
from tests.live.test_streams import running
from tests.support.wire import eventually


def the_file(folder):
    (path,) = recordings(folder)["cam"]
    return path


@pytest.fixture
def recorded(engine, detector, clips, tmp_path):
    """Ten frames of a still face: the folder, and what the pipeline gave."""
    config = Config.from_mapping(
        {
            "sources": [{"uri": clips.still().uri, "name": "cam", "realtime": False}],
            "publish": {"bind": "tcp://127.0.0.1:*"},
        }
    )
    folder = tmp_path / "recordings"
    recorder = Recorder(folder, engine.topology, (Kind.FACE, Kind.MESH))
    seen = Collector()
    with Pipeline(config, engine=engine, detector=detector, sinks=[recorder, seen]) as pipeline:
        pipeline.run(max_frames=10)
    return folder, seen


def test_a_recording_gives_back_the_topology_and_every_face_and_mesh(recorded, engine):
    folder, seen = recorded
    messages = list(read(the_file(folder)))
    assert [message.kind for message in messages] == [Kind.TOPOLOGY] + [Kind.FACE, Kind.MESH] * 10
    assert np.array_equal(messages[0].triangles, engine.topology.triangles)
    for result, face, mesh in zip(seen.results, messages[1::2], messages[2::2], strict=True):
        (truth,) = result.faces
        assert np.array_equal(mesh.vertices[truth.id], truth.vertices)
        assert face.faces[0].pose.yaw == pytest.approx(truth.pose.yaw)


def test_a_recording_that_was_cut_off_gives_what_is_whole(recorded):
    folder, _ = recorded
    whole = the_file(folder).read_bytes()
    cut = folder / "cut.sprn"
    cut.write_bytes(whole[: len(whole) - 1000])
    assert len(list(read(cut))) == 20


def test_the_file_of_a_removed_stream_is_closed_at_once(engine, detector, clips, tmp_path):
    def open_files():
        """Of this process, in the folder."""
        links = []
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(os.readlink(link))
        return [link for link in links if link.startswith(str(tmp_path)) and "sprn" in link]

    record = {"dir": str(tmp_path)}
    with running(engine, detector, record=record) as pipeline:
        for name in ("door", "yard"):
            pipeline.streams.add(SourceConfig(clips.moving(frames=90).uri, name=name, loop=True))
        eventually(lambda: len(open_files()) == 2, 20)
        pipeline.streams.remove("door")
        eventually(lambda: len(open_files()) == 1, 2)
        (left,) = open_files()
        assert "yard" in left
        # It is noted in the index right after it was closed.
        eventually(lambda: index(tmp_path / "door"), 2)
        (told,) = index(tmp_path / "door")
        assert told.messages > 1
        messages = list(read(tmp_path / "door" / told.file))
        assert len(messages) == told.messages
        # The name may come again, into a file of its own.
        pipeline.streams.add(SourceConfig(clips.moving(frames=90).uri, name="door", loop=True))
        eventually(lambda: len(recordings(tmp_path)["door"]) == 2, 20)


def test_what_is_no_recording_is_refused(tmp_path):
    other = tmp_path / "other.sprn"
    other.write_text("hello")
    with pytest.raises(WireError, match="not a recording"):
        list(read(other))
    with pytest.raises(InputError, match="cannot be read"):
        list(read(tmp_path / "missing.sprn"))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, engine):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be used"):
        Recorder(tmp_path / "file" / "below", engine.topology)
