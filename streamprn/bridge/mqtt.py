"""JSON over MQTT: `streamprn/<stream>/face` with every frame, `streamprn/<stream>/state` retained.

The keys of a face are those of `streamprn watch --json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from streamprn.apps.lines import face_json, finite
from streamprn.errors import InputError

if TYPE_CHECKING:
    from streamprn.wire import Face, FaceMessage

__all__ = ["PORT", "Mqtt", "check_package"]

PORT = 1883

_KEEPALIVE_S = 15
_FASTEST_RETRY_S, _SLOWEST_RETRY_S = 1, 10


def check_package() -> None:
    """See that paho-mqtt is installed.

    Raises:
        InputError: it is not.
    """
    try:
        import paho.mqtt.client  # noqa: F401
    except ImportError as error:
        raise InputError(
            "MQTT needs the package paho-mqtt", hint="pip install 'streamprn[bridge]'"
        ) from error


class Mqtt:
    """Publishes at QoS 0; what comes while the broker is away is dropped, and it is tried again.

    The state is `live`, `silent` when the publisher is, and `offline` when the bridge is gone,
    which the broker says in its place where it must (the last will).

    Args:
        host: of the broker.
        port: TCP.
        prefix: first part of the topics.
        stream: whose state is told.
        user: and password, where the broker asks for them.
        password: see `user`.

    Raises:
        InputError: paho-mqtt is missing.
    """

    newest = True

    def __init__(
        self,
        host: str,
        port: int,
        stream: str,
        *,
        prefix: str = "streamprn",
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        check_package()
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.target = f"MQTT at {host}:{port}"
        self.error = f"no connection to {host}:{port} yet"
        self._topic = f"{prefix}/{stream}"
        self._state = ""
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        if user is not None:
            self._client.username_pw_set(user, password)
        self._client.will_set(f"{self._topic}/state", "offline", qos=1, retain=True)
        self._client.reconnect_delay_set(_FASTEST_RETRY_S, _SLOWEST_RETRY_S)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._failed
        self._client.on_disconnect = self._disconnected
        self._client.connect_async(host, port, keepalive=_KEEPALIVE_S)
        self._client.loop_start()

    def send(self, message: FaceMessage, faces: Sequence[Face]) -> None:
        """See `Output`."""
        if not self._client.is_connected():
            return
        self._tell("live")
        line = finite(
            {
                "stream": message.stream,
                "run": message.run,
                "seq": message.seq,
                "pts_ns": message.pts_ns,
                "wall_ns": message.stamps.wall,
                "frame_wh": list(message.frame_size_wh),
                "faces": [face_json(face) for face in faces],
            }
        )
        self._client.publish(f"{self._topic}/face", json.dumps(line, separators=(",", ":")))

    def idle(self) -> None:
        """See `Output`."""
        if self._client.is_connected():
            self._tell("silent")

    def close(self) -> None:
        """See `Output`."""
        if self._client.is_connected():
            told = self._client.publish(f"{self._topic}/state", "offline", qos=1, retain=True)
            told.wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()

    def _tell(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._client.publish(f"{self._topic}/state", state, qos=1, retain=True)

    # From here on in paho's own thread.

    def _connected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        self.error = f"refused: {reason}" if reason.is_failure else ""
        self._state = ""

    def _failed(self, _client: Any, _data: Any) -> None:
        self.error = "the broker cannot be reached"

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        if not self.error:
            self.error = f"the connection to the broker is lost ({reason})"
