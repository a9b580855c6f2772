"""Output: colours only on a terminal (and never with NO_COLOR), messages on standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from streamprn.redact import redact_text

if TYPE_CHECKING:
    from collections.abc import Callable

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


def console_on(file: TextIO) -> Console:
    """For messages, where standard error is taken for something else."""
    from rich.console import Console

    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    return console


def speaker(console: Console, *, quiet: bool) -> Callable[[str], None]:
    """Tells people what happens, a line each; nothing where it is to be `quiet`."""

    def say(text: str) -> None:
        if not quiet:
            console.print(text, markup=False, soft_wrap=True)

    return say


class _Messages:
    """Standard error, as it is now; a message that it does not take, as on a full disk, is lost."""

    @property
    def _file(self) -> IO[str]:
        file: IO[str] = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
        return file

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except BrokenPipeError:
            raise
        except OSError:
            return len(text)

    def flush(self) -> None:
        try:
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError:
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    class PipedConsole(Console):
        """Ends the program where nobody reads its results; messages are then left out."""

        def on_broken_pipe(self) -> None:
            self.quiet = True
            if not self.stderr:
                raise BrokenPipeError
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())

    file = cast("IO[str]", _Messages()) if stderr else None
    console = PipedConsole(stderr=stderr, file=file, highlight=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    return console


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact_text(super().format(record))


class _Json(logging.Formatter):
    """One JSON object a line, credentials removed.

    Args:
        run: names this run in every line.
    """

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "run": self._run,
            "message": redact_text(record.getMessage()),
        }
        status = getattr(record, "status", None)
        if stream := _stream_of(record):
            line["stream"] = stream
        if status is not None:
            line |= {"state": str(status.state), "cause": redact_text(status.cause)}
        if record.exc_info:
            line["exception"] = redact_text(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def _stream_of(record: logging.LogRecord) -> str:
    """The stream that a message is about, or an empty text."""
    status = getattr(record, "status", None)
    stream = getattr(record, "stream", "" if status is None else status.stream)
    # The thread of a source is called after it.
    reader = str(record.threadName or "").partition("source ")
    return str(stream) or (reader[2] if not reader[0] else "")


def configure_logging(
    level: str, console: Console | None = None, *, json_run: str | None = None
) -> None:
    """Send the project's messages from `level` on to standard error, credentials removed.

    FFmpeg's own messages, where somebody turns them on, go the same way.

    Args:
        level: "error", "warning", "info" or "debug".
        console: where a live display runs, so that messages go above it.
        json_run: write JSON lines that name this run.
    """
    handler: logging.Handler
    if json_run is not None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Json(json_run))
    elif console is not None and console.is_terminal:
        from rich.logging import RichHandler

        handler = RichHandler(console=console, show_path=False, rich_tracebacks=False)
        handler.setFormatter(_Redacting("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Redacting("%(asctime)s %(levelname)s %(message)s"))
    for name in ("streamprn", "libav"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(_LEVELS[level])
