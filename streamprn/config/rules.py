"""What a setting may be: its bounds, unit and description, held beside its default."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

_KEY = "rule"


@dataclass(frozen=True, slots=True)
class Rule:
    """The description and the bounds of one setting.

    Attributes:
        doc: one line for `config.yaml` and `docs/configuration.md`.
        unit: of a number, for instance "s" or "px".
        minimum: the least number allowed (inclusive).
        maximum: the greatest number allowed (inclusive).
        choices: the only values allowed, None apart.
        pattern: a regular expression that a text must match as a whole.
        pattern_doc: the pattern in words.
        number_as_text: whether an integer stands for its own text (webcam numbers).
        max_items: the longest list allowed.
    """

    doc: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str | int, ...] = ()
    pattern: str = ""
    pattern_doc: str = ""
    number_as_text: bool = False
    max_items: int = 64

    @property
    def allowed(self) -> str:
        """The allowed values in words, or an empty string where everything goes."""
        if self.choices:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        if self.pattern:
            return self.pattern_doc
        if self.minimum is None and self.maximum is None:
            return ""
        unit = f" {self.unit}" if self.unit else ""
        if self.maximum is None:
            return f"{_number(self.minimum)} or more{unit}"
        if self.minimum is None:
            return f"at most {_number(self.maximum)}{unit}"
        return f"{_number(self.minimum)} to {_number(self.maximum)}{unit}"


def setting(default: Any, doc: str, *, secret: bool = False, **bounds: Any) -> Any:
    """A dataclass field with a `Rule`; `bounds` are the rule's other attributes.

    Args:
        default: its value where none is given.
        doc: see `Rule`.
        secret: it may hold credentials, so that no `repr` shows it.
        **bounds: see `Rule`.
    """
    metadata = {_KEY: Rule(doc, **bounds)}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata, repr=not secret)
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def required(doc: str, *, secret: bool = False, **bounds: Any) -> Any:
    """A field with a `Rule` and no default."""
    return dataclasses.field(metadata={_KEY: Rule(doc, **bounds)}, repr=not secret)


def about(doc: str) -> dict[str, Rule]:
    """The metadata of a field that holds a section."""
    return {_KEY: Rule(doc)}


def rule_of(field: dataclasses.Field[Any]) -> Rule:
    """The rule that `setting`, `required` or `about` put into a field."""
    rule = field.metadata[_KEY]
    assert isinstance(rule, Rule)
    return rule


def _number(value: float | None) -> str:
    assert value is not None
    return str(int(value)) if float(value).is_integer() else repr(float(value))
