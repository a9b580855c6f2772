"""`ray start` that stays on loopback where it is told to; run as a program of its own.

Ray takes an address of loopback for a slip, and puts that of a network card in its place. A cluster
of one machine needs no other machine to reach it.
"""

from __future__ import annotations

import sys

__all__ = ["stay_on_loopback"]


def stay_on_loopback() -> None:
    """Let Ray, in this process, take an address of loopback for what it is."""
    from ray._private import services

    services.resolve_ip_for_localhost = lambda host: host


if __name__ == "__main__":
    from ray.scripts.scripts import main

    stay_on_loopback()
    sys.exit(main())
