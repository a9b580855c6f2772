"""Calls of workers that somebody waits for, within bounds; a worker may die meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ray

from streamprn.cluster.member import PLACING, VIEWING
from streamprn.serve.problems import Problem, ProblemError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamprn.cluster.crew import Crew
    from streamprn.cluster.member import Member
    from streamprn.cluster.worker import Answer

__all__ = ["WorkerGoneError", "ask", "fetch", "fetch_all", "streams_of"]

#: For an answer that no camera and no picture has to be waited for.
ANSWER_S = 3.0
#: For one that may wait for a camera to settle, or for a picture.
SLOW_ANSWER_S = 8.0


class WorkerGoneError(ProblemError):
    """The worker of a stream does not answer: it died, or has not started."""

    def __init__(self, stream: str) -> None:
        super().__init__(
            "no-worker", f"{stream}: its worker does not answer now", "try again in some seconds"
        )


def ask(crew: Crew, stream: str, method: str, *arguments: Any) -> Any:
    """Call the control interface of the worker that has a stream.

    Args:
        crew: the workers.
        stream: its name.
        method: of `Control`.
        *arguments: of the method.

    Raises:
        ProblemError: it refuses.
        WorkerGoneError: it does not answer, or there is none.
    """
    member = crew.member_of(stream)
    if member is None:
        raise WorkerGoneError(stream)
    # In one line with taking and dropping streams.
    call = member.actor.call.options(concurrency_group=PLACING)
    answer = _got(call.remote(method, *arguments), stream, SLOW_ANSWER_S)
    if isinstance(answer, Problem):
        raise ProblemError(answer.key, answer.detail, answer.next_step)
    return answer


def fetch(crew: Crew, stream: str, path: str) -> Answer:
    """A page about a stream, from the HTTP interface of the worker that has it.

    Raises:
        WorkerGoneError: it does not answer, or there is none.
    """
    member = crew.member_of(stream)
    if member is None:
        raise WorkerGoneError(stream)
    call = member.actor.fetch.options(concurrency_group=VIEWING)
    answer: Answer = _got(call.remote(path), stream, SLOW_ANSWER_S)
    return answer


def fetch_all(members: Sequence[Member], path: str, accept: str) -> Mapping[str, Answer]:
    """A page of each worker that answers in time, by its slot."""
    return _gathered({
        one.slot: one.actor.fetch.options(concurrency_group=VIEWING).remote(path, accept)
        for one in members
    })  # fmt: skip


def streams_of(members: Sequence[Member]) -> Mapping[str, list[dict[str, Any]]]:
    """The streams of each worker that answers in time, as it shows them, by its slot."""
    return _gathered({one.slot: one.actor.call.remote("streams") for one in members})


def _got(ref: Any, stream: str, timeout_s: float) -> Any:
    try:
        return ray.get(ref, timeout=timeout_s)
    except (ray.exceptions.RayError, OSError) as error:
        raise WorkerGoneError(stream) from error


def _gathered(refs: Mapping[str, Any]) -> dict[str, Any]:
    if not refs:
        return {}
    ready, _ = ray.wait(list(refs.values()), num_returns=len(refs), timeout=ANSWER_S)
    found = {}
    for slot, ref in refs.items():
        if ref in ready:
            try:
                found[slot] = ray.get(ref)
            except (ray.exceptions.RayError, OSError):
                continue  # it is on its way out, and said so to who watches it
    return found
