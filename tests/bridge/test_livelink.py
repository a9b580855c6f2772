"""Live Link Face, read by a parser written from the layout of Unreal's packet."""

import math
import struct
import time

import pytest

from streamprn.bridge.livelink import LiveLink
from streamprn.kernels import pose
from tests.bridge.conftest import bridged, head

# `EARFaceBlendShape` of Unreal's ARTypes.h: some of its places.
PLACES = {
    "EyeBlinkLeft": 0,
    "EyeBlinkRight": 7,
    "JawForward": 14,
    "JawOpen": 17,
    "MouthSmileLeft": 23,
    "BrowInnerUp": 43,
    "NoseSneerRight": 50,
    "TongueOut": 51,
}
HEAD_YAW, HEAD_ROLL, LEFT_EYE_YAW, LEFT_EYE_PITCH, RIGHT_EYE_YAW = 52, 54, 55, 56, 58


def parse(packet):
    """Version, device, subject, (frame, part, rate), values."""
    version, at = packet[0], 1
    texts = []
    for _ in range(2):
        (length,) = struct.unpack_from(">i", packet, at)
        texts.append(packet[at + 4 : at + 4 + length].decode())
        at += 4 + length
    frame, part, numerator, denominator = struct.unpack_from(">ifii", packet, at)
    count = packet[at + 16]
    values = struct.unpack_from(f">{count}f", packet, at + 17)
    assert len(packet) == at + 17 + 4 * count
    return version, *texts, (frame, part, numerator / denominator), values


def sent(source, receiver, **options):
    def output(_):
        return LiveLink("127.0.0.1", receiver.port, **options)

    with bridged(source.publisher.endpoint, output):
        receiver.socket.recv(65536)
        return parse(receiver.next())


def test_a_packet_has_61_values_at_their_places(source, receiver):
    source.show(head(), eyeBlinkRight=0.25, jawOpen=0.5, browInnerUp=0.75, tongueOut=1.0)
    version, device, subject, (frame, part, rate), values = sent(source, receiver)
    assert version == 6
    assert (len(device), subject) == (36, "cam1")
    assert len(values) == 61
    named = {name: values[place] for name, place in PLACES.items()}
    assert {name: value for name, value in named.items() if value} == {
        "EyeBlinkRight": 0.25, "JawOpen": 0.5, "BrowInnerUp": 0.75, "TongueOut": 1.0,
    }  # fmt: skip
    assert values[52:] == pytest.approx([0.0] * 9, abs=1e-6)
    # The time of the day, in frames.
    now = time.localtime()
    seconds = now.tm_hour * 3600 + now.tm_min * 60 + now.tm_sec
    assert rate == 60
    assert 0 <= part < 1
    assert abs(frame / 60 - seconds) < 5 or abs(frame / 60 - seconds) > 86_390


@pytest.mark.parametrize(
    ("angles", "expected"),
    [
        ({"yaw": 45}, (0.25, 0, 0)),  # to the subject's right
        ({"pitch": 18}, (0, -0.1, 0)),  # up is negative
        ({"roll": 36}, (0, 0, 0.2)),  # clockwise in the picture
    ],
)
def test_the_head_turns_in_parts_of_180_degrees(source, receiver, angles, expected):
    source.show(head(**angles))
    values = sent(source, receiver)[-1]
    assert values[HEAD_YAW : HEAD_ROLL + 1] == pytest.approx(expected, abs=1e-5)


def test_the_eyes_turn_within_the_head(source, receiver):
    source.show(head(yaw=30, roll=10), gaze=(18, 9))
    values = sent(source, receiver, subject="Anna")[-1]
    # The first turn is about the upright axis, in `Pose` the first is about the horizontal one.
    x, y, z = pose.rotation_from_euler(18, 9, 0)[:, 2]
    assert values[LEFT_EYE_YAW] == pytest.approx(math.atan2(-x, z) / math.pi, abs=1e-4)
    assert values[LEFT_EYE_YAW] == pytest.approx(0.1, abs=2e-3)
    assert values[LEFT_EYE_PITCH] == pytest.approx(-math.asin(y) / math.pi, abs=1e-4)
    assert values[RIGHT_EYE_YAW] == pytest.approx(values[LEFT_EYE_YAW])


def test_the_device_of_a_name_is_called_so(source, receiver):
    assert sent(source, receiver, subject="Anna ä")[2] == "Anna ä"
