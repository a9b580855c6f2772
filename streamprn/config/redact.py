"""Addresses without their secrets, for logs, errors and messages."""

from __future__ import annotations

import re

__all__ = ["redact", "redact_text"]

# Up to the last "@", since a password may hold quotes and brackets.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:\S*@)?[^\s'\"<>()]+")
_AUTHORITY = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*)(.*)$", re.DOTALL)
# Cameras take credentials in the query, and some in the path: `/user=admin_password=x_channel=1`.
_SECRET = re.compile(
    r"(?i)([a-z0-9.-]*(?:user|usr|login|pass|pwd|psw|token|secret|key|auth|cred|sig|session|sid)"
    r"[a-z0-9.-]*=)((?:(?!_[a-z]+=)[^&;/?#\s])*)"
)


def redact(uri: str) -> str:
    """Return `uri` with user, password and secret-looking parameters replaced by `***`.

    What holds no credentials comes back unchanged; a path of the file system is never touched.
    """
    match = _AUTHORITY.match(uri)
    if match is None:
        return uri
    scheme, authority, rest = match.groups()
    if "@" in authority:
        authority = "***@" + authority.rpartition("@")[2]
    elif _has_raw_password(authority, rest):
        tail = rest.rpartition("@")[2]
        host = re.match(r"[^/?#]*", tail)
        assert host is not None
        authority, rest = "***@" + host.group(), tail[host.end() :]
    return scheme + authority + _SECRET.sub(r"\1***", rest)


def redact_text(text: str) -> str:
    """Return a text of any length with every URL in it as `redact` shows it."""
    if "://" not in text:
        return text
    return _URL.sub(lambda match: redact(match.group()), text)


def _has_raw_password(authority: str, rest: str) -> bool:
    """Whether a password with an unescaped `/`, `?` or `#` split the authority in two."""
    port = authority.rpartition(":")[2] if ":" in authority else ""
    return "@" in rest and port != "" and not port.isdigit() and not authority.endswith("]")
