"""Secrets that stand in the environment or in a file, and so in no process title and no listing.

They are put in only where a source is opened: the settings keep the text that was written.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from streamprn.config.address import Address, default_name, resolve
from streamprn.errors import InputError
from streamprn.private import read_private
from streamprn.redact import split_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from streamprn.config.source import SourceConfig

__all__ = ["address_of", "expand", "options_of"]

_VARIABLE = re.compile(r"\$(\$?)\{([A-Za-z_][A-Za-z0-9_]{0,127})\}")
_MAKE_ONE = "make one: (umask 077; cat > FILE)"


def address_of(source: SourceConfig) -> Address:
    """Where a source is, with the secrets that its `uri` and `password_file` name.

    In the user part and the query of a URL a value stands percent-encoded, so that it may hold any
    character. The stream is named after the text as it is written.

    Raises:
        InputError: the address, a variable or the file cannot be used.
        SourceError: no such file.
    """
    text = source.uri.strip()
    address = resolve(_with_variables(text))
    if source.password_file is not None:
        address = resolve(_with_password(address, Path(source.password_file)))
    return address.renamed(default_name(text))


def options_of(source: SourceConfig) -> Mapping[str, str]:
    """The further options of a source, with the values of the variables that they name."""
    return {name: expand(value) for name, value in source.options.items()}


def expand(text: str, encode: Callable[[int], bool] = lambda place: False) -> str:
    """Put the values of variables of the environment in for `${NAME}`; `$${NAME}` stays.

    Args:
        text: as it is written.
        encode: whether the value at a place of it has to be percent-encoded.

    Raises:
        InputError: a variable is not set, or empty.
    """

    def value(match: re.Match[str]) -> str:
        escaped, name = match.groups()
        if escaped:
            return f"${{{name}}}"
        found = os.environ.get(name, "")
        if not found:
            raise InputError(
                f"the variable {name} is not set in the environment",
                hint=f"export {name}=..., or write $${{{name}}} where the text itself is meant",
            )
        return quote(found, safe="") if encode(match.start()) else found

    return _VARIABLE.sub(value, text)


def _with_variables(text: str) -> str:
    users_end = text.rfind("@") if "://" in text else -1
    query = text.find("?", users_end + 1) if "://" in text else -1
    return expand(text, lambda place: place < users_end or 0 <= query < place)


def _with_password(address: Address, file: Path) -> str:
    parts = split_url(address.uri) if address.network else None
    if parts is None or not parts.user or ":" in parts.user:
        raise InputError(
            "password_file needs an address with a user and no password",
            hint="write it like rtsp://USER@HOST/PATH",
        )
    password = read_private(file, "password", _MAKE_ONE).removesuffix("\n").removesuffix("\r")
    if not password or "\n" in password:
        raise InputError(f"{file}: expected a password on one line", hint=_MAKE_ONE)
    return f"{parts.scheme}://{parts.user}:{quote(password, safe='')}@{parts.host}{parts.rest}"
