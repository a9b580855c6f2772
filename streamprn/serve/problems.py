"""What a client is told when a request cannot be served: problem details (RFC 9457)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamprn.errors import NoSuchStreamError, StreamExistsError, StreamPRNError
from streamprn.redact import redact_text
from streamprn.serve.reload import NoConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Problem", "ProblemError", "problem_of"]

MEDIA_TYPE = "application/problem+json"
#: The member `type` of a problem is this and its key; /docs explains each.
TYPE_PREFIX = "urn:streamprn:problem:"

#: Every kind of problem: its status and its title.
PROBLEMS = {
    "bad-request": (400, "The request is no HTTP or JSON that can be understood"),
    "no-token": (401, "The request brings no token, or a wrong one"),
    "wrong-origin": (403, "The request comes from a page of another host"),
    "no-such-page": (404, "There is nothing at this path"),
    "no-such-stream": (404, "There is no stream of this name"),
    "wrong-method": (405, "This path does not take this method"),
    "stream-exists": (409, "There is a stream of this name already"),
    "too-many-streams": (409, "There are as many streams as there can be"),
    "no-configuration": (409, "The engine was started without a configuration file"),
    "too-large": (413, "The body is too large"),
    "wrong-type": (415, "The body is not JSON"),
    "wrong-value": (422, "A key or value cannot be used"),
    "failed": (500, "The engine could not do it"),
    "busy": (503, "As many viewers are served as may be at a time"),
    "no-picture": (503, "The stream shows no picture now"),
    "no-worker": (503, "The worker of the stream does not answer now"),
}


class ProblemError(Exception):
    """A request that cannot be served.

    Args:
        key: one of `PROBLEMS`.
        detail: the cause in this case.
        next_step: what the client can do.
    """

    def __init__(self, key: str, detail: str, next_step: str = "") -> None:
        self.problem = Problem(key, detail, next_step)
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem as it goes out; see `ProblemError`."""

    key: str
    detail: str
    next_step: str = ""

    @property
    def status(self) -> int:
        """Of the answer."""
        return PROBLEMS[self.key][0]

    def members(self, instance: str) -> Mapping[str, object]:
        """The JSON object, credentials removed."""
        found: dict[str, object] = {
            "type": TYPE_PREFIX + self.key,
            "title": PROBLEMS[self.key][1],
            "status": self.status,
            "detail": redact_text(self.detail),
            "instance": instance,
        }
        if self.next_step:
            found["next_step"] = redact_text(self.next_step)
        return found


def problem_of(error: StreamPRNError) -> Problem:
    """The problem that one of the project's errors is to a client."""
    if isinstance(error, NoSuchStreamError):
        key = "no-such-stream"
    elif isinstance(error, StreamExistsError):
        key = "stream-exists"
    elif isinstance(error, NoConfigurationError):
        key = "no-configuration"
    else:
        key = "wrong-value"
    what = str(error).removesuffix(f" ({error.hint})") if error.hint else str(error)
    return Problem(key, what, error.hint)
