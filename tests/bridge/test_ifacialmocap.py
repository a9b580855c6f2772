"""iFacialMocap, read by a parser of its published text."""

import re

import pytest

from streamprn.bridge.ifacialmocap import IFacialMocap
from streamprn.bridge.livelink import ORDER
from tests.bridge.conftest import bridged, head

# From the developer's page: a frame as the app sends it.
PUBLISHED = (
    "mouthSmile_R-0|eyeLookOut_L-0|mouthUpperUp_L-11|eyeWide_R-0|mouthClose-8|mouthPucker-4|"
    "mouthRollLower-9|eyeBlink_R-7|eyeLookDown_L-17|cheekSquint_R-11|eyeBlink_L-7|tongueOut-0|"
    "jawRight-0|eyeLookIn_R-6|cheekSquint_L-11|mouthDimple_L-10|mouthPress_L-4|eyeSquint_L-11|"
    "mouthRight-0|mouthShrugLower-9|eyeLookUp_R-0|eyeLookOut_R-0|mouthPress_R-5|cheekPuff-2|"
    "jawForward-11|mouthLowerDown_L-9|mouthFrown_L-6|mouthShrugUpper-26|browOuterUp_L-4|"
    "browInnerUp-20|mouthDimple_R-10|browDown_R-0|mouthUpperUp_R-10|mouthRollUpper-8|"
    "mouthFunnel-12|mouthStretch_R-21|mouthFrown_R-13|eyeLookDown_R-17|jawOpen-12|jawLeft-0|"
    "browDown_L-0|mouthSmile_L-0|noseSneer_R-18|mouthLowerDown_R-8|noseSneer_L-21|eyeWide_L-0|"
    "mouthStretch_L-21|browOuterUp_R-4|eyeLookIn_L-4|eyeSquint_R-11|eyeLookUp_L-0|mouthLeft-1|"
    "=head#-21.488958,-6.038993,-6.6019735,-0.030653415,-0.10287084,-0.6584072|"
    "rightEye#6.0297494,2.4403017,0.25649446|leftEye#6.034903,-1.6660284,-0.17520553|"
)


def parse(text):
    """The shapes and the bones of one frame."""
    first, _, second = text.partition("=")
    shapes = {}
    for field in first.strip("|").split("|"):
        name, value = re.fullmatch(r"(\w+)-(\d+)", field).groups()
        shapes[name] = int(value)
    bones = {}
    for field in second.strip("|").split("|"):
        name, _, values = field.partition("#")
        bones[name] = [float(value) for value in values.split(",")]
    return shapes, bones


def sent(source, receiver):
    opened = bridged(source.publisher.endpoint, lambda _: IFacialMocap("127.0.0.1", receiver.port))
    with opened:
        receiver.socket.recv(65536)
        return parse(receiver.next().decode("ascii"))


def test_the_names_and_bones_are_those_of_the_app(source, receiver):
    source.show(head(), jawOpen=0.5, mouthSmileLeft=0.256, eyeBlinkRight=1.0, jawLeft=0.1)
    shapes, bones = sent(source, receiver)
    expected_shapes, expected_bones = parse(PUBLISHED)
    assert set(shapes) == set(expected_shapes)
    assert len(shapes) == 52
    assert {name: len(values) for name, values in bones.items()} == {
        name: len(values) for name, values in expected_bones.items()
    }
    assert (shapes["jawOpen"], shapes["mouthSmile_L"], shapes["eyeBlink_R"]) == (50, 26, 100)
    assert (shapes["jawLeft"], shapes["mouthSmile_R"]) == (10, 0)
    assert bones["head"] == pytest.approx([0] * 6, abs=1e-3)


@pytest.mark.parametrize(
    ("angles", "expected"),
    [
        # ARKit's axes: +y turns to the subject's left, +x nods down.
        ({"yaw": 25}, (0, -25, 0)),
        ({"pitch": 25}, (-25, 0, 0)),
        # A positive roll of `Pose` is clockwise in the picture.
        ({"roll": 25}, (0, 0, -25)),
    ],
)
def test_the_head_turns_in_degrees_about_arkits_axes(source, receiver, angles, expected):
    source.show(head(**angles))
    _, bones = sent(source, receiver)
    assert bones["head"][:3] == pytest.approx(expected, abs=1e-3)


def test_the_eyes_have_the_signs_of_the_published_frame(source, receiver):
    # There both look down; eyeLookIn_R and eyeLookIn_L tell that the right eye looks to the left
    # of the subject and the left eye to the right.
    shapes, bones = parse(PUBLISHED)
    assert shapes["eyeLookDown_R"] > 0
    assert bones["rightEye"][0] > 0
    assert shapes["eyeLookIn_R"] > shapes["eyeLookOut_R"]
    assert bones["rightEye"][1] > 0 > bones["leftEye"][1]
    # Ours: down and to the subject's left, as `Pose` has it a negative pitch and yaw.
    source.show(head(yaw=10, pitch=5, roll=-20), gaze=(-12, -8))
    _, bones = sent(source, receiver)
    for eye in ("rightEye", "leftEye"):
        assert bones[eye][0] == pytest.approx(8, abs=0.2)
        assert bones[eye][1] == pytest.approx(12, abs=0.2)


def test_no_face_sends_nothing(source, receiver):
    source.faces = ()
    opened = bridged(source.publisher.endpoint, lambda _: IFacialMocap("127.0.0.1", receiver.port))
    with opened as said:
        receiver.socket.settimeout(1.5)
        with pytest.raises(TimeoutError):
            receiver.socket.recv(65536)
        assert any("goes to iFacialMocap" in line for line in said)


def test_the_order_of_unreal_has_the_same_52_names():
    from streamprn.records import BLENDSHAPES

    assert sorted(ORDER) == sorted(BLENDSHAPES)
