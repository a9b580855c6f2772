"""Answers of their own kinds: problems, JSON, a film that never makes the engine wait."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Generic, TypeVar

from starlette.responses import Response

from streamprn.serve.problems import MEDIA_TYPE

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from streamprn.serve.problems import Problem

__all__ = ["Film", "json_response", "problem_response"]

T = TypeVar("T")

_BOUNDARY = "streamprn-frame"
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def json_response(
    value: object,
    status: int = 200,
    *,
    media_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Response:
    """A value as JSON, on lines of their own for people."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return Response(text, status, {**_NO_STORE, **(headers or {})}, media_type)


def problem_response(problem: Problem, instance: str) -> Response:
    """A problem as RFC 9457 says."""
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else None
    return json_response(
        problem.members(instance), problem.status, media_type=MEDIA_TYPE, headers=headers
    )


class Film(Response, Generic[T]):
    """Pictures one after the other (`multipart/x-mixed-replace`), which browsers show as a film.

    A picture is asked for when the client has taken the one before, so that a slow client gets
    fewer pictures, and nothing is kept for it.

    Args:
        viewer: entered before the first picture, left with the connection.
        pictures: JPEGs, made from what entering `viewer` gives.
    """

    def __init__(
        self,
        viewer: AbstractContextManager[T],
        pictures: Callable[[T], AsyncGenerator[bytes, None]],
    ) -> None:
        super().__init__(media_type=f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self._viewer = viewer
        self._pictures = pictures
        del self.headers["content-length"]
        self.headers.update(_NO_STORE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        with self._viewer as viewed:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            sending = asyncio.ensure_future(self._send(send, viewed))
            leaving = asyncio.ensure_future(_disconnect(receive))
            try:
                await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, leaving):
                    task.cancel()
                await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send, viewed: T) -> None:
        async with contextlib.aclosing(self._pictures(viewed)) as pictures:
            async for jpeg in pictures:
                head = (
                    f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                    f"Content-Length: {len(jpeg)}\r\n\r\n"
                )
                body = head.encode() + jpeg + b"\r\n"
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
