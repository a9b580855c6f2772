"""The publisher's socket: its keys, its options, and what binding says when it cannot be done."""

from __future__ import annotations

import errno
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

import zmq

from streamprn.errors import InputError, PublishError
from streamprn.private import check_private, read_small
from streamprn.wire.address import has_bad_port, is_local

__all__ = [
    "LINGER_MS",
    "Access",
    "CurveKeys",
    "bind_publisher",
    "check_exposure",
    "public_key",
    "read_public_key",
]

#: Parts from this size on are sent without a copy. Latency is the same either way; a full mesh
#: takes the caller's thread 0.1 to 0.2 ms less, while below some 100 KB the bookkeeping costs more.
ZERO_COPY_BYTES = 128 * 1024
#: Of one connection, messages that libzmq takes over at once; the rest waits in the sender. Of 16,
#: a peer that floods brought 171 at each look, and those of others stood behind 100,000 of them.
RECEIVE_HWM = 2
#: A subscription is at most one topic long; CURVE's handshake needs a few hundred bytes.
MAX_INBOUND_BYTES = 4096
LINGER_MS = 200
#: How long one message waits for room in a queue: the I/O thread may need the processor first.
PATIENCE_MS = 1
HEARTBEAT_MS = 10_000
#: Under which an allow list is asked about clients.
ZAP_DOMAIN = b"streamprn"
_KEY_LENGTH = 40
_Z85_KEY = re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
#: What to do where there is no key pair.
MAKE_KEYS = "make a pair with `streamprn keys new NAME`"


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """A CURVE key pair in Z85 text, 40 characters each."""

    public: str
    secret: str

    @classmethod
    def load(cls, path: Path) -> CurveKeys:
        """Read a `.key_secret` file as written by `create` or `zmq.auth.create_certificates`.

        Raises:
            InputError: the file is missing, holds no secret key or two keys that are no pair,
                others may read it, or it belongs to another user.
        """
        text, about = read_small(path, "CURVE key", MAKE_KEYS)
        public, secret = (_key_in(text, part) for part in ("public", "secret"))
        if public is None:
            raise InputError(f"{path}: no CURVE key file", hint=MAKE_KEYS)
        if secret is None:
            raise InputError(f"{path}: holds only a public key", hint="give the .key_secret file")
        check_private(path, about, "secret key")
        _check_pair(path, public, secret)
        return cls(public, secret)

    @classmethod
    def create(cls, folder: Path, name: str = "server") -> CurveKeys:
        """Make a pair and write `<name>.key` (public) and `<name>.key_secret` into a folder.

        Raises:
            InputError: one of the files exists.
        """
        from zmq.auth import create_certificates

        folder.mkdir(parents=True, exist_ok=True)
        for suffix in (".key", ".key_secret"):
            if (folder / f"{name}{suffix}").exists():
                raise InputError(
                    f"{folder / name}{suffix}: exists already", hint="choose another name or folder"
                )
        before = os.umask(0o077)  # the secret is its owner's from the first moment on
        try:
            public_file, secret_file = create_certificates(folder, name)
        finally:
            os.umask(before)
        Path(public_file).chmod(0o644)
        return cls.load(Path(secret_file))


def read_public_key(path: Path) -> str:
    """The public key in a `.key` or `.key_secret` file, 40 characters of Z85.

    Raises:
        InputError: the file cannot be read or holds none.
    """
    text, _ = read_small(path, "CURVE key", MAKE_KEYS)
    key = _key_in(text, "public")
    if key is None or not _Z85_KEY.fullmatch(key):
        raise InputError(f"{path}: holds no public CURVE key", hint="give a .key file")
    return key


def public_key(given: str | Path) -> str:
    """The public key that somebody gave: the key itself, or the name of its file.

    Args:
        given: 40 characters of Z85, or a `.key` or `.key_secret` file.

    Raises:
        InputError: it is no key, and no file that holds one; or it could be either.
    """
    if isinstance(given, Path):
        return read_public_key(given)
    is_key = _Z85_KEY.fullmatch(given) is not None
    is_file = _exists(given)
    if is_key and is_file:
        raise InputError(
            f"{given!r} can be a CURVE key and names a file",
            hint="write ./ before the file's name, or give it as a Path",
        )
    if is_key:
        return given
    if not is_file:
        raise InputError(
            f"{given!r} is no CURVE key of {_KEY_LENGTH} characters of Z85, and no file",
            hint="copy the publisher's public key, or name its .key file",
        )
    return read_public_key(Path(given))


def _exists(name: str) -> bool:
    try:
        return bool(name) and Path(name).exists()
    except (OSError, ValueError):
        return False


def _key_in(text: str, part: str) -> str | None:
    found = re.search(rf'^\s*{part}-key\s*=\s*"([^"\s]*)"', text, re.MULTILINE)
    return None if found is None else found.group(1)


def _check_pair(path: Path, public: str, secret: str) -> None:
    for what, key in (("public", public), ("secret", secret)):
        if len(key) != _KEY_LENGTH:
            raise InputError(
                f"{path}: its {what} key has {len(key)} characters, not {_KEY_LENGTH}",
                hint="copy the whole file",
            )
    try:
        fits = zmq.curve_public(secret.encode()) == public.encode()
    except (zmq.ZMQError, ValueError):
        fits = False
    if not fits:
        raise InputError(
            f"{path}: its keys are no pair: nobody could connect",
            hint=MAKE_KEYS,
        )


@dataclass(frozen=True, slots=True)
class Access:
    """Who may read what a publisher sends.

    Attributes:
        keys: encrypt with these; None sends in the clear.
        allow: folder of the public keys of those who may connect; None lets everybody.
    """

    keys: CurveKeys | None = None
    allow: Path | None = None

    @classmethod
    def load(
        cls, bind: str, secret_file: Path | None, allow_dir: Path | None, *, insecure: bool
    ) -> Access:
        """Read the keys, and refuse what would let strangers read.

        Args:
            bind: ZeroMQ address.
            secret_file: of the server's keys.
            allow_dir: see `allow`; needs `secret_file`.
            insecure: publish to strangers all the same.

        Raises:
            InputError: a file cannot be used, or `check_exposure` refuses the address.
        """
        keys = None if secret_file is None else CurveKeys.load(secret_file)
        if allow_dir is not None and keys is None:
            raise InputError(
                "publish.curve_allow_dir: clients are known by their keys only where there are any",
                hint="set publish.curve_secret_file",
            )
        check_exposure(
            bind, encrypted=keys is not None, allowed=allow_dir is not None, insecure=insecure
        )
        return cls(keys, allow_dir)


def check_exposure(bind: str, *, encrypted: bool, allowed: bool, insecure: bool) -> None:
    """Refuse to publish where strangers can read.

    Args:
        bind: ZeroMQ address.
        encrypted: there are CURVE keys.
        allowed: there is a list of the clients that may connect.
        insecure: somebody wants it all the same.

    Raises:
        InputError: other machines reach the address, and one of the two is missing.
    """
    if is_local(bind) or insecure or (encrypted and allowed):
        return
    what = "anybody there may subscribe" if encrypted else "nothing is encrypted"
    missing = "publish.curve_allow_dir" if encrypted else "publish.curve_secret_file"
    raise InputError(
        f"{bind} can be reached from other machines, and {what}",
        hint=f"set {missing} (`streamprn keys new NAME` makes keys), bind to 127.0.0.1, "
        "or say --insecure",
    )


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
        xpub.setsockopt(zmq.RCVHWM, RECEIVE_HWM)
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
            xpub.zap_domain = ZAP_DOMAIN
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
    if not bind.startswith("ipc://") or bind.removeprefix("ipc://")[:1] in ("*", "@", ""):
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
