"""Which clients may connect to an encrypted publisher: ZeroMQ's authentication protocol (ZAP)."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from streamprn.errors import InputError
from streamprn.wire.bind import ZAP_DOMAIN, read_public_key

if TYPE_CHECKING:
    from pathlib import Path

    import zmq

__all__ = ["AllowList"]

#: A refused client tries again and again: it is named once in so many seconds.
_LOG_EVERY_S = 60.0
_MOST_NAMED = 1024

_log = logging.getLogger(__name__)


class AllowList:
    """Lets those clients connect whose public keys lie in a folder.

    Args:
        context: of the publisher; it has one list at most.
        folder: of `.key` files. It is read again where it changes; who is connected stays so.

    Raises:
        InputError: the folder cannot be read, or one of its files holds no key.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> None:
        from zmq.auth.thread import ThreadAuthenticator

        self._folder = folder
        self._named: dict[bytes, float] = {}
        self._state = self._look()
        self._keys = self._read()
        self._authenticator = ThreadAuthenticator(context, log=logging.getLogger(f"{__name__}.zap"))
        self._authenticator.start()
        self._authenticator.configure_curve_callback(ZAP_DOMAIN.decode("ascii"), self)

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether a client may connect; asked by the authenticator, from its thread."""
        del domain
        if key in self._keys:
            return True
        now = time.monotonic()
        if now - self._named.get(key, -_LOG_EVERY_S) >= _LOG_EVERY_S:
            if len(self._named) >= _MOST_NAMED:
                self._named.clear()
            self._named[key] = now
            _log.warning(
                "a client with the public key %s is refused: it is not in %s",
                *(key.decode("ascii", "replace"), self._folder),
            )
        return False

    def refresh(self) -> None:
        """Read the folder again where it has changed; one that cannot be read changes nothing."""
        try:
            state = self._look()
            if state == self._state:
                return
            self._state = state
            self._keys = self._read()
        except InputError as error:
            _log.warning("%s; the clients that may connect stay as they are", error)
            return
        self._named.clear()
        _log.info("%s: %d clients may connect", self._folder, len(self._keys))

    def close(self) -> None:
        """Stop answering."""
        self._authenticator.stop()

    def _look(self) -> tuple[tuple[str, int], ...]:
        try:
            return tuple(
                (path.name, path.stat().st_mtime_ns) for path in sorted(self._folder.glob("*.key"))
            )
        except OSError:
            return ()

    def _read(self) -> frozenset[bytes]:
        if not self._folder.is_dir():
            raise InputError(
                f"{self._folder}: no folder of client keys",
                hint="put the .key files of those who may connect there",
            )
        paths = sorted(self._folder.glob("*.key"))
        return frozenset(read_public_key(path).encode("ascii") for path in paths)
