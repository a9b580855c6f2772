"""VMC, the protocol of Virtual Motion Capture: OSC over UDP, port 39539.

https://protocol.vmc.info/english, the role of a performer.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from streamprn.bridge import turns
from streamprn.bridge.output import UdpSender, coefficients
from streamprn.errors import InputError

if TYPE_CHECKING:
    from pythonosc.osc_bundle_builder import OscBundleBuilder

    from streamprn.wire import Face, FaceMessage

__all__ = ["PORT", "Vmc", "check_package"]

PORT = 39539

_CALIBRATED, _NORMAL_MODE = 3, 0
#: A datagram of the protocol has 1500 bytes at most, with the headers of IP and UDP.
_BUNDLE_BYTES = 1400

Value = int | float | str
Said = tuple[str, tuple[Value, ...]]


def check_package() -> None:
    """See that python-osc is installed.

    Raises:
        InputError: it is not.
    """
    try:
        import pythonosc.osc_bundle_builder  # noqa: F401
    except ImportError as error:
        raise InputError(
            "VMC needs the package python-osc", hint="pip install 'streamprn[bridge]'"
        ) from error


class Vmc:
    """Bones `Head`, `LeftEye`, `RightEye`, and the 52 expressions, then `/VMC/Ext/Blend/Apply`.

    Without a face `/VMC/Ext/OK` says that nothing is tracked, and the avatar stays as it is; when
    the publisher is silent it says that nothing is available.

    Args:
        host: of the program with the avatar.
        port: UDP.

    Raises:
        InputError: python-osc is missing, or there is no such host.
    """

    newest = True

    def __init__(self, host: str, port: int) -> None:
        check_package()
        import pythonosc.osc_bundle_builder as bundles
        import pythonosc.osc_message_builder as messages

        self._bundles, self._messages = bundles, messages
        self._sender = UdpSender(host, port)
        self._began = time.monotonic()
        self.target = f"VMC at {host}:{port}"

    @property
    def error(self) -> str:
        """See `Output`."""
        return self._sender.error

    def send(self, message: FaceMessage, faces: Sequence[Face]) -> None:
        """See `Output`."""
        del message
        said = [*self._available(loaded=True, tracked=bool(faces))]
        if faces:
            said += _moved(faces[0])
        self._send(said)

    def idle(self) -> None:
        """See `Output`."""
        self._send(self._available(loaded=False, tracked=False))

    def close(self) -> None:
        """See `Output`."""
        self.idle()
        self._sender.close()

    def _available(self, *, loaded: bool, tracked: bool) -> Iterable[Said]:
        yield "/VMC/Ext/OK", (int(loaded), _CALIBRATED, _NORMAL_MODE, int(tracked))
        yield "/VMC/Ext/T", (time.monotonic() - self._began,)

    def _send(self, said: Iterable[Said]) -> None:
        bundle, size, out = self._bundle(), 0, []
        for address, values in said:
            builder = self._messages.OscMessageBuilder(address)
            for value in values:
                builder.add_arg(value)
            built = builder.build()
            if size + built.size + 4 > _BUNDLE_BYTES:
                out.append(bundle.build().dgram)
                bundle, size = self._bundle(), 0
            bundle.add_content(built)
            size += built.size + 4
        out.append(bundle.build().dgram)
        self._sender.send(*out)

    def _bundle(self) -> OscBundleBuilder:
        return self._bundles.OscBundleBuilder(self._bundles.IMMEDIATELY)


def _moved(face: Face) -> Iterable[Said]:
    right, left = turns.eyes(face)
    for bone, turn in (("Head", turns.head(face)), ("LeftEye", left), ("RightEye", right)):
        # Where a bone sits is the avatar's own affair: only its rotation is known.
        yield "/VMC/Ext/Bone/Pos", (bone, 0.0, 0.0, 0.0, *turns.unity(turn))
    for name, value in coefficients(face).items():
        yield "/VMC/Ext/Blend/Val", (name, value)
    yield "/VMC/Ext/Blend/Apply", ()
