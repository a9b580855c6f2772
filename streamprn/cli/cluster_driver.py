"""The process of a cluster's head that speaks with Ray; `streamprn cluster up` starts it.

Its errand stands on standard input, which is open as long as whoever started it lives.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from pathlib import Path

from streamprn.cli import report
from streamprn.cli.console import configure_logging, console_on, speaker
from streamprn.cli.signals import stop_on_signals
from streamprn.cluster.driver import GRACE_S, LOST_RAY, Errand, drive
from streamprn.errors import StreamPRNError

__all__: list[str] = []


def main() -> int:
    """Do the errand; returns the exit code."""
    errand: Errand = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_who_started_it, name="stdin", daemon=True).start()
    # Ray writes pages about every machine that goes: into a file. What is said here is for people.
    terminal = os.dup(2)
    _send_errors_to(errand.folder / "driver.log")
    console = console_on(os.fdopen(terminal, "w", closefd=False))
    configure_logging(errand.config.log.level, console)
    say = speaker(console, quiet=errand.quiet)
    try:
        return drive(errand, say, lambda hangup: stop_on_signals(grace_s=GRACE_S, on_hangup=hangup))
    except StreamPRNError as error:
        os.dup2(terminal, 2)
        report(str(error), verbose=False)
        return error.exit_code


def _send_errors_to(path: Path) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(file, 2)
    os.dup2(file, 1)
    os.close(file)


def _end_with_who_started_it() -> None:
    # Not through a buffer, whose lock this thread would hold when the interpreter ends.
    while os.read(0, 4096):
        pass
    os._exit(LOST_RAY)


if __name__ == "__main__":
    sys.exit(main())
