"""A thread that does one job until it is done, told to stop, or fails."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass

__all__ = ["Loop", "LoopStatistics"]


@dataclass(frozen=True, slots=True)
class LoopStatistics:
    """What a loop has done.

    Attributes:
        frames: that went through it.
        turns: of the loop; a turn takes frames of several streams together.
        busy_ns: spent at work, not waiting.
        waiting: frames in its inbox now.
        oldest_age_ns: how long the oldest of them has waited.
    """

    frames: int
    turns: int
    busy_ns: int
    waiting: int
    oldest_age_ns: int


class Loop(ABC):
    """Runs `_work` in a thread of its own.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.failure: BaseException | None = None
        self._frames = 0
        self._turns = 0
        self._busy_ns = 0

    def start(self) -> None:
        """Start; once only."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether its thread is alive."""
        return self._thread.is_alive()

    def join(self, timeout: float) -> None:
        """Wait for its end, at most `timeout` seconds; returns at once if it never started."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    @abstractmethod
    def stop(self) -> None:
        """Let it end soon; does not wait."""

    @abstractmethod
    def statistics(self) -> LoopStatistics:
        """A snapshot; may be called from any thread."""

    @abstractmethod
    def _work(self) -> None:
        """The job."""

    @abstractmethod
    def _end(self) -> None:
        """Tell the neighbours that this loop does nothing more."""

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001
            # Whatever ends this thread ends the run, with the same error.
            self.failure = error
        finally:
            self._end()
