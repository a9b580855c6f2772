"""Who may load the page and connect to it, decided before viser sees the request; who shows it."""

from __future__ import annotations

import hmac
import http
import secrets
from contextlib import contextmanager
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import websockets.asyncio.server as websockets_server
from websockets.datastructures import Headers
from websockets.http11 import Response

from streamprn.apps.origin import foreign
from streamprn.view.onlookers import PATH, SCRIPT, Onlookers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request

__all__ = ["Admission"]


class Admission:
    """Refuses pages of other hosts, and whoever does not bring the token.

    A browser brings the token once, as `/?token=TOKEN`, and is given a cookie for it that no page
    of another host can use.

    Args:
        token: asked for, or None.
        any_name: whether the page may be reached by other names than this machine's for itself.

    Attributes:
        installed: whether a server asks it.
        onlookers: which tabs show the page.
    """

    def __init__(self, token: str | None, *, any_name: bool) -> None:
        self._token = token
        self._any_name = any_name or token is not None
        self._session = secrets.token_urlsafe(32)
        self.installed = False
        self.onlookers = Onlookers()

    def answer(self, request: Request) -> Response | None:
        """What a request gets that must not pass; None lets it pass."""
        host = request.headers.get("Host", "")
        reason = foreign(host, request.headers.get("Origin"), any_name=self._any_name)
        if reason is not None:
            return _response(http.HTTPStatus.FORBIDDEN, reason)
        if self._token is None or self._has_cookie(request, host):
            return None
        given = parse_qs(request.path.partition("?")[2]).get("token", [""])[-1]
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return _response(http.HTTPStatus.UNAUTHORIZED, "open /?token=TOKEN")
        cookie = f"{_cookie_name(host)}={self._session}; HttpOnly; SameSite=Strict; Path=/"
        return _response(http.HTTPStatus.SEE_OTHER, "", Location="/", Set_Cookie=cookie)

    def serve(self, request: Request, otherwise: Callable[[], Any]) -> Any:
        """Answer a request that may pass; the page gets the script of `Onlookers`."""
        path = request.path.partition("?")[0]
        if path == PATH:
            self.onlookers.hear(request.path)
            return _response(http.HTTPStatus.NO_CONTENT, "")
        is_page = path in {"/", "/index.html"} and "Upgrade" not in request.headers
        if is_page:
            del request.headers["Accept-Encoding"]
        response = otherwise()
        if is_page and isinstance(response, Response):
            response.body = response.body.replace(b"</head>", SCRIPT + b"</head>", 1)
            del response.headers["Content-Length"]
            response.headers["Content-Length"] = str(len(response.body))
        return response

    def _has_cookie(self, request: Request, host: str) -> bool:
        try:
            cookies = SimpleCookie(request.headers.get("Cookie", ""))
        except CookieError:
            return False
        found = cookies.get(_cookie_name(host))
        return found is not None and hmac.compare_digest(
            found.value.encode(), self._session.encode()
        )

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Servers of `websockets` that are made meanwhile ask first, and end at once.

        viser hands on no such options.
        """
        admission, before = self, websockets_server.serve

        class Serve(before):  # type: ignore[misc, valid-type]
            def __init__(self, *args: Any, process_request: Any = None, **options: Any) -> None:
                def first(connection: ServerConnection, request: Request) -> Any:
                    refused = admission.answer(request)
                    if refused is not None or process_request is None:
                        return refused
                    return admission.serve(request, lambda: process_request(connection, request))

                super().__init__(*args, process_request=first, **options)
                admission.installed = True

            async def __aexit__(self, *error: object) -> None:
                # A client that does not answer would be waited for, ten seconds.
                for connection in list(self.server.handlers):
                    connection.transport.abort()
                await super().__aexit__(*error)

        websockets_server.serve = Serve
        try:
            yield
        finally:
            websockets_server.serve = before


def _cookie_name(host: str) -> str:
    """Another one for every port: browsers send cookies to all ports of a host."""
    port = host.rpartition(":")[2]
    return f"streamprn_view_{port if port.isdigit() else 80}"


def _response(status: http.HTTPStatus, text: str, **headers: str) -> Response:
    body = (text and f"{text}\n").encode()
    every = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    every |= {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status.value, status.phrase, Headers(every), body)
