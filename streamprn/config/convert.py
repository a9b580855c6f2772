"""Plain values (as YAML gives them) to checked sections, and back."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cache
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from streamprn.config.address import stream_names
from streamprn.config.rules import Rule, rule_of
from streamprn.errors import ConfigError
from streamprn.redact import redact, redact_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
Path = tuple[str | int, ...]


class ProblemError(Exception):
    """A setting that cannot be used, before the file that it came from is known."""

    def __init__(self, path: Path, what: str, hint: str = "") -> None:
        self.path = path
        self.what = what
        self.hint = hint
        super().__init__(what)

    def error(self, where: str = "") -> ConfigError:
        """The user's error; `where` names the file or the flag."""
        place = ": ".join(part for part in (where, dotted(self.path)) if part)
        return ConfigError(self.what, where=place, hint=self.hint)


def dotted(path: Path) -> str:
    """A path as users write it: `("sources", 0, "loop")` is `sources.0.loop`."""
    return ".".join(str(part) for part in path)


def build(kind: type[T], mapping: Mapping[str, Any], where: str = "") -> T:
    """A section of type `kind` from plain values, or `ConfigError`."""
    try:
        return parse(kind, mapping)
    except ProblemError as problem:
        raise problem.error(where) from None


def parse(kind: type[T], mapping: object) -> T:
    """As `build`, with the path of a wrong key in a `ProblemError`."""
    section = _section(kind, mapping, ())
    assert isinstance(section, kind)
    return section


def check_instance(section: DataclassInstance) -> None:
    """Check every field of a frozen dataclass, store it in its exact type, check across fields.

    Raises:
        ConfigError: as for `build`; sections made in Python are checked as files are.
    """
    kind = type(section)
    try:
        for field in dataclasses.fields(kind):
            value = getattr(section, field.name)
            good = _value(value, hints(kind)[field.name], rule_of(field), (field.name,))
            object.__setattr__(section, field.name, good)
        check_across({f.name: getattr(section, f.name) for f in dataclasses.fields(kind)})
    except ProblemError as problem:
        raise problem.error() from None


@cache
def hints(kind: Hashable) -> dict[str, Any]:
    """The resolved annotations of a section."""
    return get_type_hints(kind)


# --- plain value -> checked value ---------------------------------------------------------------


def _value(value: object, annotation: Any, rule: Rule, path: Path) -> object:
    inner, optional = split_optional(annotation)
    if value is None and optional:
        return None
    if dataclasses.is_dataclass(inner):
        return _section(inner, value, path)  # type: ignore[arg-type]
    origin = get_origin(inner)
    if origin is tuple:
        return _list(value, get_args(inner), rule, path)
    if origin is Mapping:
        return _options(value, path)
    return _scalar(value, str if origin is Literal else inner, rule, path)


def split_optional(annotation: Any) -> tuple[Any, bool]:
    """`X | None` to `(X, True)`, anything else to itself and False."""
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not types.NoneType]
        return members[0], True
    return annotation, False


def _section(kind: type, value: object, path: Path) -> object:
    if isinstance(value, kind):
        return value
    if value is None and path:  # a key with nothing below it
        value = {}
    if not isinstance(value, Mapping):
        raise ProblemError(path, f"got {show(value)}, expected a section of keys")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in value:
        if key not in fields:
            raise _unknown_key(key, fields, path)
    values = {
        name: _value(value[name], hints(kind)[name], rule_of(field), (*path, name))
        for name, field in fields.items()
        if name in value
    }
    for name, field in fields.items():
        no_default = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if no_default and name not in values:
            raise ProblemError(path, f"the key {name!r} is missing", hint=rule_of(field).doc)
    values = _with_defaults(kind, values)
    try:
        check_across(values)
    except ProblemError as problem:
        raise ProblemError((*path, *problem.path), problem.what, problem.hint) from None
    return kind(**values)


def _with_defaults(kind: type, given: dict[str, object]) -> dict[str, object]:
    values = {}
    for field in dataclasses.fields(kind):
        if field.name in given:
            values[field.name] = given[field.name]
        elif field.default_factory is not dataclasses.MISSING:
            values[field.name] = field.default_factory()
        else:
            values[field.name] = field.default
    return values


def _unknown_key(key: object, known: Iterable[str], path: Path) -> ProblemError:
    names = list(known)
    near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(names)}"
    return ProblemError((*path, str(key)), "unknown key", hint)


def _list(value: object, items: tuple[Any, ...], rule: Rule, path: Path) -> tuple[object, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        raise ProblemError(path, f"got {show(value)}, expected a list")
    if items[-1] is Ellipsis:
        if len(value) > rule.max_items:
            raise ProblemError(
                path, f"got {len(value)} items, allowed are at most {rule.max_items}"
            )
        wanted = [items[0]] * len(value)
    else:
        if len(value) != len(items):
            raise ProblemError(path, f"got {len(value)} values, expected {len(items)}")
        wanted = list(items)
    return tuple(
        _value(item, annotation, rule, (*path, index))
        for index, (item, annotation) in enumerate(zip(value, wanted, strict=True))
    )


def _options(value: object, path: Path) -> dict[str, str]:
    if not isinstance(value, Mapping):
        # Options carry headers and passwords: a text among them is not shown.
        shown = "a text" if isinstance(value, str) else show(value)
        raise ProblemError(path, f"got {shown}, expected a mapping of names to values")
    for key, item in value.items():
        if (
            not isinstance(key, str)
            or isinstance(item, bool)
            or not isinstance(item, str | int | float)
        ):
            raise ProblemError((*path, str(key)), f"got {show(item)}, expected a text or a number")
    return {key: str(item) for key, item in value.items()}


def _scalar(value: object, kind: type, rule: Rule, path: Path) -> object:
    good = _typed(value, kind, rule)
    if good is None:
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        allowed = f", {rule.allowed}" if rule.allowed else ""
        raise ProblemError(path, f"got {show(value)}, expected {words[kind]}{allowed}")
    if not _within(good, rule):
        raise ProblemError(
            path,
            f"got {show(value)}, allowed: {rule.allowed or 'a text that is not empty'}",
            _nearest_choice(good, rule),
        )
    return good


def _typed(value: object, kind: type, rule: Rule) -> bool | int | float | str | None:
    """The value in its exact type, or None where it has another one."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and number:
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError:
            return math.inf
    if kind is str and number and isinstance(value, int) and rule.number_as_text:
        return str(value)
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value  # type: ignore[return-value]
    return None


def _within(value: bool | int | float | str, rule: Rule) -> bool:
    if rule.choices:
        return value in rule.choices
    if isinstance(value, str):
        return not rule.pattern or re.fullmatch(rule.pattern, value) is not None
    if isinstance(value, bool):
        return True
    low = -math.inf if rule.minimum is None else rule.minimum
    high = math.inf if rule.maximum is None else rule.maximum
    return low <= value <= high and (isinstance(value, int) or math.isfinite(value))


def _nearest_choice(value: object, rule: Rule) -> str:
    if not rule.choices or not isinstance(value, str):
        return ""
    near = difflib.get_close_matches(value.lower(), [str(choice) for choice in rule.choices], n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def show(value: object) -> str:
    """A wrong value in a message: short, and with its type where that is the point."""
    if isinstance(value, Mapping):
        return "a section of keys"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return f"the text {excerpt(value)!r}"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}... ({len(text)} digits)"


def excerpt(text: str) -> str:
    """The beginning of a wrong text, without the credentials of an address in it."""
    # Before it is cut: without its "@" nothing would tell a password from a host.
    lead = text[: len(text) - len(text.lstrip())]
    shown = redact_text(lead + redact(text.lstrip()))
    return shown[:60] + "..." if len(shown) > 60 else shown


# --- checks across fields -----------------------------------------------------------------------


def check_across(values: Mapping[str, Any]) -> None:
    """Check a section's values, by field, against each other.

    Raises:
        ProblemError: what no single field can tell is wrong.
    """
    if "backoff_max_s" in values:
        _check_source(values)
    if "sources" in values:
        _check_names([(source.name, source.uri) for source in values["sources"]])
    if "kinds" in values and len(set(values["kinds"])) < len(values["kinds"]):
        raise ProblemError(("kinds",), f"got {list(values['kinds'])}, expected each kind once")


def _check_source(values: Mapping[str, Any]) -> None:
    first, last = values["backoff_initial_s"], values["backoff_max_s"]
    if first > last:
        raise ProblemError(
            ("backoff_max_s",), f"got {last}, allowed: backoff_initial_s ({first}) or more s"
        )
    if values["crop"] is not None and min(values["crop"][2:]) < 1:
        raise ProblemError(
            ("crop",), f"got {list(values['crop'])}, width and height must be 1 px or more"
        )
    _check_camera(values)
    for index, (x0, y0, x1, y1) in enumerate(values["boxes"]):
        if x1 <= x0 or y1 <= y0:
            raise ProblemError(
                ("boxes", index),
                f"got {[x0, y0, x1, y1]}, expected x0 < x1 and y0 < y1",
                hint="a box is [x0, y0, x1, y1] in pixels: its left, top, right and bottom edges",
            )


def _check_camera(values: Mapping[str, Any]) -> None:
    hfov, intrinsics = values["hfov"], values["intrinsics"]
    if hfov is not None and intrinsics is not None:
        raise ProblemError(("hfov",), f"got {hfov} besides intrinsics, expected one of the two")
    if intrinsics is not None and min(intrinsics[:2]) <= 0:
        raise ProblemError(
            ("intrinsics",), f"got {list(intrinsics)}, focal lengths must be above 0 px"
        )
    if values["distortion"] is not None and hfov is None and intrinsics is None:
        raise ProblemError(("distortion",), "given without hfov or intrinsics")


def _check_names(sources: Sequence[tuple[str | None, str]]) -> None:
    if [uri.strip() for _, uri in sources].count("-") > 1:
        raise ProblemError(("sources",), "standard input (-) can be read once")
    seen: dict[str, int] = {}
    for index, (name, _) in enumerate(sources):
        if name is None:
            continue
        if name in seen:
            raise ProblemError(
                ("sources", index, "name"),
                f"{name!r} is the name of sources.{seen[name]} too",
                hint="every stream needs a name of its own",
            )
        seen[name] = index


# --- overriding and going back ------------------------------------------------------------------


def replace(mapping: dict[str, Any], key: str, value: object, where: str = "") -> None:
    """Set a dotted key of nested plain values in place.

    Raises:
        ConfigError: a part of the key other than the last leads nowhere.
    """
    try:
        _replace(mapping, key, value)
    except ProblemError as problem:
        raise problem.error(where) from None


def _replace(mapping: dict[str, Any], key: str, value: object) -> None:
    parts = key.split(".")
    node: Any = mapping
    for depth, part in enumerate(parts[:-1]):
        path = tuple(parts[: depth + 1])
        if isinstance(node, list):
            node = node[_index(node, part, path)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, dict):
            raise _unknown_key(part, node, path[:-1])
        else:
            raise ProblemError(path, "unknown key", f"{dotted(path[:-1])} has no keys below it")
    if isinstance(node, list):
        node[_index(node, parts[-1], tuple(parts))] = value
    elif isinstance(node, dict):
        node[parts[-1]] = value
    else:
        raise ProblemError(tuple(parts), "unknown key", f"{dotted(tuple(parts[:-1]))} has no keys")


def _index(items: list[Any], part: str, path: Path) -> int:
    if re.fullmatch(r"[0-9]{1,9}", part) and int(part) < len(items):
        return int(part)
    sources = [item for item in items if isinstance(item, dict) and "uri" in item]
    names = stream_names([(item.get("name"), item["uri"]) for item in sources])
    if part in names and len(names) == len(items):
        return names.index(part)
    known = f"known: 0 to {len(items) - 1} and {', '.join(names)}" if names else ""
    raise ProblemError(path, "no such item", known or f"the list has {len(items)} items")


def plain(value: object) -> object:
    """Sections to dicts, tuples to lists; the rest as it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value
