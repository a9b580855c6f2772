"""Whether the engine gets on with its work, for /healthz and the watchdog of systemd."""

from __future__ import annotations

import logging
import time
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamprn.live.pipeline import Pipeline

__all__ = ["Health", "Liveness"]

log = logging.getLogger("streamprn.serve")

#: A loop that does not finish one turn in this time, while frames wait for it, is stuck.
PATIENCE_S = 30.0


class Health(StrEnum):
    """How the engine is."""

    STARTING = "starting"
    ALIVE = "alive"
    STUCK = "stuck"
    ENDED = "ended"


class Liveness:
    """Watches the loops of a pipeline; `tick` is to be called about once a second.

    Args:
        pipeline: entered.
        patience_s: see `PATIENCE_S`.
    """

    def __init__(self, pipeline: Pipeline, patience_s: float = PATIENCE_S) -> None:
        self._pipeline = pipeline
        self._patience_s = patience_s
        self._has_run = False
        self._turns: dict[str, int] = {}
        self._moved_s: dict[str, float] = {}
        self._health = Health.STARTING

    @property
    def health(self) -> Health:
        """As the last tick found it."""
        return self._health

    def tick(self) -> Health:
        """Look at the loops once."""
        before, self._health = self._health, self._look()
        if self._health is Health.STUCK is not before:
            stuck = ", ".join(self._stuck(time.monotonic()))
            log.error("stuck: frames wait, and the loop %s does not take them", stuck)
        return self._health

    def _look(self) -> Health:
        now = time.monotonic()
        if not self._pipeline.running:
            return Health.ENDED if self._has_run else Health.STARTING
        self._has_run = True
        for name, loop in self._pipeline.statistics().items():
            # A loop with nothing to do is fine, however long that lasts.
            if not loop.waiting or loop.turns != self._turns.get(name):
                self._moved_s[name] = now
            self._turns[name] = loop.turns
        return Health.STUCK if self._stuck(now) else Health.ALIVE

    def _stuck(self, now: float) -> list[str]:
        return [name for name, at in self._moved_s.items() if now - at > self._patience_s]
