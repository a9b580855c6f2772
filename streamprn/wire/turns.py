"""A lock that those who send are not kept waiting for."""

from __future__ import annotations

import threading
from typing import Literal

__all__ = ["SendLock"]


class SendLock:
    """A lock whose holder can see that somebody waits for it, and end its turn.

    `with lock:` is for who sends, `with lock.patient:` for who holds it while it works off what is
    not urgent, and looks at `wanted` between two pieces.

    Attributes:
        patient: the same lock; waiting for it does not make it `wanted`.
        wanted: whether somebody waits who sends. A hint: false for a while where several do.
    """

    __slots__ = ("patient", "wanted")

    def __init__(self) -> None:
        self.patient = threading.Lock()
        self.wanted = False

    def __enter__(self) -> None:
        if not self.patient.acquire(blocking=False):
            self.wanted = True
            self.patient.acquire()
            self.wanted = False

    def __exit__(self, *_: object) -> Literal[False]:
        self.patient.release()
        return False
