"""The pages of the control interface."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from streamprn.errors import StreamPRNError
from streamprn.serve import openapi
from streamprn.serve.answers import Film, json_response, problem_response
from streamprn.serve.control import parse_json
from streamprn.serve.guard import Guard
from streamprn.serve.liveness import Health
from streamprn.serve.problems import Problem, ProblemError, problem_of

if TYPE_CHECKING:
    from streamprn.serve.ports import Figures, Steered, Watched
    from streamprn.serve.preview import Preview, Previews, Shot

__all__ = ["PAGES", "Page", "Parts", "Threads", "make_app"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_BODY_BYTES = 256 * 1024
#: How long a client may take to send its body.
BODY_TIMEOUT_S = 10.0
#: How long a snapshot waits for the next frame.
SNAPSHOT_TIMEOUT_S = 3.0
#: Between two looks whether a viewer's stream is still there.
LOOK_S = 0.25
#: Calls at a time that change or list something.
_CALLS = 8
#: Viewers at a time, whatever http.max_viewers allows.
_VIEWERS = 64


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pages show and steer.

    Attributes:
        control: of the streams.
        liveness: of the engine.
        metrics: under /metrics.
        previews: pictures of the streams; None where the pages of pictures are others.
        version: of the program.
        closing: set when the server is to end.
    """

    control: Steered
    liveness: Watched
    metrics: Figures
    previews: Previews | None
    version: str
    closing: threading.Event


class Threads:
    """Where work is done that may take a while, so that no other request waits for it."""

    def __init__(self) -> None:
        self._calls = CapacityLimiter(_CALLS)
        self._viewers = CapacityLimiter(_VIEWERS)
        # One picture at a time, so that pictures take one processor at most.
        self._drawing = CapacityLimiter(1)

    async def call(self, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """What lists or changes something."""
        return await anyio.to_thread.run_sync(function, *args, limiter=self._calls)

    async def next_shot(self, preview: Preview, before: Shot | None) -> Shot | None:
        """The next frame; None where none comes within `LOOK_S`."""
        return await anyio.to_thread.run_sync(
            preview.shot_after, before, LOOK_S, limiter=self._viewers
        )

    async def jpeg(self, preview: Preview, shot: Shot, *, overlay: bool) -> bytes:
        """A frame as JPEG."""
        encode = functools.partial(preview.jpeg, shot, overlay=overlay)
        return await anyio.to_thread.run_sync(encode, limiter=self._drawing)


Page = Callable[[Parts, Request, Threads], Awaitable[Response]]


def make_app(
    parts: Parts, token: str | None, instead: Mapping[tuple[str, str], Page] = MappingProxyType({})
) -> Starlette:
    """The application.

    Args:
        parts: see there.
        token: that requests must bring, or None.
        instead: pages that take the place of those in `PAGES`, by path and method.
    """
    threads = Threads()

    def route(path: str, pages: Mapping[str, Page]) -> Route:
        async def serve(request: Request) -> Response:
            return await pages[request.method](parts, request, threads)

        made = Route(path, serve, methods=list(pages))
        made.methods = set(pages)  # HEAD would be answered as GET is, films included
        return made

    by_path: dict[str, dict[str, Page]] = {}
    for path, method, page in PAGES:
        by_path.setdefault(path, {})[method] = instead.get((path, method), page)
    return Starlette(
        routes=[route(path, pages) for path, pages in by_path.items()],
        middleware=[Middleware(Guard, token=token)],
        exception_handlers={
            HTTPException: _on_http,
            ProblemError: _on_problem,
            StreamPRNError: _on_error,
            Exception: _on_failure,
        },
    )


# --- streams --------------------------------------------------------------------------------------


async def _list(parts: Parts, _: Request, threads: Threads) -> Response:
    return json_response({"streams": await threads.call(parts.control.streams)})


async def _add(parts: Parts, request: Request, threads: Threads) -> Response:
    added = await threads.call(parts.control.add, await _body(request))
    return json_response(added, 201, headers={"Location": f"/streams/{added['name']}"})


async def _get(parts: Parts, request: Request, threads: Threads) -> Response:
    return json_response(await threads.call(parts.control.stream, _name(request)))


async def _change(parts: Parts, request: Request, threads: Threads) -> Response:
    return json_response(
        await threads.call(parts.control.change, _name(request), await _body(request))
    )


async def _remove(parts: Parts, request: Request, threads: Threads) -> Response:
    await threads.call(parts.control.remove, _name(request))
    return Response(status_code=204)


async def _pause(parts: Parts, request: Request, threads: Threads) -> Response:
    return json_response(await threads.call(parts.control.pause, _name(request)))


async def _resume(parts: Parts, request: Request, threads: Threads) -> Response:
    return json_response(await threads.call(parts.control.resume, _name(request)))


async def _reload(parts: Parts, _: Request, threads: Threads) -> Response:
    return json_response(await threads.call(parts.control.reload))


# --- pictures -------------------------------------------------------------------------------------


async def _snapshot(parts: Parts, request: Request, threads: Threads) -> Response:
    name, overlay = _name(request), request.query_params.get("overlay", "true") != "false"
    await threads.call(parts.control.stream, name)
    assert parts.previews is not None
    with parts.previews.viewer(name) as preview:
        before, deadline = preview.shot, time.monotonic() + SNAPSHOT_TIMEOUT_S
        shot = await threads.next_shot(preview, before)
        while shot is None and time.monotonic() < deadline and not parts.closing.is_set():
            shot = await threads.next_shot(preview, before)
        if shot is None:
            stream = await threads.call(parts.control.stream, name)
            cause = f": {stream['cause']}" if stream["cause"] else ""
            raise ProblemError(
                "no-picture",
                f"{name} showed no frame within {SNAPSHOT_TIMEOUT_S:g} s, it is "
                f"{stream['state']}{cause}",
                "see GET /streams/NAME for its state",
            )
        jpeg = await threads.jpeg(preview, shot, overlay=overlay)
    headers = {
        "Cache-Control": "no-store",
        "X-Frame-Sequence": str(shot.seq),
        "X-Frame-Time": f"{shot.wall_ns / 1e9:.3f}",
    }
    return Response(jpeg, 200, headers, "image/jpeg")


async def _film(parts: Parts, request: Request, threads: Threads) -> Response:
    name = _name(request)
    await threads.call(parts.control.stream, name)
    assert parts.previews is not None

    async def pictures(preview: Preview) -> AsyncGenerator[bytes, None]:
        shot: Shot | None = None
        while not parts.closing.is_set():
            newer = await threads.next_shot(preview, shot)
            if newer is not None:
                shot = newer
                yield await threads.jpeg(preview, shot, overlay=True)
            elif not parts.control.exists(name):
                return

    return Film(parts.previews.viewer(name), pictures)


# --- the service ----------------------------------------------------------------------------------


async def _healthz(parts: Parts, _: Request, __: Threads) -> Response:
    health = parts.liveness.health
    alive = health in (Health.ALIVE, Health.STARTING)
    return json_response({"status": str(health)}, 200 if alive else 503)


async def _readyz(parts: Parts, request: Request, threads: Threads) -> Response:
    waiting = await threads.call(parts.control.not_ready)
    health = parts.liveness.health
    ready = health is Health.ALIVE and not waiting
    answer: dict[str, object] = {"status": "ready" if ready else "not ready"}
    if request.state.trusted:
        answer |= {"engine": str(health), "not_ready": waiting}
    return json_response(answer, 200 if ready else 503)


async def _metrics(parts: Parts, request: Request, threads: Threads) -> Response:
    text, content_type = await threads.call(
        parts.metrics.exposition, request.headers.get("accept", "")
    )
    return Response(text, headers={"Content-Type": content_type})


async def _openapi(parts: Parts, _: Request, __: Threads) -> Response:
    return json_response(openapi.document(parts.version))


async def _docs(parts: Parts, _: Request, __: Threads) -> Response:
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(openapi.page(openapi.document(parts.version)), headers=headers)


async def _root(_: Parts, __: Request, ___: Threads) -> Response:
    return RedirectResponse("/docs")


PAGES = (
    ("/", "GET", _root),
    ("/streams", "GET", _list),
    ("/streams", "POST", _add),
    ("/streams/{name}", "GET", _get),
    ("/streams/{name}", "PATCH", _change),
    ("/streams/{name}", "DELETE", _remove),
    ("/streams/{name}/pause", "POST", _pause),
    ("/streams/{name}/resume", "POST", _resume),
    ("/streams/{name}/snapshot.jpg", "GET", _snapshot),
    ("/streams/{name}/overlay.mjpg", "GET", _film),
    ("/reload", "POST", _reload),
    ("/healthz", "GET", _healthz),
    ("/readyz", "GET", _readyz),
    ("/metrics", "GET", _metrics),
    ("/openapi.json", "GET", _openapi),
    ("/docs", "GET", _docs),
)


# --- requests and errors --------------------------------------------------------------------------


def _name(request: Request) -> str:
    name = request.path_params["name"]
    assert isinstance(name, str)
    return name


async def _body(request: Request) -> object:
    """The body as a JSON value, within bounds of size and time."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        # Also what a page of another host may send without being asked: forms and plain text.
        raise ProblemError(
            "wrong-type",
            f"Content-Type is {content_type[:100]!r}",
            "send application/json",
        )
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > MAX_BODY_BYTES:
                    raise ProblemError(
                        "too-large", f"the body has more than {MAX_BODY_BYTES} bytes"
                    )
    except (TimeoutError, ClientDisconnect):
        raise ProblemError(
            "bad-request", f"the body did not come within {BODY_TIMEOUT_S:g} s"
        ) from None
    return parse_json(bytes(data))


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        problem = Problem("wrong-method", f"{request.method} is not taken", f"allowed: {allowed}")
    else:
        problem = Problem("no-such-page", f"there is no {request.url.path}", "see /docs")
    return problem_response(problem, request.url.path)


def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return problem_response(error.problem, request.url.path)


def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StreamPRNError)
    return problem_response(problem_of(error), request.url.path)


def _on_failure(request: Request, error: Exception) -> Response:
    # Starlette raises it again, and the server logs it with its traceback.
    problem = Problem("failed", f"{type(error).__name__}", "see the log of the engine")
    return problem_response(problem, request.url.path)
