"""What wears a service in an hour: everything comes and goes."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Self

from benchmarks.rig.service import Service
from streamprn.wire.subscribe import Subscriber

#: One of these after the other subscribes for a moment.
_VISITS = ("", "stays/face", "film/mesh", "stays/texture", "film/blendshapes", "guest")


class Wear:
    """Adds and removes, pauses and resumes, subscribes and leaves, reloads; a context manager.

    Each `every_s`, a stream is added and the one before removed, another is paused or goes on, a
    subscriber that came then leaves and another comes, a picture and the figures are fetched. Every
    twelfth time the configuration is read again, with a stream more, with one less, or broken.

    Args:
        service: with the streams `stays`, which nothing is done to, and `film`.
        sources: of its configuration.
        guest: the settings of the streams that come and go, without their name.
        every_s: seconds between two turns.

    Attributes:
        done: how often each thing was done.
        refused: what the service answered to what should have worked.
    """

    def __init__(
        self, service: Service, sources: list[dict[str, Any]], guest: dict[str, Any], every_s: float
    ) -> None:
        self.done: Counter[str] = Counter()
        self.refused: list[str] = []
        self._service = service
        self._sources = sources
        self._guest = guest
        self._every_s = every_s
        self._stop = threading.Event()
        self._visitor: Subscriber | None = None
        self._thread = threading.Thread(target=self._run, name="wear")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        for turn in itertools.count():
            for work in (self._change, self._pause, self._visit, self._look, self._reload):
                self._try(work, turn)
            began += self._every_s
            if self._stop.wait(max(0.0, began - time.monotonic())):
                break
        if self._visitor is not None:
            self._visitor.close()

    def _try(self, work: Callable[[int], None], turn: int) -> None:
        try:
            work(turn)
        except OSError as error:
            self.refused.append(f"{work.__name__}: {error}")

    def _ask(self, what: str, method: str, path: str, body: object = None) -> None:
        status, answer = self._service.ask(method, path, body)
        self.done[what] += 1
        if status >= 400:
            self.refused.append(f"{method} {path}: {status} {answer[:200]!r}")

    def _change(self, turn: int) -> None:
        self._ask("streams added", "POST", "/streams", {**self._guest, "name": f"guest{turn}"})
        if turn:
            self._ask("streams removed", "DELETE", f"/streams/guest{turn - 1}")

    def _pause(self, turn: int) -> None:
        self._ask("pauses", "POST", f"/streams/film/{('pause', 'resume')[turn % 2]}")

    def _visit(self, turn: int) -> None:
        if self._visitor is not None:
            while self._visitor.receive(0) is not None:
                pass
            self._visitor.close()
        self._visitor = Subscriber(self._service.endpoint, _VISITS[turn % len(_VISITS)])
        self.done["subscribers"] += 1

    def _look(self, turn: int) -> None:
        self._ask("pictures", "GET", "/streams/stays/snapshot.jpg")
        self._ask("scrapes", "GET", "/metrics")

    def _reload(self, turn: int) -> None:
        if turn % 12 != 11:
            return
        which = turn // 12 % 3
        if which == 2:
            self._service.config.write_text("sources: [{")
        else:
            more = [{**self._guest, "name": "extra"}] if which == 0 else []
            self._service.write([*self._sources, *more])
        self._service.signal(signal.SIGHUP)
        self.done["reloads"] += 1
