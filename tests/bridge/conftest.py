"""A publisher of one face whose turn, eyes and expressions are given, and bridges to it."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from streamprn import Publisher
from streamprn.bridge.relay import Choice, Relay
from streamprn.errors import StreamPRNError
from streamprn.kernels import pose
from streamprn.records import BLENDSHAPES, Eye, Gaze, Pose, SourceState, SourceStatus
from tests.support.wire import make_result, make_topology, with_seq


def head(yaw=0.0, pitch=0.0, roll=0.0):
    """A head so turned; degrees, the signs of `Pose`."""
    rotation = pose.rotation_from_euler(yaw, pitch, roll)
    quaternion = pose.quaternion_from_rotation(rotation)
    return Pose(rotation, 100.0, np.array([320.0, 240.0, 0.0]), yaw, pitch, roll, quaternion)


def eye_in(turned, yaw, pitch, openness=0.3):
    """An eye that looks so within a turned head; degrees, the signs of `Pose`."""
    within = pose.rotation_from_euler(yaw, pitch, 0)[:, 2]
    x, y, z = direction = turned.rotation @ within
    return Eye(
        direction.astype(np.float32),
        float(np.degrees(np.arcsin(-x))),
        float(np.degrees(np.arctan2(y, z))),
        openness,
    )


def shapes(**named):
    return np.array([named.get(name, 0.0) for name in BLENDSHAPES], np.float32)


class Source:
    """Publishes the same face on and on, at 50 frames a second."""

    def __init__(self, publisher):
        self.publisher = publisher
        self.faces = ()
        self.streams = ("cam1",)
        self.paused = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._publish)

    def show(self, turned=None, *, id_=1, gaze=(0.0, 0.0), size=20.0, further=(), **named):
        """Show one face, and further ones."""
        (template,) = make_result().faces
        turned = turned or head()
        eye = eye_in(turned, *gaze)
        face = replace(
            template,
            id=id_,
            pose=turned,
            gaze=Gaze(eye, eye),
            blendshapes=shapes(**named),
            box_xyxy=np.array([1.0, 1.0, 1 + size, 1 + size], np.float32),
        )
        self.faces = (face, *further)
        return face

    def start(self):
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join()

    def _publish(self):
        seq = 0
        for stream in self.streams:
            self.publisher.publish_status(SourceStatus(stream, SourceState.LIVE))
        while not self._stop.wait(0.02):
            if self.paused:
                continue
            for stream in self.streams:
                result = make_result(stream)
                frame = replace(
                    result.frame, captured_ns=time.monotonic_ns(), wall_ns=time.time_ns()
                )
                result = with_seq(replace(result, frame=frame, faces=self.faces), seq)
                self.publisher.publish(result)
            seq += 1


@contextmanager
def publishing(bind="tcp://127.0.0.1:*", **face):
    with Publisher(bind, topology=make_topology(), heartbeat_s=0.2) as publisher:
        source = Source(publisher)
        source.show(**face)
        source.start()
        try:
            yield source
        finally:
            source.stop()


@pytest.fixture
def source():
    with publishing() as source:
        yield source


@contextmanager
def bridged(endpoint, open_output, *, stream=None, face="largest", rate_hz=None):
    """A bridge in a thread of its own; gives what it said."""
    stop, said = threading.Event(), []
    relay = Relay(endpoint, stream, Choice(face), rate_hz=rate_hz, say=said.append)
    failed = []

    def run():
        try:
            relay.run(open_output, stop)
        except StreamPRNError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield said
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
    if failed:
        raise failed[0]


class Receiver:
    """A UDP socket and what came to it."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(5)
        self.port = self.socket.getsockname()[1]

    def next(self):
        """The next datagram of those that come from now on."""
        self.drain()
        return self.socket.recv(65536)

    def drain(self):
        self.socket.setblocking(False)
        try:
            while True:
                self.socket.recv(65536)
        except BlockingIOError:
            pass
        self.socket.settimeout(5)


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.socket.close()
