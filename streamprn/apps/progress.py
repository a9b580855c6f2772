"""Saying what takes long: a spinner on a terminal, else a line for each step that does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["told_steps"]

#: A step that is over before this is not worth a line.
PATIENCE_S = 1.0


@contextmanager
def told_steps(console: Console) -> Iterator[Callable[[str], None]]:
    """Give a function to call with the name of each step as it begins.

    Args:
        console: where to say it. Without a terminal a step is told once it has taken a second.
    """
    if console.is_terminal:
        with console.status("") as status:
            yield status.update
        return
    waiting: list[threading.Timer] = []

    def begin(step: str) -> None:
        end()
        timer = threading.Timer(PATIENCE_S, console.print, [f"{step} ..."], {"markup": False})
        timer.daemon = True
        timer.start()
        waiting.append(timer)

    def end() -> None:
        for timer in waiting:
            timer.cancel()
        waiting.clear()

    try:
        yield begin
    finally:
        end()
