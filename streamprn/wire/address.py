"""What a ZeroMQ address says about who can reach it."""

from __future__ import annotations

import ipaddress


def is_local(endpoint: str) -> bool:
    """Whether an endpoint stays within this machine."""
    if not endpoint.startswith("tcp://"):
        return True
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
