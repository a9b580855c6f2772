"""The configuration file again: only what differs in it is touched."""

from __future__ import annotations

from functools import partial

import pytest

from streamprn.config import load_config
from tests.serve.conftest import PICTURE, running
from tests.support.wire import eventually

BASE = "publish: {bind: 'tcp://127.0.0.1:*'}\nhttp: {bind: '127.0.0.1:0'}\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "c.yaml"

    def write(*sources, more=""):
        lines = "".join(f"- {source}\n" for source in sources)
        path.write_text(f"{BASE}{more}sources:\n{lines}" if lines else f"{BASE}{more}")
        return path

    write(f"{{uri: '{PICTURE}', name: a}}", f"{{uri: '{PICTURE}', name: b}}")
    return write, path


@pytest.fixture
def one(engine, detector, file):
    _, path = file
    sources = load_config(path).to_mapping()["sources"]
    read_again = partial(load_config, path)
    with running(engine, detector, read_again=read_again, sources=sources) as found:
        yield found


def test_what_the_file_adds_removes_and_changes_is_done_and_the_rest_goes_on(one, file):
    write, _ = file
    call, streams = one.client, one.pipeline.streams
    call("POST", "/streams", {"uri": PICTURE, "name": "mine"})
    readers = {stream.name: stream.reader for stream in streams}
    write(
        f"{{uri: '{PICTURE}', name: a}}",
        f"{{uri: '{PICTURE}', name: b, max_fps: 9}}",
        f"{{uri: '{PICTURE}', name: c}}",
    )
    done = call("POST", "/reload")
    assert done.status == 200
    assert done.json == {
        "added": ["c"], "removed": [], "changed": ["b"], "unchanged": ["a"], "needs_restart": [],
    }  # fmt: skip
    assert set(streams.names) == {"a", "b", "c", "mine"}
    assert streams.find("a").reader is readers["a"]
    assert streams.find("mine").reader is readers["mine"]
    assert streams.find("b").source.max_fps == 9
    write(f"{{uri: '{PICTURE}', name: c}}")
    assert call("POST", "/reload").json["removed"] == ["a", "b"]
    assert set(streams.names) == {"c", "mine"}
    assert call("POST", "/reload").json["unchanged"] == ["c"]


def test_what_was_changed_by_hand_is_again_as_the_file_says(one):
    call = one.client
    call("PATCH", "/streams/a", {"max_fps": 3})
    call("DELETE", "/streams/b")
    done = call("POST", "/reload").json
    assert (done["added"], done["changed"]) == (["b"], ["a"])
    assert call("GET", "/streams/a").json["source"]["max_fps"] is None


def test_a_file_with_an_error_changes_nothing(one, file):
    write, path = file
    for source, part in (
        ("{uri: testsrc2, name: x, lop: true}", "c.yaml:4: sources.0.lop: unknown key"),
        ("{uri: /no/such.mp4, name: x}", "no such file"),
    ):
        write(source)
        problem = one.client.problem(422, "wrong-value", "POST", "/reload")
        assert part in problem["detail"]
        assert one.pipeline.streams.names == ("a", "b")
    path.unlink()
    one.client.problem(422, "wrong-value", "POST", "/reload")
    assert one.pipeline.streams.names == ("a", "b")


def test_settings_that_need_a_restart_are_named_each_time(one, file):
    write, _ = file
    sources = (f"{{uri: '{PICTURE}', name: a}}", f"{{uri: '{PICTURE}', name: b}}")
    write(*sources, more="detect: {max_faces: 2}\nlog: {level: debug}\n")
    for _ in range(2):
        assert one.client("POST", "/reload").json["needs_restart"] == [
            "detect.max_faces",
            "log.level",
        ]


def test_without_a_file_there_is_nothing_to_reload(served):
    problem = served.client.problem(409, "no-configuration", "POST", "/reload")
    assert "--config FILE" in problem["next_step"]


def test_a_reload_that_is_asked_for_by_a_signal_is_done_and_logged(one, file, caplog):
    write, _ = file
    write(f"{{uri: '{PICTURE}', name: a}}")
    one.service.reload()
    eventually(lambda: one.pipeline.streams.names == ("a",))
    write("{uri: gopher://x, name: a}")
    one.service.reload()
    eventually(lambda: "nothing was reloaded" in caplog.text)
    assert one.pipeline.streams.names == ("a",)
