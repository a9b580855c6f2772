"""Calls between processes of one user on one machine, over a socket in a private folder."""

from __future__ import annotations

import contextlib
import logging
import threading
from multiprocessing.connection import Client, Connection, Listener
from typing import TYPE_CHECKING, Any, Self

from streamprn.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CallError", "Calls", "call"]

#: Longest path of a socket that all systems take.
MAX_PATH = 100
#: Callers that wait to be heard.
_BACKLOG = 64

log = logging.getLogger("streamprn.cluster")


class CallError(OSError):
    """Nobody answers a call, or not in time."""


class Calls:
    """Answers calls of an object's methods, each in a thread of its own. A context manager.

    Args:
        path: of the socket; its folder must be this user's alone, as who may call may do anything.
        target: whose methods are called.

    Raises:
        InputError: the path is too long for a socket.
    """

    def __init__(self, path: Path, target: object) -> None:
        if len(str(path)) > MAX_PATH:
            raise InputError(
                f"{path.parent}: its path is too long for a socket", hint="choose a shorter one"
            )
        path.unlink(missing_ok=True)
        self._path = path
        self._target = target
        self._listener = Listener(str(path), "AF_UNIX", backlog=_BACKLOG)
        path.chmod(0o600)
        self._thread = threading.Thread(target=self._serve, name="calls", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hear no more calls."""
        with contextlib.suppress(OSError):
            self._listener.close()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except (OSError, EOFError):
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: Connection[Any, Any]) -> None:
        with connection, contextlib.suppress(OSError, EOFError):
            while True:
                name, arguments, options = connection.recv()
                try:
                    answer = True, getattr(self._target, name)(*arguments, **options)
                except Exception as error:
                    log.debug("%s failed", name, exc_info=True)
                    answer = False, error
                connection.send(answer)


def call(path: Path, name: str, *arguments: Any, timeout_s: float = 10.0, **options: Any) -> Any:
    """Call a method of the object behind a socket.

    Args:
        path: of the socket.
        name: of the method.
        *arguments: of the call.
        timeout_s: for the answer.
        **options: of the call too.

    Raises:
        CallError: nobody answers.
        Exception: what the method raised.
    """
    try:
        with Client(str(path), "AF_UNIX") as connection:
            connection.send((name, arguments, options))
            if not connection.poll(timeout_s):
                raise CallError(f"{path.name}: {name} was not answered in {timeout_s:g} s")
            done, value = connection.recv()
    except CallError:
        raise
    except (OSError, EOFError) as error:
        raise CallError(f"{path}: nobody answers") from error
    if not done:
        raise value
    return value
