"""SIGINT and SIGTERM end a command in bounded time, whatever the main thread is busy with.

SIGHUP, where somebody wants it, does not end it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

from streamprn.callbacks import is_called_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

#: The interpreter itself then takes another 0.2 s to end.
GRACE_S = 0.7
#: For commands that remove half-written files before they end.
CLEANUP_S = 5.0
# Until a signal that came within a callback comes again.
_AGAIN_S = 0.01
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM asked to stop; `number` says which."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__()


def _interrupt(number: int, frame: FrameType | None, done: threading.Event) -> None:
    """Raise `Stopped`, or where it would be lost let the signal come again, until `done`."""
    if not is_called_back(frame):
        raise Stopped(number)

    def again() -> None:
        if not done.is_set():
            os.kill(os.getpid(), number)

    later = threading.Timer(_AGAIN_S, again)
    later.daemon = True
    later.start()


@contextlib.contextmanager
def stop_on_signals(
    grace_s: float = GRACE_S,
    *,
    interrupt: bool = False,
    on_hangup: Callable[[], None] | None = None,
) -> Iterator[threading.Event]:
    """Give an event that the first SIGINT or SIGTERM sets; for the main thread only.

    The body must then end within `grace_s` seconds, or the process is ended with the exit code
    128 + signal. A second signal raises `Stopped`; with `interrupt` the first one does.
    SIGHUP calls `on_hangup` where it is given, in a thread of its own; else it ends the process.

    A Python signal handler waits until the main thread runs Python code, which may be long when
    it compiles a network. The interpreter's wake-up descriptor is written at once, so a thread
    that reads it keeps the time.
    """
    stop, done = threading.Event(), threading.Event()
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    handled: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        handled.append(number)
        if interrupt or len(handled) > 1:
            _interrupt(number, frame, done)

    def watch() -> None:
        while number := reader.recv(1):
            if number[0] == signal.SIGHUP and on_hangup is not None:
                on_hangup()
            elif number[0] in _SIGNALS:
                stop.set()
                if not done.wait(grace_s):
                    os._exit(128 + number[0])
                return

    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    if on_hangup is not None:
        # The thread that reads the descriptor does it; the handler only keeps the process.
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: None)
    descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher.start()
    try:
        yield stop
    finally:
        done.set()
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()
        watcher.join(timeout=1)
        reader.close()
