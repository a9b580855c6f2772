"""Which browser tabs show the page, as they say themselves: viser knows only who is connected."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATH", "Onlookers"]

PATH = "/looking"
_SAY_S = 5
# What was said holds so long: browsers let the clock of a hidden tab run once a minute.
_SHOWN_S, _HIDDEN_S = 4 * _SAY_S, 150.0
_TAB = re.compile("[a-z0-9]{1,16}")
_MOST_TABS = 256

SCRIPT = f"""<script>
const tab = Math.random().toString(36).slice(2, 14);
const say = (gone) => fetch(
  `{PATH}?tab=${{tab}}&state=${{gone ? "gone" : document.hidden ? "hidden" : "shown"}}`,
  {{keepalive: true}}).catch(() => {{}});
document.addEventListener("visibilitychange", () => say(false));
addEventListener("pagehide", () => say(true));
addEventListener("pageshow", () => say(false));
setInterval(() => say(false), {_SAY_S * 1000});
</script>""".encode()


class Onlookers:
    """Keeps what tabs have said.

    Args:
        clock: seconds, goes forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[str, tuple[bool, float]] = {}

    def hear(self, path: str) -> None:
        """Take in the path and query of a request to `PATH`; what makes no sense is ignored."""
        query = parse_qs(path.partition("?")[2])
        tab, state = query.get("tab", [""])[-1], query.get("state", [""])[-1]
        if not _TAB.fullmatch(tab):
            return
        with self._lock:
            self._forget()
            self._said.pop(tab, None)
            if state in {"shown", "hidden"} and len(self._said) < _MOST_TABS:
                self._said[tab] = state == "shown", self._clock()

    def look(self, clients: int) -> bool:
        """Whether anybody looks, of so many that are connected.

        A client that has said nothing is taken to look.
        """
        with self._lock:
            self._forget()
            shown = any(is_shown for is_shown, _ in self._said.values())
            return clients > 0 and (shown or clients > len(self._said))

    def _forget(self) -> None:
        now = self._clock()
        self._said = {
            tab: (shown, at)
            for tab, (shown, at) in self._said.items()
            if now - at < (_SHOWN_S if shown else _HIDDEN_S)
        }
