"""What every section of the settings has in common."""

from __future__ import annotations

from streamprn.config import convert

__all__ = ["NOT_EMPTY", "Checked"]

NOT_EMPTY = r"(?s)\s*\S.*"


class Checked:
    """Checks every field against its rule when an instance is made, however it is made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        convert.check_instance(self)  # type: ignore[arg-type]
