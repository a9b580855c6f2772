"""A program on a terminal of its own, as somebody who sits before it sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable


def on_terminal(
    *arguments: object,
    columns: int = 80,
    after_s: float = 0.0,
    during: Callable[[], None] | None = None,
) -> tuple[int, str]:
    """Run `streamprn` on a terminal so wide to its end.

    Args:
        arguments: of the program.
        columns: of the terminal.
        after_s: when `during` is called, from the start on.
        during: called while it runs, or None.

    Returns:
        The exit code, and all that the terminal was sent, control sequences included.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    command = [sys.executable, "-m", "streamprn", *map(str, arguments)]
    hidden = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm"}
    ) as process:
        os.close(theirs)
        timer = threading.Timer(after_s, during) if during else None
        if timer:
            timer.start()
        seen = b"".join(iter(lambda: _read(ours), b"")).decode()
        code = process.wait(10)
    if timer:
        timer.join()
    os.close(ours)
    return code, seen


def plain(seen: str) -> str:
    """What a terminal was sent without control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen).replace("\r", "")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when the other side is closed
        return b""
