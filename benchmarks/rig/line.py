"""A line between a camera and who watches it, which can be cut, held up, thinned and closed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Self

_CHUNK = 65_536
_TRICKLE = 20
_TICK_S = 0.02


class Line:
    """Passes on TCP connections to a port of loopback; a context manager.

    Args:
        target: the port that it leads to.

    Attributes:
        port: where it begins.
        held: while set, connections stay open, new ones are accepted, and nothing passes.
        trickling: while set, only a thousand bytes a second pass.
        closing_s: connections are closed after so many seconds; None never.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        self.held = False
        self.trickling = False
        self.closing_s: float | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="line")
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(5)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def cut(self) -> None:
        """Close every connection; new ones are welcome."""

        def cancel() -> None:
            for task in self._tasks:
                task.cancel()

        self._loop.call_soon_threadsafe(cancel)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._free()
                there = await asyncio.open_connection("127.0.0.1", self._target)
                await self._pass_on((reader, writer), there)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _pass_on(
        self,
        here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        ways = [
            asyncio.ensure_future(self._pump(here[0], there[1])),
            asyncio.ensure_future(self._pump(there[0], here[1])),
        ]
        try:
            await asyncio.wait(ways, timeout=self.closing_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            there[1].transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_TRICKLE if self.trickling else _CHUNK):
            await self._free()
            if self.trickling:
                await asyncio.sleep(_TICK_S)
            writer.write(data)
            await writer.drain()

    async def _free(self) -> None:
        while self.held:
            await asyncio.sleep(_TICK_S)
