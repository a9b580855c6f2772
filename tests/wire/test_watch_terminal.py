"""`streamprn watch` on real terminals of 80 and of 200 columns, before a real publisher."""

import re
import threading
import time
from dataclasses import replace

import pytest

from streamprn import Publisher
from streamprn.records import SourceState, SourceStatus
from tests.support.terminal import on_terminal, plain
from tests.support.wire import make_result, make_topology, with_seq

LONG = "the-camera-above-the-second-door-of-the-northern-building.front0"
CAUSE = (
    "no answer from rtsp://camera.example for 5 s, the connection was closed by the other side; "
    "the next attempt is in 16 s"
)
STATS = {"dropped": 12, "reconnects": 3, "latency_p50_ms": 21.25, "latency_p99_ms": 48.5}


@pytest.fixture
def publisher():
    """`cam1` with two faces at 50 frames a second, every tenth missing; two that have trouble."""
    stop = threading.Event()
    with Publisher("tcp://127.0.0.1:*", topology=make_topology(), heartbeat_s=0.2) as publisher:
        publisher.publish_status(SourceStatus("cam1", SourceState.LIVE))
        publisher.publish_status(SourceStatus(LONG, SourceState.RECONNECTING, CAUSE, 4))
        template = make_result("cam1", faces=2)

        def publish() -> None:
            for seq in range(10_000):
                if stop.wait(0.02):
                    return
                if seq % 10 == 9:
                    continue
                frame = replace(template.frame, captured_ns=time.monotonic_ns())
                publisher.publish(with_seq(replace(template, frame=frame), seq))
                if seq % 25 == 0:
                    publisher.publish_stats("cam1", STATS)

        thread = threading.Thread(target=publish)
        thread.start()

        def silence() -> None:
            stop.set()
            thread.join()
            publisher.close()

        yield publisher.endpoint, silence
        stop.set()
        thread.join()


def watched(endpoint, columns, duration_s, during=None):
    """The last picture on a terminal so wide: its lines without colours."""
    code, seen = on_terminal(
        "watch", endpoint, "--duration", duration_s, columns=columns, after_s=duration_s * 0.4,
        during=during,
    )  # fmt: skip
    assert code == 0, seen
    # Each picture begins where the cursor went up over the one before.
    last = plain(re.split(r"(?:\x1b\[1A\x1b\[2K)+", seen)[-1])
    return [line.rstrip() for line in last.splitlines() if line.strip()]


def test_80_columns_have_whole_names_units_causes_faces_and_drops(publisher):
    endpoint, _ = publisher
    lines = watched(endpoint, 80, 2.5)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    heading = next(line for line in lines if line.startswith("stream "))
    assert heading.split() == ["stream", "state", *["frame", "px", "fps", "age", "ms", "drops"]]
    cells = next(line for line in lines if line.startswith("cam1 ")).split()
    assert cells[1:3] == ["live", "32x24"]
    assert 20 < float(cells[3]) < 60
    assert 0 < float(cells[4]) < 2000
    assert int(cells[5]) > 0
    faces = [line.split() for line in lines if line.startswith("  face ")]
    assert [face[:4] for face in faces] == [["face", id_, "score", "0.88"] for id_ in "12"]
    assert faces[0][4:10] == ["yaw", "+11.5°", "pitch", "-7.2°", "roll", "+3.0°"]
    # The name is whole, and so is its cause, on lines of its own.
    assert LONG in lines
    after = lines[lines.index(LONG) + 1 :]
    assert after[0].split()[0] == "reconnecting"
    assert " ".join(line.strip() for line in after[1:3]) == CAUSE
    assert "dropped by engine" not in text


def test_200_columns_have_more(publisher):
    endpoint, _ = publisher
    lines = watched(endpoint, 200, 2.5)
    assert 120 < max(map(len, lines)) <= 200
    heading = next(line for line in lines if line.startswith("stream "))
    for column in ("faces", "p50 ms", "p99 ms", "network ms", "geometry ms", "dropped by engine"):
        assert column in heading
    row = next(line for line in lines if line.startswith("cam1 "))
    assert " 21.2 " in row
    assert " 48.5 " in row
    face = next(line for line in lines if line.startswith("  face 1"))
    assert "gaze " in face
    assert "19x19 px at 11,12" in face
    assert any(line.startswith(f"{LONG}  reconnecting") for line in lines)
    assert f"  {CAUSE}" in lines


def test_a_publisher_that_falls_silent_is_said_to_be_and_its_faces_are_gone(publisher):
    endpoint, silence = publisher
    lines = watched(endpoint, 80, 4.0, during=silence)
    assert any(re.match(r"cam1 +(silent|ended) ", line) for line in lines)
    assert any(re.search("publisher ended|silent for", line) for line in lines)
    assert not any("face " in line for line in lines)
