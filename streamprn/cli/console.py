"""Output: colours only on a terminal (and never with NO_COLOR), messages on standard error."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from streamprn.config.redact import redact_text

if TYPE_CHECKING:
    from rich.console import Console

_LEVELS = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}


#: Columns where there is no terminal to ask.
_PLAIN_WIDTH = 160


def stdout_console() -> Console:
    """For results."""
    return _console(stderr=False)


def stderr_console() -> Console:
    """For everything that is not a result."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    class PipedConsole(Console):
        """Ends the program where nobody reads its results; messages are then left out."""

        def on_broken_pipe(self) -> None:
            self.quiet = True
            if not self.stderr:
                raise BrokenPipeError
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())

    console = PipedConsole(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    return console


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact_text(super().format(record))


def configure_logging(level: str, console: Console | None = None) -> None:
    """Send the project's messages from `level` on to standard error, credentials removed.

    Args:
        level: "error", "warning", "info" or "debug".
        console: where a live display runs, so that messages go above it.
    """
    handler: logging.Handler
    if console is not None and console.is_terminal:
        from rich.logging import RichHandler

        handler = RichHandler(console=console, show_path=False, rich_tracebacks=False)
        handler.setFormatter(_Redacting("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Redacting("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("streamprn")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(_LEVELS[level])
