"""One worker as those who watch it see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamprn.cluster.worker import Hello, Report

__all__ = ["CALLS", "PLACING", "VIEWING", "VIEWS", "Member", "drop", "in_words"]

#: Concurrency group of the calls that give and take streams: one after the other, as a stream that
#: is given and taken away at once must be gone.
PLACING = "placing"
#: That of calls that wait for a picture.
VIEWING = "viewing"
#: Control and reports at a time in one worker.
CALLS = 8
#: Pictures and pages of figures at a time in one worker.
VIEWS = 16


@dataclass(slots=True, eq=False)
class Member:
    """A worker that was started.

    Attributes:
        slot: which of the crew it is; its successor has the same.
        actor: its handle.
        hello: what it said when it was open; None before.
        report: the last one.
        due_s: when the next one is.
    """

    slot: str
    actor: Any
    hello: Hello | None = None
    report: Report | None = None
    due_s: float = 0.0
    waiting: dict[Any, tuple[str, str]] = field(default_factory=dict)
    asked_s: float = 0.0


def drop(member: Member, stream: str) -> None:
    """Let a worker let go of a stream; does not wait for it."""
    member.actor.drop.options(concurrency_group=PLACING).remote(stream)


def in_words(error: Exception) -> str:
    """What an error of Ray says in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
