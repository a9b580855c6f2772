"""`streamprn run --workers N`: several processes behind one address."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from streamprn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from streamprn.cluster.crew import Crew
    from streamprn.config import Config

__all__ = ["number_of", "run_workers"]

#: The signal's grace: Ray takes a second or two to end its processes.
GRACE_S = 15.0
LOOK_S = 0.5


def number_of(text: str) -> int:
    """Workers: a number, or one for every two cores that this process may use.

    Raises:
        InputError: it is neither `auto` nor 1 to 256.
    """
    if text == "auto":
        return max(1, len(os.sched_getaffinity(0)) // 2)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 256):
        raise InputError(f"--workers {text}: allowed are 1 to 256, or auto")
    return int(text)


def run_workers(
    config: Config,
    workers: int,
    console: Console,
    read_again: Callable[[], Config] | None,
    *,
    quiet: bool,
) -> int:
    """Run until every source has ended or a signal came.

    Args:
        config: what to run.
        workers: processes.
        console: for what is said.
        read_again: reads the configuration file; None where there is none.
        quiet: say nothing but warnings and errors.
    """
    from streamprn.cli.console import configure_logging, speaker
    from streamprn.cli.signals import stop_on_signals
    from streamprn.cluster.local import local_crew
    from streamprn.serve.service import Service

    configure_logging(config.log.level, console)
    say = speaker(console, quiet=quiet)
    # The signals after Ray, which sets handlers of its own.
    with (
        Service(config, read_again) as service,
        local_crew(config, workers, say) as (crew, proxy),
        stop_on_signals(grace_s=GRACE_S, on_hangup=service.reload) as stop,
    ):
        from streamprn.cluster.front import fronted

        with fronted(service, crew, proxy, config, read_again, stop):
            control = f"; control on {service.url}" if service.serves else ""
            say(f"publishing on {proxy.endpoint}; {workers} workers{control}; Ctrl-C ends")
            while not stop.wait(LOOK_S) and (service.serves or not _ended(crew)):
                pass
    return 0


def _ended(crew: Crew) -> bool:
    """Whether every source has ended or failed."""
    reports = crew.reports()
    return bool(crew.names) and all(
        reports.get(name, {}).get("state") in ("ended", "failed") for name in crew.names
    )
