"""Telling systemd that the service is ready, alive, reloading or stopping (sd_notify)."""

from __future__ import annotations

import logging
import os
import socket
import time

__all__ = ["notify", "reloading", "watchdog_s"]

log = logging.getLogger("streamprn.serve")


def notify(*lines: str) -> bool:
    """Send states to the service manager, where one listens; see sd_notify(3).

    Args:
        *lines: such as `READY=1` or `STATUS=...`.

    Returns:
        Whether one listens and got them.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
            # A manager that does not read must not hold the service up.
            client.setblocking(False)
            client.sendto("\n".join(lines).encode(), address)
    except OSError as error:
        log.warning("the service manager cannot be told: %s", error)
        return False
    return True


def reloading() -> str:
    """The line that says that a reload begins, with the time that systemd asks for."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def watchdog_s() -> float | None:
    """Within what time systemd wants a sign of life from this process; None where it does not."""
    pid, limit_us = os.environ.get("WATCHDOG_PID", ""), os.environ.get("WATCHDOG_USEC", "")
    if not limit_us.isdigit() or not int(limit_us) or pid not in ("", str(os.getpid())):
        return None
    return int(limit_us) / 1e6
