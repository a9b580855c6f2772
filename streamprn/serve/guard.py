"""What every request must pass before anything is done for it."""

from __future__ import annotations

import hmac
import logging
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from streamprn.apps.origin import foreign
from streamprn.serve.answers import problem_response
from streamprn.serve.problems import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Guard"]

log = logging.getLogger("streamprn.serve")

#: Whoever checks on the service has no token; these answer one word to everybody.
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
LOG_INTERVAL_S = 1.0


class Guard:
    """Refuses requests without the token, and those that a page of another host made.

    Args:
        app: served behind it.
        token: that requests must bring as `Authorization: Bearer TOKEN`; None asks for none.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token
        self._next_log_s = 0.0
        self._unlogged = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope["state"]["trusted"] = trusted = self._is_trusted(headers)
        problem = self._foreign(headers)
        if problem is None and not trusted and scope["path"] not in OPEN_PATHS:
            problem = Problem(
                "no-token",
                "the header Authorization is missing or wrong",
                "send `Authorization: Bearer TOKEN`; `streamprn ctl --token-file FILE` does",
            )
        if problem is not None:
            self._log(scope, problem)
            await problem_response(problem, scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _log(self, scope: Scope, problem: Problem) -> None:
        """Say who was refused, once a second at most: nobody can fill the log."""
        now = time.monotonic()
        if now < self._next_log_s:
            self._unlogged += 1
            return
        more = f" ({self._unlogged} more since the last such line)" if self._unlogged else ""
        client = scope["client"][0] if scope["client"] else "?"
        what = f"{scope['method']} {scope['path'][:100]!r} from {client}"
        log.warning("%s: refused: %s%s", what, problem.detail, more)
        self._next_log_s, self._unlogged = now + LOG_INTERVAL_S, 0

    def _is_trusted(self, headers: Headers) -> bool:
        if self._token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._token.encode())
        return same and scheme.lower() == "bearer"

    def _foreign(self, headers: Headers) -> Problem | None:
        """What is wrong with where a request comes from."""
        reason = foreign(
            headers.get("host", ""), headers.get("origin"), any_name=self._token is not None
        )
        if reason is None:
            return None
        hint = "use 127.0.0.1 or localhost, or give the engine --http-token"
        return Problem("wrong-origin", reason, hint if reason.startswith("Host") else "")
