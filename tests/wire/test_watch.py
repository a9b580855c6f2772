"""Watching a publisher: what is shown, and what it costs the publisher."""

import io
import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from streamprn import Publisher
from streamprn.apps import watch
from streamprn.records import BLENDSHAPES, Kind, SourceState, SourceStatus
from streamprn.wire import decode, encode_faces, encode_frame, encode_status
from tests.support.wire import make_result, make_topology, with_seq


@pytest.fixture
def streams():
    """Two streams at 50 frames a second; a set of the kinds that were wanted lately."""
    stop = threading.Event()
    with Publisher("tcp://127.0.0.1:*", topology=make_topology()) as publisher:
        publisher.publish_status(SourceStatus("cam1", SourceState.LIVE))
        publisher.publish_status(SourceStatus("cam2", SourceState.STALLED, "no frame for 3 s"))
        template = make_result("cam1", faces=2)

        def publish() -> None:
            seq = 0
            while not stop.wait(0.02):
                now = time.monotonic_ns()
                frame = replace(template.frame, captured_ns=now)
                publisher.publish(with_seq(replace(template, frame=frame), seq))
                seq += 1

        thread = threading.Thread(target=publish)
        thread.start()
        yield publisher
        stop.set()
        thread.join()


def test_json_lines_tell_everything_but_the_arrays(streams):
    out = io.StringIO()
    assert watch.run(streams.endpoint, ["cam1/"], json_lines=True, max_messages=12, out=out) == 12
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(lines) == 12
    by_kind = {line["kind"]: line for line in lines}
    assert {"face", "mesh", "depth", "texture", "image"} <= set(by_kind)
    face = by_kind["face"]
    assert face["stream"] == "cam1"
    assert 0 <= face["age_ms"] < 5000
    assert face["frame_wh"] == [32, 24]
    assert face["spans_ms"] == {"decode": 0.001, "network": 0.002}
    assert [one["id"] for one in face["faces"]] == [1, 2]
    assert face["faces"][0]["yaw"] == 11.5
    assert np.shape(face["faces"][0]["landmarks_xyz"]) == (68, 3)
    assert by_kind["mesh"]["vertices"] == {"1": 50, "2": 50}
    assert by_kind["depth"]["depth"] == [24, 32]


def test_json_has_no_nan():
    result = make_result()
    unknown = replace(result, faces=(replace(result.faces[0], score=float("nan")),))
    parts = encode_frame(Kind.FACE, unknown, encode_faces(unknown, visible=True), 1)
    line = json.dumps(watch.as_json(decode(parts), local=True), allow_nan=False)
    assert json.loads(line)["faces"][0]["score"] is None


def face_message(blendshapes):
    result = make_result()
    given = replace(result, faces=(replace(result.faces[0], blendshapes=blendshapes),))
    faces = encode_faces(given, visible=True, blendshapes=True)
    return decode([bytes(part) for part in encode_frame(Kind.FACE, given, faces, 1)])


def coefficients(**named):
    return np.array([named.get(name, 0.1) for name in BLENDSHAPES], np.float32)


@pytest.mark.parametrize(
    ("blendshapes", "shown"),
    [
        (coefficients(jawOpen=0.625, mouthSmileLeft=0.5), "strongest=jawOpen:0.62"),
        (coefficients(tongueOut=0.99), "strongest=tongueOut:0.99"),
        (coefficients(), ""),
        (np.full(52, np.nan, np.float32), ""),
        (None, ""),
    ],
)
def test_the_strongest_expression_is_shown(blendshapes, shown):
    board = watch.Board(local=True)
    board.note(face_message(blendshapes))
    (line,) = board.lines(0)
    assert line.partition("gaps=0")[2].strip() == shown


def test_json_names_the_expressions():
    line = watch.as_json(face_message(coefficients(jawOpen=0.625)), local=True)
    found = line["faces"][0]["blendshapes"]
    assert tuple(found) == BLENDSHAPES
    assert (found["jawOpen"], found["cheekPuff"]) == (0.625, 0.1)
    assert watch.as_json(face_message(None), local=True)["faces"][0]["blendshapes"] is None


def test_watching_without_topics_finds_the_streams_and_asks_for_the_light_kinds_only(streams):
    seen = []
    out = io.StringIO()
    thread = threading.Thread(
        target=watch.run, args=(streams.endpoint,), kwargs={"duration_s": 1.5, "out": out}
    )
    thread.start()
    while thread.is_alive():
        seen.append(streams.wanted("cam1"))
        time.sleep(0.05)
    thread.join()
    light = {Kind.FACE, Kind.BLENDSHAPES, Kind.GAZE, Kind.STATUS, Kind.STATS}
    assert seen[-3] == light
    assert sum(wanted == light for wanted in seen) > len(seen) / 2


@pytest.mark.timed
def test_without_a_terminal_there_is_a_line_for_each_stream(streams):
    out = io.StringIO()
    assert watch.run(streams.endpoint, duration_s=1.4, out=out) > 20
    last = {line.split()[0]: line for line in out.getvalue().splitlines()}
    assert "cam1 live frame=32x24 fps=" in last["cam1"]
    assert "faces=2 yaw=+11.5 pitch=-7.2 roll=+3.0" in last["cam1"]
    assert "gaps=0" in last["cam1"]
    assert last["cam2"].startswith("cam2 stalled ")
    assert last["cam2"].endswith('cause="no frame for 3 s"')
    assert 25 < float(last["cam1"].partition("fps=")[2].split()[0]) < 75
    assert "\x1b" not in out.getvalue()


def test_on_a_terminal_there_is_a_table(streams):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None)
    watch.run(streams.endpoint, duration_s=0.6, console=console)
    text = out.getvalue()
    for cell in ("stream", "cam1", "cam2", "stalled", "no frame for 3 s", "+11.5", "32x24"):
        assert cell in text


def test_nothing_to_watch_is_said_so():
    out = io.StringIO()
    assert watch.run("tcp://127.0.0.1:1", duration_s=1.2, out=out) == 0
    assert out.getvalue().splitlines() == [
        "waiting for tcp://127.0.0.1:1",
        "nothing came from tcp://127.0.0.1:1",
    ]


@pytest.mark.timed
def test_watching_ends_soon_after_it_is_told_to():
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    watch.run("tcp://127.0.0.1:1", stop=stop, out=io.StringIO())
    assert time.monotonic() - began < 1.0


def test_a_publisher_that_starts_again_with_other_streams_is_found():
    with Publisher("tcp://127.0.0.1:*") as first:
        endpoint = first.endpoint
    out = io.StringIO()
    watcher = threading.Thread(
        target=watch.run, args=(endpoint,), kwargs={"duration_s": 4.5, "out": out}
    )
    with Publisher(endpoint) as publisher:
        publisher.publish_status(SourceStatus("old", SourceState.LIVE))
        watcher.start()
        time.sleep(0.5)
    with Publisher(endpoint) as publisher:
        publisher.publish_status(SourceStatus("new", SourceState.LIVE))
        watcher.join()
    assert {line.split()[0] for line in out.getvalue().splitlines()} >= {"old", "new"}


def test_control_characters_of_a_cause_do_not_reach_the_terminal():
    board = watch.Board(local=True)
    status = SourceStatus("cam1", SourceState.FAILED, "bad \x1b[31mred [bold]x[/bold]\n\x07")
    board.note(decode([bytes(part) for part in encode_status(status, 0, 1, 2)]))
    assert 'cause="bad ?[31mred [bold]x[/bold]??"' in board.lines(0)[0]
    console = Console(file=io.StringIO(), width=120)
    console.print(board.table("t", 0, 120))
    assert "[bold]x[/bold]??" in console.file.getvalue()


def test_a_state_of_a_later_version_is_shown_as_it_is():
    board = watch.Board(local=True)
    topic, header = encode_status(SourceStatus("cam1", SourceState.LIVE), 0, 1, 2)
    message = decode([bytes(topic), bytes(header).replace(b"\xa4live", b"\xa4\x1bnap")])
    board.note(message)
    assert board.lines(0)[0].startswith("cam1 ?nap")
    assert watch.as_json(message, local=True)["state"] == "\x1bnap"


def test_a_publisher_elsewhere_is_aged_by_the_wall_clock():
    result = make_result()
    parts = encode_frame(Kind.FACE, result, encode_faces(result, visible=True), 1)
    wall = result.frame.wall_ns
    message = decode(parts, received_ns=5, received_wall_ns=wall + 12_000_000)
    assert watch.as_json(message, local=False)["age_ms"] == 12.0
