"""The publisher's socket: its keys, its options, and what binding says when it cannot be done."""

from __future__ import annotations

import errno
import re
import socket
from dataclasses import dataclass
from pathlib import Path

import zmq

from streamprn.errors import InputError, PublishError
from streamprn.wire.address import has_bad_port

__all__ = ["LINGER_MS", "CurveKeys", "bind_publisher"]

#: Parts from this size on are sent without a copy. Latency is the same either way; a full mesh
#: takes the caller's thread 0.1 to 0.2 ms less, while below some 100 KB the bookkeeping costs more.
ZERO_COPY_BYTES = 128 * 1024
#: A subscription is at most one topic long; CURVE's handshake needs a few hundred bytes.
MAX_INBOUND_BYTES = 4096
LINGER_MS = 200
#: How long one message waits for room in a queue: the I/O thread may need the processor first.
PATIENCE_MS = 1
HEARTBEAT_MS = 10_000
#: What to do where there is no key pair.
MAKE_KEYS = (
    "make server.key and server.key_secret: "
    "python -c \"import zmq.auth; zmq.auth.create_certificates('.', 'server')\""
)


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """A CURVE key pair in Z85 text, 40 characters each."""

    public: str
    secret: str

    @classmethod
    def load(cls, path: Path) -> CurveKeys:
        """Read a `.key_secret` file as written by `create` or `zmq.auth.create_certificates`.

        Raises:
            InputError: the file is missing or holds no secret key.
        """
        from zmq.auth import load_certificate

        if not path.is_file():
            raise InputError(f"{path}: no such CURVE key file", hint=MAKE_KEYS)
        try:
            public, secret = load_certificate(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: no CURVE key file: {error}", hint=MAKE_KEYS) from error
        if secret is None:
            raise InputError(f"{path}: holds only a public key", hint="give the .key_secret file")
        return cls(public.decode("ascii"), secret.decode("ascii"))

    @classmethod
    def create(cls, folder: Path, name: str = "server") -> CurveKeys:
        """Make a pair and write `<name>.key` (public) and `<name>.key_secret` into a folder."""
        from zmq.auth import create_certificates

        folder.mkdir(parents=True, exist_ok=True)
        _, secret_file = create_certificates(folder, name)
        Path(secret_file).chmod(0o600)
        return cls.load(Path(secret_file))


def bind_publisher(
    context: zmq.Context[zmq.Socket[bytes]], bind: str, send_hwm: int, curve: CurveKeys | None
) -> zmq.Socket[bytes]:
    """An XPUB socket that is bound, with the options that `Publisher` relies on.

    Args:
        context: of the socket.
        bind: ZeroMQ address.
        send_hwm: messages that wait for one slow subscriber.
        curve: encrypt with these server keys.

    Raises:
        PublishError: the address is malformed, in use, or not of this machine.
    """
    if has_bad_port(bind):
        raise PublishError(f"binding to {bind!r}: no such port", hint="ports end at 65535")
    _refuse_taken_ipc(bind)
    xpub = context.socket(zmq.XPUB)
    try:
        xpub.setsockopt(zmq.SNDHWM, send_hwm)
        xpub.setsockopt(zmq.SNDTIMEO, PATIENCE_MS)
        xpub.setsockopt(zmq.XPUB_VERBOSE, 1)
        xpub.setsockopt(zmq.XPUB_NODROP, 1)
        xpub.setsockopt(zmq.MAXMSGSIZE, MAX_INBOUND_BYTES)
        xpub.setsockopt(zmq.LINGER, LINGER_MS)
        xpub.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        xpub.setsockopt(zmq.TCP_KEEPALIVE, 1)
        xpub.setsockopt(zmq.IPV6, int("[" in bind))
        xpub.copy_threshold = ZERO_COPY_BYTES
        if curve is not None:
            xpub.curve_server = True
            xpub.curve_publickey = curve.public.encode("ascii")
            xpub.curve_secretkey = curve.secret.encode("ascii")
        xpub.bind(re.sub(r"^tcp://localhost:", "tcp://127.0.0.1:", bind))
    except zmq.ZMQError as error:
        xpub.close(linger=0)
        raise _bind_error(bind, error) from error
    except BaseException:
        xpub.close(linger=0)
        raise
    return xpub


def _refuse_taken_ipc(bind: str) -> None:
    """Raise where a publisher still listens: libzmq would silently take over its file."""
    if not bind.startswith("ipc:///"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(bind.removeprefix("ipc://"))
        except OSError:
            return
    raise PublishError(f"{bind} is in use", hint="stop the other publisher or bind to another file")


_BIND_HINTS = {
    errno.EADDRINUSE: ("is in use", "stop the other program, or bind to another port or to port *"),
    errno.EACCES: ("is not allowed", "use a port from 1024 on, or a folder that you may write to"),
    errno.EADDRNOTAVAIL: ("is not an address of this machine", "use 127.0.0.1 or 0.0.0.0"),
    errno.ENODEV: ("is not an address of this machine", "use 127.0.0.1 or 0.0.0.0"),
    errno.EPROTONOSUPPORT: ("has an unknown transport", "use tcp://, ipc:// or inproc://"),
    errno.EINVAL: ("is malformed", "write it like tcp://127.0.0.1:5870"),
    errno.ENOENT: ("is in a folder that does not exist", "make the folder first"),
    errno.ENAMETOOLONG: ("is too long", "use a shorter path"),
}


def _bind_error(bind: str, error: zmq.ZMQError) -> PublishError:
    what, hint = _BIND_HINTS.get(
        error.errno or 0, (f"failed: {error}", "write it like tcp://127.0.0.1:5870")
    )
    return PublishError(f"binding to {bind!r} {what}", hint=hint)
