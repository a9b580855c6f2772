"""JSON over a real broker: mosquitto, heard by a client of its own."""

import json
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from streamprn.bridge.mqtt import Mqtt
from tests.bridge.conftest import bridged, head, publishing
from tests.support.wire import eventually

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/opt/homebrew/sbin")
pytestmark = pytest.mark.skipif(
    MOSQUITTO is None, reason="needs the broker mosquitto: apt-get install mosquitto"
)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def broker(tmp_path, port, further="allow_anonymous true"):
    settings = tmp_path / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\n{further}\npersistence false\nuser root\n")
    with subprocess.Popen(
        [MOSQUITTO, "-c", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            eventually(lambda: answers(port), 10)
            yield
        finally:
            process.terminate()
            process.wait(10)


def answers(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def listening(port, topics="streamprn/#", user=None):
    """Messages by topic, as they come."""
    heard = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    if user:
        client.username_pw_set(*user)
    client.on_message = lambda _c, _d, message: heard.append((message.topic, message.payload))
    client.on_connect = lambda c, *_: c.subscribe(topics)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


def last(heard, topic):
    return next((payload for said, payload in reversed(list(heard)) if said == topic), None)


def test_faces_come_as_json_with_the_state_of_the_stream(source, tmp_path):
    second = source.show(head(yaw=5), id_=2, size=5)
    source.show(head(yaw=30), gaze=(10, 0), jawOpen=0.5, further=[second])
    port = free_port()
    with broker(tmp_path, port), listening(port) as heard:
        opened = bridged(
            source.publisher.endpoint, lambda stream: Mqtt("127.0.0.1", port, stream), face="all"
        )
        with opened:
            eventually(lambda: last(heard, "streamprn/cam1/face"))
            assert last(heard, "streamprn/cam1/state") == b"live"
        eventually(lambda: last(heard, "streamprn/cam1/state") == b"offline")
    line = json.loads(last(heard, "streamprn/cam1/face"))
    assert line["stream"] == "cam1"
    assert abs(line["wall_ns"] - time.time_ns()) < 60e9
    assert [face["id"] for face in line["faces"]] == [1, 2]
    first = line["faces"][0]
    assert first["yaw"] == 30
    assert first["blendshapes"]["jawOpen"] == 0.5
    assert first["gaze"]["left"]["openness"] == 0.3


def test_a_broker_that_is_late_and_one_that_goes_and_returns_get_the_faces(source, tmp_path):
    port = free_port()
    opened = bridged(source.publisher.endpoint, lambda stream: Mqtt("127.0.0.1", port, stream))
    with opened as said:
        eventually(lambda: any("nothing is sent" in line for line in said))
        for _ in range(2):
            with broker(tmp_path, port), listening(port) as heard:
                eventually(lambda h=heard: last(h, "streamprn/cam1/face"), 15)
                eventually(lambda h=heard: last(h, "streamprn/cam1/state") == b"live")
        eventually(lambda: "nothing is sent" in said[-1])


def test_a_silent_publisher_and_one_that_returns_are_told_by_the_state(tmp_path):
    port = free_port()
    with broker(tmp_path, port), listening(port) as heard, publishing() as source:
        endpoint = source.publisher.endpoint
        with bridged(endpoint, lambda stream: Mqtt("127.0.0.1", port, stream)):
            eventually(lambda: last(heard, "streamprn/cam1/state") == b"live")
            source.paused = True
            eventually(lambda: last(heard, "streamprn/cam1/state") == b"silent")
            source.paused = False
            eventually(lambda: last(heard, "streamprn/cam1/state") == b"live")


def test_user_and_password_are_given_and_a_refusal_is_said(source, tmp_path):
    port = free_port()
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "faces", "secret"],
        check=True,
        capture_output=True,
        timeout=20,
    )
    passwords.chmod(0o644)

    def opened(password):
        return bridged(
            source.publisher.endpoint,
            lambda stream: Mqtt("127.0.0.1", port, stream, user="faces", password=password),
        )

    further = f"allow_anonymous false\npassword_file {passwords}"
    with (
        broker(tmp_path, port, further),
        listening(port, user=("faces", "secret")) as heard,
    ):
        with opened("wrong") as said:
            eventually(lambda: "refused: Not authorized" in said[-1])
            assert not any("secret" in line for line in said)
        with opened("secret"):
            eventually(lambda: last(heard, "streamprn/cam1/face"))
