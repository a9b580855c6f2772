"""What a ZeroMQ address says about itself."""

from __future__ import annotations

import ipaddress

_HIGHEST_PORT = 65_535


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


def has_bad_port(endpoint: str) -> bool:
    """Whether the port of a TCP address is too large: libzmq takes it modulo 65,536."""
    port = endpoint.rpartition(":")[2]
    tcp = endpoint.startswith("tcp://")
    return tcp and port.isascii() and port.isdigit() and int(port[:9]) > _HIGHEST_PORT
