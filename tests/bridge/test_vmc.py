"""VMC, heard by python-osc's own server."""

import threading
import time

import numpy as np
import pytest
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer

from streamprn.bridge.vmc import Vmc
from streamprn.records import BLENDSHAPES
from tests.bridge.conftest import bridged, head, publishing
from tests.support.wire import eventually


class Marionette:
    """What a program with an avatar hears."""

    def __init__(self):
        self.heard = []
        dispatcher = Dispatcher()
        dispatcher.set_default_handler(
            lambda address, *values: self.heard.append((address, values))
        )
        self.server = BlockingOSCUDPServer(("127.0.0.1", 0), dispatcher)
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self):
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def last(self, address, name=None):
        for said, values in reversed(list(self.heard)):
            if said == address and (name is None or values[0] == name):
                return values
        return None

    def wait_for(self, what):
        """Whatever is said from now on, until it is so."""
        self.heard.clear()
        eventually(lambda: self.last("/VMC/Ext/Blend/Apply") is not None and what())


def applied(heard):
    """Where frames end."""
    return [place for place, (said, _) in enumerate(list(heard)) if said == "/VMC/Ext/Blend/Apply"]


@pytest.fixture
def marionette():
    marionette = Marionette()
    yield marionette
    marionette.close()


def turned_by(quaternion_xyzw, vector):
    """Unity's `quaternion * vector`."""
    x, y, z, w = quaternion_xyzw
    axis = np.array([x, y, z])
    across = np.cross(axis, vector)
    return np.asarray(vector) + 2 * (w * across + np.cross(axis, across))


def test_an_avatar_gets_its_head_its_eyes_and_its_expressions(source, marionette):
    source.show(head(yaw=30), gaze=(-20, 0), jawOpen=0.5, eyeBlinkLeft=0.25)
    with bridged(source.publisher.endpoint, lambda _: Vmc("127.0.0.1", marionette.port)):
        marionette.wait_for(lambda: len(applied(marionette.heard)) > 1)
    heard = list(marionette.heard)
    assert marionette.last("/VMC/Ext/Blend/Val", "jawOpen")[1] == pytest.approx(0.5)
    assert marionette.last("/VMC/Ext/Blend/Val", "eyeBlinkLeft")[1] == pytest.approx(0.25)
    first, second = applied(heard)[:2]
    whole = heard[first + 1 : second + 1]
    addresses = [address for address, _ in whole]
    assert addresses[:2] == ["/VMC/Ext/OK", "/VMC/Ext/T"]
    assert whole[0][1] == (1, 3, 0, 1)
    assert addresses.count("/VMC/Ext/Bone/Pos") == 3
    names = [values[0] for address, values in whole if address == "/VMC/Ext/Blend/Val"]
    assert tuple(names) == BLENDSHAPES
    bones = {values[0]: values[1:] for address, values in whole if address.endswith("Bone/Pos")}
    assert set(bones) == {"Head", "LeftEye", "RightEye"}
    # A yaw of 30 degrees is a turn to the subject's right, which is +x of an avatar in Unity.
    x, y, z = turned_by(bones["Head"][3:], (0, 0, 1))
    assert (x, y, z) == pytest.approx((0.5, 0, np.cos(np.radians(30))), abs=1e-5)
    # The eyes look to the subject's left, within the head.
    x, y, z = turned_by(bones["LeftEye"][3:], (0, 0, 1))
    assert (x, y) == pytest.approx((-np.sin(np.radians(20)), 0), abs=1e-5)


@pytest.mark.parametrize(
    ("angles", "vector", "axis", "sign"),
    [
        ({"yaw": 20}, (0, 0, 1), 0, +1),  # to the subject's right: an avatar's right is +x
        ({"pitch": 20}, (0, 0, 1), 1, +1),  # looks up
        # Clockwise in the picture: the top of the head goes to the subject's left.
        ({"roll": 20}, (0, 1, 0), 0, -1),
    ],
)
def test_left_and_right_up_and_down_of_a_head(source, marionette, angles, vector, axis, sign):
    source.show(head(**angles))
    with bridged(source.publisher.endpoint, lambda _: Vmc("127.0.0.1", marionette.port)):
        marionette.wait_for(lambda: marionette.last("/VMC/Ext/Bone/Pos", "Head"))
    turned = turned_by(marionette.last("/VMC/Ext/Bone/Pos", "Head")[4:], vector)
    assert turned[axis] == pytest.approx(sign * np.sin(np.radians(20)), abs=1e-5)


def test_eyes_that_look_up_do(source, marionette):
    source.show(head(yaw=-25, pitch=10, roll=15), gaze=(0, 15))
    with bridged(source.publisher.endpoint, lambda _: Vmc("127.0.0.1", marionette.port)):
        marionette.wait_for(lambda: marionette.last("/VMC/Ext/Bone/Pos", "RightEye"))
    turned = turned_by(marionette.last("/VMC/Ext/Bone/Pos", "RightEye")[4:], (0, 0, 1))
    expected = (0, np.sin(np.radians(15)), np.cos(np.radians(15)))
    assert turned == pytest.approx(expected, abs=1e-4)


def test_a_lost_face_and_a_silent_publisher_are_said_and_found_again(marionette):
    with publishing() as source:
        endpoint = source.publisher.endpoint
        opened = bridged(endpoint, lambda _: Vmc("127.0.0.1", marionette.port))
        with opened as said:
            marionette.wait_for(lambda: marionette.last("/VMC/Ext/OK") == (1, 3, 0, 1))
            source.faces = ()
            eventually(lambda: marionette.last("/VMC/Ext/OK") == (1, 3, 0, 0))
            time.sleep(0.1)
            marionette.heard.clear()
            eventually(lambda: len(marionette.heard) > 4)
            # The head stays where it was.
            assert marionette.last("/VMC/Ext/Bone/Pos") is None
            source.stop()
            source.publisher.close()
            eventually(lambda: marionette.last("/VMC/Ext/OK") == (0, 3, 0, 0))
            assert any("waiting for it to go on" in line for line in said)
            with publishing(endpoint):
                eventually(lambda: marionette.last("/VMC/Ext/OK") == (1, 3, 0, 1), 10)
            assert sum("goes to VMC" in line for line in said) == 2


def test_every_datagram_fits_an_ethernet_frame(source, receiver):
    with bridged(source.publisher.endpoint, lambda _: Vmc("127.0.0.1", receiver.port)):
        sizes = [len(receiver.socket.recv(65536)) for _ in range(9)]
    assert max(sizes) <= 1472
