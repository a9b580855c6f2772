"""Reading configuration files: YAML 1.2 scalars, no duplicate keys, errors with file and line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from streamprn.config import convert
from streamprn.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

MAX_BYTES = 1_000_000
MAX_NESTING = 32
_HINT = "`streamprn run --write-config FILE` writes a commented example"


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema: `no` and `12:30` are texts."""

    # PyYAML looks scalars up by their first character.
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def fetch_flow_collection_start(self, token: Any) -> None:
        """Refuse brackets within brackets without end: their time grows with their square."""
        if self.flow_level >= MAX_NESTING:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MAX_NESTING} brackets within each other",
                problem_mark=self.get_mark(),
            )
        super().fetch_flow_collection_start(token)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuse a key that stands twice: the first would be lost in silence."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key must be a text", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return node


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(rf"^(?:{_pattern})$"),
        [character.replace("\0", "") for character in _first],
    )


def load(path: Path, kind: type[T], *, hint: str = _HINT) -> T:
    """Read a file into a section of type `kind`.

    Args:
        path: the file.
        kind: a dataclass whose fields have rules.
        hint: the next step where the file cannot be read.

    Raises:
        ConfigError: with file, line and key.
    """
    text = _read(path, hint)
    try:
        value = parse_yaml(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(
            f"not valid YAML: {error.problem or error.context}",
            where=place,
            hint="look for a missing colon, quote or space, or a tab, on or above that line",
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"not valid YAML: {reason}", where=str(path)) from None
    try:
        return convert.parse(kind, {} if value is None else value)
    except convert.ProblemError as problem:
        line = _line_of(text, problem.path)
        raise problem.error(f"{path}:{line}" if line else str(path)) from None


def parse_yaml(text: str) -> Any:
    """One YAML document as plain values, with the scalars of the YAML 1.2 core schema."""
    return yaml.load(text, Loader=_Loader)


def parse_value(text: str, where: str) -> Any:
    """One value as on the right of a colon in a file.

    Raises:
        ConfigError: it is no YAML value.
    """
    try:
        return parse_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(
            f"{convert.excerpt(text)!r} is not a YAML value",
            where=where,
            hint="put a text in quotes",
        ) from None


def _read(path: Path, hint: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration: {error.strerror or error}",
            where=str(path),
            hint=hint,
        ) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"more than {MAX_BYTES} bytes: not a configuration file", where=str(path))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"not UTF-8 text (byte {error.start})", where=str(path), hint="save the file as UTF-8"
        ) from None


def _line_of(text: str, path: convert.Path) -> int | None:
    """The line of a key, from 1: of the deepest part of its path that is in the file."""
    node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    line = None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = [pair for pair in node.value if pair[0].value == str(part)]
            if not found:
                break
            key, node = found[0]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            assert node is not None
            line = node.start_mark.line + 1
        else:
            break
    return line
