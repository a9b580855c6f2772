"""Addresses without their secrets: the one gate for logs, errors, states and messages.

An address shows its scheme, its host and the harmless parts of its path and query. Where its text
can be read in more than one way, so that a part of a password might pass for a host or a path, it
shows its scheme alone.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from dataclasses import dataclass
from urllib.parse import quote, unquote

__all__ = [
    "HIDDEN",
    "UrlParts",
    "announces_secret",
    "redact",
    "redact_text",
    "remember",
    "split_url",
]

HIDDEN = "***"

_START = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://", re.DOTALL)
# Up to the last "@", since a password may hold quotes and brackets; `rtsp://,` in a list of schemes
# is no address.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://(?![,;.)`'\"]*(?:\s|$))(?:\S*@)?[^\s'\"<>()]*")
# PORT and * stand in for a port and a host in our own hints.
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%_-]+\]|[\w.*-]*)(?::(?:[0-9]{0,5}|PORT|\*))?")
# These never carry credentials, and their rest is a path or a name.
_LOCAL = frozenset({"file", "ipc", "inproc", "unix"})

# Addresses of sockets: there is no user in them.
_NO_USERS = frozenset({"tcp", "udp"})

# Cameras take credentials in the query, and some in the path: `/user=admin_password=x_channel=1`.
_WORDS = "user|usr|login|pass|pwd|psw|token|secret|key|auth|cred|sig|session|sid"
_ENDINGS = "name|word|wd|phrase|id|nature|entials"
_SECRET = re.compile(rf"(?i)([a-z0-9.-]*(?:{_WORDS})[a-z0-9.-]*=)((?:(?!_[a-z]+=)[^&;/?#\s])*)")
# What names a secret in a query; another name may be a part of a value with a raw "&" in it.
_SECRET_NAME = re.compile(rf"(?i)(?:access|api|session|stream)?_?(?:{_WORDS}|id)(?:{_ENDINGS})?")
# What stands before a secret in a path: `/token/abc`.
_ANNOUNCES = re.compile(rf"(?i).*(?:{_WORDS})(?:{_ENDINGS})?")
# A part of a path that is a secret by itself: some cameras give every stream a random name.
_RANDOM_NAME = re.compile(
    r"(?=[^/.]*[0-9])(?=[^/.]*[A-Za-z])[A-Za-z0-9_-]{16,}(?:\.[A-Za-z0-9_-]+)*"
)
# An address with a slip before its user, which is taken for a path: `rtsp:/admin:pw@`, `rtsp//`.
_MISTYPED = re.compile(
    r"(?i)(?<![A-Za-z0-9+.-])"
    r"((?:rtsp|http|rtmp|srt|rist|mms|ftp|sftp|udp|rtp|tcp|tls)[a-z]{0,2}(?!://[^/\\])[:/\\]{1,4})"
    r"\S{0,512}@"
)
# And one whose scheme was left out. A single letter is the drive of a path.
_NO_SCHEME = re.compile(
    r"(?<![^\s'\"(])(?!(?:lavfi|screen|file):)[A-Za-z][\w.+-]{1,63}:"
    r"(?![/\\]{0,4}\*\*\*@)[^\s'\"]{1,512}@(?=[\w\[])"
)
# The names in a query whose values tell where the pictures come from, and nothing else.
_SHOWN = frozenset(
    re.split(
        " ",
        "action audio cam camera ch channel chn codec compression cmd count date fifo_size fps "
        "framerate height img index latency listen localport mode number pkt_size profile proto "
        "quality rate res resolution size stream streamtype subtype time transportmode transtype "
        "type unicast video videocodec width x y",
    )
)
_HARMLESS = re.compile(r"[A-Za-z0-9_.:-]{0,16}")


# --- what stands where in an address --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UrlParts:
    """The parts of an address.

    Attributes:
        scheme: in lower case.
        user: user and password as they are written, or None where there is no "@".
        host: with its port.
        rest: path, query and fragment.
        certain: whether the text can be read in this way only. An "@" behind the host might end a
            password that holds a `/`, `?` or `#`.
    """

    scheme: str
    user: str | None
    host: str
    rest: str
    certain: bool

    @property
    def encoded_user(self) -> str | None:
        """User and password with everything percent-encoded that could end them early."""
        if self.user is None:
            return None
        pieces = re.split(r"(%[0-9A-Fa-f]{2})", self.user)
        safe = "!$&'()*+,;=:~-._"
        return "".join(
            piece if index % 2 else quote(piece, safe=safe, errors="surrogateescape")
            for index, piece in enumerate(pieces)
        )

    def joined(self) -> str:
        """The address as FFmpeg reads it, credentials included."""
        user = "" if self.encoded_user is None else f"{self.encoded_user}@"
        return f"{self.scheme}://{user}{self.host}{self.rest}"


def split_url(text: str) -> UrlParts | None:
    """Read an address; None where it is none, or where no reading is better than another.

    The reading of RFC 3986 counts where it gives a host. Else there is a raw `/`, `?` or `#` in
    the password, and the one "@" that a host follows ends it.
    """
    start = _START.match(text)
    if start is None:
        return None
    scheme, text = start.group(1).lower(), text[start.end() :]
    authority = re.match(r"[^/?#]*", text)
    assert authority is not None
    rest = text[authority.end() :]
    user, at, host = authority.group().rpartition("@")
    if _HOST.fullmatch(host):
        return UrlParts(scheme, user if at else None, host, rest, certain="@" not in rest)
    found = [
        UrlParts(scheme, text[: at.start()], host, text[at.end() + len(host) :], certain=True)
        for at in re.finditer("@", text)
        if (host := re.split("[/?#]", text[at.end() :], maxsplit=1)[0]) and _HOST.fullmatch(host)
    ]
    return found[0] if len(found) == 1 else None


# --- what is shown --------------------------------------------------------------------------------


def redact(uri: str) -> str:
    """Return `uri` with user, password and secret-looking parameters replaced by `***`.

    What cannot be read with certainty shows its scheme only; a path of the file system, or what is
    no URL, comes back unchanged.
    """
    start = _START.match(uri)
    if start is None:
        return uri
    if start.group(1).lower() in _LOCAL:
        authority = uri[start.end() :].partition("/")[0]
        return f"{start.group()}{HIDDEN}" if ":" in authority and "@" in authority else uri
    parts = split_url(uri)
    if parts is None and start.group(1).lower() in _NO_USERS and "@" not in uri:
        return uri  # a mistyped port, which has to be seen
    if parts is None or not parts.certain:
        return f"{start.group()}{HIDDEN}"
    user = "" if parts.user is None else f"{HIDDEN if parts.user else ''}@"
    return f"{start.group()}{user}{parts.host}{_shown_rest(parts.rest)}"


def _shown_rest(rest: str) -> str:
    rest, fragment, _ = rest.partition("#")
    path, mark, query = rest.partition("?")
    path = "/".join(
        HIDDEN if _RANDOM_NAME.fullmatch(part) else part
        for part in _SECRET.sub(rf"\1{HIDDEN}", path).split("/")
    )
    pairs = re.split("([&;])", query) if query else []
    query = "".join(pair if index % 2 else _shown_pair(pair) for index, pair in enumerate(pairs))
    return f"{path}{mark}{query}{f'#{HIDDEN}' if fragment else ''}"


def _shown_pair(pair: str) -> str:
    name, equals, value = pair.partition("=")
    if name.lower() in _SHOWN and _HARMLESS.fullmatch(value):
        return pair
    if equals and (name.lower() in _SHOWN or _SECRET_NAME.fullmatch(name)):
        return f"{name}={HIDDEN}"
    return HIDDEN if pair else ""


def announces_secret(part: str) -> bool:
    """Whether what follows a part of a path may be a secret."""
    return _ANNOUNCES.fullmatch(part) is not None


def redact_text(text: str) -> str:
    """Return a text of any length with every URL in it as `redact` shows it.

    Addresses that were given to `remember` are found whole, also where they hold white space.
    """
    for secret, shown in _longest_first:
        if secret in text:
            text = text.replace(secret, shown)
    if "://" in text:
        text = _URL.sub(_shown_match, text)
    if "@" in text:
        text = _NO_SCHEME.sub(f"{HIDDEN}@", _MISTYPED.sub(rf"\1{HIDDEN}@", text))
    return text


def _shown_match(match: re.Match[str]) -> str:
    # The end of a clause is none of the address.
    url = match.group().rstrip(",;.:")
    return redact(url) + match.group()[len(url) :]


# --- what is known to be secret -------------------------------------------------------------------

#: Addresses that are kept in mind; far more than there can be streams.
_MOST_KNOWN = 2048
# A shorter text may be a word of a message.
_LEAST_SECRET = 8
_known: dict[str, str] = {}
_longest_first: tuple[tuple[str, str], ...] = ()
_lock = threading.Lock()


def remember(uri: str) -> None:
    """Let `redact_text` know an address in every form that a message may hold it in."""
    if _START.match(uri) is None or redact(uri) == uri:
        return
    parts = split_url(uri)
    shown = redact(uri)
    forms = {form: shown for form in _quoted(uri)}
    if parts is None:
        forms |= {form: HIDDEN for form in _quoted(uri.partition("://")[2])}
    else:
        forms |= {form: redact(parts.joined()) for form in _quoted(parts.joined())}
        hidden = uri.partition("://")[2].rpartition("@")[0] if not parts.certain else parts.user
        plain = unquote(hidden or "")
        secrets = {hidden or "", plain, parts.encoded_user or ""}
        secrets.add(base64.b64encode(plain.encode("utf-8", "surrogateescape")).decode())
        for secret in secrets:
            if ":" in plain and len(secret) >= _LEAST_SECRET:
                forms |= {form: HIDDEN for form in _quoted(secret)}
    global _known, _longest_first  # noqa: PLW0603  replaced, never changed: readers take no lock
    with _lock:
        known = {**_known, **forms}
        for secret in list(known)[: max(0, len(known) - _MOST_KNOWN)]:
            del known[secret]
        _known = known
        _longest_first = tuple(sorted(known.items(), key=lambda item: -len(item[0])))


def _quoted(text: str) -> set[str]:
    return {text, repr(text)[1:-1], json.dumps(text)[1:-1]}
