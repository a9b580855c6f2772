"""Whether a request over HTTP was made by the page of another host."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["foreign"]

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def foreign(host: str, origin: str | None, *, any_name: bool) -> str | None:
    """Why a request is none of a page or program that was meant to make it; None where it is.

    Any page that a browser of this machine shows can send requests to 127.0.0.1. It cannot set
    `Host` or leave out `Origin`, so that these tell its requests from a client's.

    Args:
        host: header `Host`.
        origin: header `Origin`, or None.
        any_name: whether `host` may be another name than this machine's own for itself; else it
            may be one that somebody points to 127.0.0.1 (DNS rebinding).
    """
    if origin is not None and _address(origin) != host:
        return f"Origin is {origin[:100]!r}, Host is {host[:100]!r}"
    if not any_name and _name(host) not in _LOCAL_NAMES:
        return f"Host is {host[:100]!r}, which is no name of this machine alone"
    return None


def _address(origin: str) -> str | None:
    """Host and port of an `Origin`."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _name(host: str) -> str:
    """The header `Host` without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
