"""Where a reader's thread asks whether to go on, and waits while it is paused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from streamprn.records import SourceState

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamprn.config import Address
    from streamprn.source.control import Control
    from streamprn.source.timing import Pacer

__all__ = ["Gate"]


class Gate:
    """Obeys a `Control` on the reader's own thread.

    Args:
        control: told by others.
        address: what reconnects is disconnected by a pause; anything else keeps its place.
        report: told the state when a pause begins, and the one before it when it ends.
        state: gives the state now.
    """

    def __init__(
        self,
        control: Control,
        address: Address,
        report: Callable[[SourceState], None],
        state: Callable[[], SourceState],
    ) -> None:
        self.control = control
        self._address = address
        self._report = report
        self._state = state
        self._pauses = 0

    @property
    def interrupted(self) -> bool:
        """Whether to leave off: told to stop, or to pause what is disconnected for that.

        Even a pause that is over already disconnects: whoever waits for the server may have left.
        """
        if self.control.stopped:
            return True
        return self._address.reconnects and self.control.running() != self._pauses

    def hold(self) -> bool:
        """Wait while paused; False when told to stop."""
        while not self.control.stopped:
            pauses = self.control.running()
            if pauses is not None:
                self._pauses = pauses
                return True
            self._report(SourceState.PAUSED)
            self.control.wait_for_resume()
        return False

    def sleep(self, seconds: float) -> bool:
        """Sleep; False where `stop` or a pause ended that early."""
        return self.control.sleep(seconds, self._pauses)

    def proceed(self) -> bool:
        """Whether to go on; what keeps its place waits here while paused."""
        if not self._address.reconnects and self.control.running() is None:
            before = self._state()
            if self.hold():
                self._report(before)
        return not self.interrupted

    def wait_until_due(self, pacer: Pacer | None, at_ns: int | None) -> int | None:
        """Wait for the moment `at_ns` and return when it was due (monotonic ns).

        Without a pacer or a moment that is now. None where the thread is to leave off.
        """
        while self.proceed():
            if pacer is None or at_ns is None:
                return time.monotonic_ns()
            due = pacer.wait(at_ns)
            if due is not None:
                return due
        return None
