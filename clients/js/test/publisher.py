"""The real publisher for the tests, steered by lines on standard input, a line of JSON for each.

`read` answers with what Python's own subscriber got of the same messages.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields, is_dataclass

import numpy as np
import zmq

from streamprn import Camera, Publisher, Subscriber
from streamprn.records import Kind, SourceState, SourceStatus
from streamprn.wire.bind import CurveKeys
from tests.support.wire import eventually, make_result, make_topology

STREAM = "cam1"
HEARTBEAT_S = 0.2


def plain(value: object) -> object:
    """A record as JSON holds it: arrays as flat lists, NaN as null."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.ravel().tolist()]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return None if value != value else value


class Feed:
    """The publisher and Python's reader of it."""

    def __init__(self, *, mesh_format: str, encrypted: bool) -> None:
        self._keys = CurveKeys(*map(bytes.decode, zmq.curve_keypair())) if encrypted else None
        self._mesh_format = mesh_format
        self._publisher = self._open("tcp://127.0.0.1:*")
        self._reader = Subscriber(
            self._publisher.endpoint,
            [f"{STREAM}/"],
            newest=False,
            server_key=self._keys and self._keys.public,
        )
        eventually(lambda: Kind.MESH in self._publisher.wanted(STREAM), 10)

    def _open(self, bind: str) -> Publisher:
        return Publisher(
            bind, curve=self._keys, mesh_format=self._mesh_format, heartbeat_s=HEARTBEAT_S
        )

    def about(self) -> dict[str, object]:
        return {"endpoint": self._publisher.endpoint, "key": self._keys and self._keys.public}

    def topology(self) -> None:
        self._publisher.set_topology(STREAM, make_topology())

    def failed(self) -> None:
        self._publisher.publish_status(SourceStatus(STREAM, SourceState.FAILED, "no route", 3))

    def stats(self) -> None:
        self._publisher.publish_stats(STREAM, {"fps": 29.5, "engine": "facemesh", "gpu": None})

    def publish(self, seq: str) -> None:
        camera = Camera(500, 510, 16, 12)
        self._publisher.publish(make_result(STREAM, int(seq), camera=camera))

    def read(self, kind: str) -> object:
        while (message := self._reader.receive(10)) is not None:
            if message.kind == kind:
                return plain(message)
        return None

    def restart(self) -> None:
        endpoint = self._publisher.endpoint
        self._publisher.close()
        self._publisher = self._open(endpoint)

    def close(self) -> None:
        self._publisher.close()


def main() -> None:
    feed = Feed(mesh_format=sys.argv[1], encrypted=sys.argv[2] == "encrypted")
    print(json.dumps(feed.about()), flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        print(json.dumps(getattr(feed, command)(*arguments)), flush=True)


main()
