"""docs/wire-format.md is enough: every kind read with pyzmq and msgpack alone.

Nothing of streamprn is used on the reading side, and no NumPy either.
"""

import array
import math
import re
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgpack
import pytest
import zmq

from streamprn import Publisher
from streamprn.records import Kind, SourceState, SourceStatus
from tests.support.wire import HEIGHT, WIDTH, eventually, make_result, make_topology

ROOT = Path(__file__).parents[2]
CODES = {"<f4": "f", "<i2": "h", "<u2": "H", "<u4": "I", "|u1": "B"}


def values(described: dict, data: bytes) -> tuple:
    """The array as a flat tuple, by the documented table."""
    code = CODES[described["dtype"]]
    count = math.prod(described["shape"])
    assert len(data) == count * struct.calcsize(code)
    return struct.unpack(f"<{count}{code}", data)


@pytest.fixture(params=["float32", "int16"])
def setup(request):
    result = make_result(seq=5, faces=2)
    topology = make_topology()
    with Publisher(
        "tcp://127.0.0.1:*", topology=topology, mesh_format=request.param, heartbeat_s=60
    ) as publisher:
        context = zmq.Context()
        socket = context.socket(zmq.SUB)
        socket.subscribe(b"cam1/")
        socket.connect(publisher.endpoint)
        eventually(lambda: publisher.wanted("cam1") == frozenset(Kind))
        publisher.publish_status(SourceStatus("cam1", SourceState.LIVE, "all well", 2))
        publisher.publish_stats("cam1", {"fps": 29.5})
        publisher.publish(result)
        messages = {}
        while len(messages) < 8:
            assert socket.poll(2000), f"only {sorted(messages)} came"
            topic, packed, *arrays = socket.recv_multipart()
            messages[topic.decode()] = (msgpack.unpackb(packed), arrays)
        socket.close(linger=0)
        context.term()
    return result, topology, messages


def test_every_kind_can_be_read(setup):
    result, topology, messages = setup
    for topic, (header, arrays) in messages.items():
        assert header["v"] == 1
        assert f"cam1/{topic.partition('/')[2]}" == topic
        assert header["stream"] == "cam1"
        assert len(header["arrays"]) == len(arrays)
        assert set(header["stamps"]) == {
            "captured", "decoded", "tracked", "inferred", "published", "wall",
        }  # fmt: skip
        assert header["stamps"]["published"] <= time.monotonic_ns()
    for kind in ("face", "mesh", "depth", "texture", "image"):
        check_frame(result, messages[f"cam1/{kind}"][0])
    check_mesh(result, *messages["cam1/mesh"])
    check_pictures(result, messages)
    check_topology(topology, *messages["cam1/topology"])
    assert messages["cam1/status"][0]["status"] == {
        "state": "live", "cause": "all well", "attempt": 2,
        "interval": 60_000_000_000, "frame_age": None, "frame_seq": None,
        "streams": [],
    }  # fmt: skip
    assert messages["cam1/stats"][0]["stats"] == {"fps": 29.5}


def check_frame(result, header):
    assert header["seq"] == 5
    assert header["pts"] == result.frame.pts_ns
    assert (header["frame_w"], header["frame_h"]) == (WIDTH, HEIGHT)
    assert header["spans"] == result.spans_ns
    for face, sent in zip(header["faces"], result.faces, strict=True):
        assert face["id"] == sent.id
        assert face["score"] == sent.score
        assert face["box"] == sent.box_xyxy.tolist()
        assert face["roi"] == {"cx": 11.0, "cy": 12.0, "side": 30.0, "roll": 0.25}
        assert face["landmarks"] == sent.landmarks.tolist()
        assert face["visible"] == sent.visible.tolist()
        assert face["blendshapes"] == sent.blendshapes.tolist()
        for side in ("right", "left"):
            eye = getattr(sent.gaze, side)
            assert face["gaze"][side] == {
                "direction": eye.direction.tolist(),
                "yaw": eye.yaw,
                "pitch": eye.pitch,
                "openness": eye.openness,
            }
        pose = face["pose"]
        assert pose["rotation"] == sent.pose.rotation.tolist()
        assert pose["translation"] == sent.pose.translation.tolist()
        assert pose["quaternion"] == sent.pose.quaternion.tolist()
        angles = (pose["yaw"], pose["pitch"], pose["roll"], pose["scale"])
        assert angles == (11.5, -7.25, 3.0, 1.25)


def check_mesh(result, header, arrays):
    for described, data, sent in zip(header["arrays"], arrays, result.faces, strict=True):
        assert (described["name"], described["face"]) == ("vertices", sent.id)
        assert described["shape"] == [50, 3]
        flat = values(described, data)
        want = sent.vertices.ravel().tolist()
        if described["dtype"] == "<f4":
            assert list(flat) == want
        else:
            scale, offset = described["scale"], described["offset"]
            got = [scale[i % 3] * q + offset[i % 3] for i, q in enumerate(flat)]
            assert all(
                abs(a - b) <= 0.51 * scale[i % 3]
                for i, (a, b) in enumerate(zip(got, want, strict=True))
            )


def check_pictures(result, messages):
    header, arrays = messages["cam1/image"]
    assert header["arrays"][0]["shape"] == [HEIGHT, WIDTH, 3]
    assert arrays[0] == result.frame.image.rgb.tobytes()
    header, arrays = messages["cam1/texture"]
    assert [described["face"] for described in header["arrays"]] == [1, 2]
    assert arrays[1] == result.faces[1].texture.tobytes()
    header, arrays = messages["cam1/depth"]
    depth = array.array("f", values(header["arrays"][0], arrays[0]))
    assert all(math.isnan(z) for z in depth[:WIDTH])
    assert list(depth[WIDTH:]) == result.depth.ravel()[WIDTH:].tolist()


def check_topology(topology, header, arrays):
    facts = header["topology"]
    names = facts.pop("blendshapes")
    assert (len(names), names[24], names[-1]) == (52, "jawOpen", "tongueOut")
    assert facts == {
        "name": "test",
        "uv_size": 256,
        "vertices": topology.vertex_count,
        "licence": "Apache-2.0",
        "provenance": "random numbers",
    }
    found = {
        described["name"]: values(described, data)
        for described, data in zip(header["arrays"], arrays, strict=True)
    }
    for name in ("triangles", "uv", "texel", "canonical", "landmarks", "pose_weights", "mirror"):
        assert list(found.pop(name)) == getattr(topology, name).ravel().tolist()
    for name, mask in topology.parts.items():
        assert list(found.pop(f"part:{name}")) == mask.astype(int).tolist()
    assert not found


def test_the_document_names_every_kind_key_and_array(setup):
    _, _, messages = setup
    text = (ROOT / "docs" / "wire-format.md").read_text()
    documented = set(re.findall(r"`([^`\s]+)`", text))
    for topic, (header, _) in messages.items():
        used = {topic.partition("/")[2], *header, *header["stamps"]}
        for face in header["faces"]:
            used |= {*face, *face["roi"], *face["pose"]}
        for described in header["arrays"]:
            used |= {*described}
            if not described["name"].startswith("part:"):
                used.add(described["name"])
        used |= {*header.get("status", ()), *header.get("topology", ())}
        assert used <= documented


def test_the_example_reads_faces_and_meshes():
    with Publisher("tcp://127.0.0.1:*") as publisher:
        command = [sys.executable, "-u", ROOT / "examples" / "subscriber.py"]
        command += [publisher.endpoint, "cam1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
            stop = threading.Event()
            thread = threading.Thread(target=publish_until, args=(publisher, stop))
            thread.start()
            # Its two subscriptions may not arrive together: faces alone come first then.
            lines = [reader.stdout.readline() for _ in range(4)]
            while not any("mesh" in line for line in lines) and len(lines) < 200:
                lines.append(reader.stdout.readline())
            reader.kill()
            stop.set()
            thread.join()
    text = "".join(lines)
    assert "cam1/face 5" in text
    assert "face 1: yaw 11.5, nose tip at" in text
    assert "face 1: 50 vertices" in text or "cam1/mesh 5" in text


def publish_until(publisher: Publisher, stop: threading.Event) -> None:
    while not stop.wait(0.05):
        publisher.publish(make_result(seq=5))


def test_the_example_imports_nothing_but_pyzmq_and_msgpack():
    text = (ROOT / "examples" / "subscriber.py").read_text()
    imported = set(re.findall(r"^ *(?:import|from) (\w+)", text, re.MULTILINE))
    assert imported == {"struct", "sys", "msgpack", "zmq"}
