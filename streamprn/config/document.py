"""The commented `config.yaml` and `docs/configuration.md`, made from the settings themselves.

`python -m streamprn.config.document` writes both into the current folder; a test compares them.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from streamprn.config import convert
from streamprn.config.rules import Rule, rule_of
from streamprn.config.schema import Config
from streamprn.config.source import SourceConfig

WIDTH = 96
EXAMPLE_SOURCE = {"uri": "testsrc2", "name": "test"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as a reader sees it.

    Attributes:
        path: dotted key; an item of `sources` has `*` for its position.
        rule: description, unit and bounds.
        default: a plain value, or `MISSING` where it must be given.
        annotation: the type.
        is_section: whether further settings stand below it.
    """

    path: str
    rule: Rule
    default: Any
    annotation: Any
    is_section: bool = False

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def depth(self) -> int:
        """How many sections it stands in."""
        return self.path.count(".")


def settings(kind: type = Config, prefix: str = "") -> Iterator[Setting]:
    """Every setting, depth first, sections before their contents."""
    for field in dataclasses.fields(kind):
        annotation = convert.hints(kind)[field.name]
        path = f"{prefix}{field.name}"
        is_section = dataclasses.is_dataclass(annotation) or field.name == "sources"
        yield Setting(path, rule_of(field), _default(field), annotation, is_section)
        if field.name == "sources":
            yield from settings(SourceConfig, f"{path}.*.")
        elif dataclasses.is_dataclass(annotation):
            assert isinstance(annotation, type)
            yield from settings(annotation, f"{path}.")


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return convert.plain(field.default_factory())
    return field.default if field.default is dataclasses.MISSING else convert.plain(field.default)


# --- config.yaml --------------------------------------------------------------------------------


def yaml_text() -> str:
    """A working configuration with every key, its description, bounds and default."""
    lines = [
        "# StreamPRN configuration: every key with its default. `streamprn run` reads config.yaml",
        "# of the current folder; `streamprn run --config FILE` reads another one; flags and",
        "# `--set key=value` override. Keys left out have their defaults. Paths are relative to",
        "# the folder that the program is started in. This file is the output of",
        "# `streamprn run --write-config`.",
    ]
    for item in settings():
        lines += _yaml_of(item)
    return "\n".join(lines) + "\n"


def _yaml_of(item: Setting) -> list[str]:
    if item.path.startswith("sources.*."):
        first = item.name == "uri"
        indent, dash = "    ", "  - " if first else "    "
        value = EXAMPLE_SOURCE.get(item.name, item.default)
        return [*_comment(item, indent), f"{dash}{item.name}: {_scalar(value)}"]
    indent = "  " * item.depth
    head = [""] if item.depth == 0 else []
    if item.is_section:
        return [*head, *_comment(item, indent), f"{indent}{item.name}:"]
    return [*_comment(item, indent), f"{indent}{item.name}: {_scalar(item.default)}"]


def _comment(item: Setting, indent: str) -> list[str]:
    allowed = item.rule.allowed
    text = item.rule.doc + (f" ({allowed})" if allowed else "")
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


# --- docs/configuration.md ----------------------------------------------------------------------


def markdown_text() -> str:
    """The reference page: one table per section."""
    lines = [
        "# Configuration",
        "",
        "<!-- Made by `python -m streamprn.config.document`; do not edit. -->",
        "",
        "`streamprn run` reads `config.yaml` of the current folder, or the file that `--config`",
        "names. `streamprn run --write-config FILE` writes a commented file with every default.",
        "Flags and `--set KEY=VALUE` override the file; a key is dotted (`track.smoothing.beta`),",
        "and a source goes by its position or name (`sources.0.loop`, `sources.door.loop`).",
        "",
        "Unknown keys, wrong types and values out of bounds are errors that name file, line and",
        "key. Scalars follow YAML 1.2: only `true` and `false` are booleans. A key may not stand",
        "twice.",
        "",
        "From Python: `streamprn.config.load_config(path)`, `Config.default()`,",
        '`Config.from_mapping({...})` and `config.with_overrides({"engine.threads": 2})`.',
    ]
    for item in settings():
        if item.is_section:
            title = item.path + (" (a list)" if item.path == "sources" else "")
            lines += ["", f"## {title}", "", f"{item.rule.doc}.", "",
                      "| key | default | allowed | meaning |", "|---|---|---|---|"]  # fmt: skip
        else:
            lines.append(_row(item))
    return "\n".join(lines) + "\n"


def _row(item: Setting) -> str:
    default = "required" if item.default is dataclasses.MISSING else f"`{_scalar(item.default)}`"
    doc, allowed = (text.replace("|", "\\|") for text in (item.rule.doc, _allowed(item)))
    return f"| `{item.name}` | {default} | {allowed} | {doc} |"


def _allowed(item: Setting) -> str:
    inner, optional = convert.split_optional(item.annotation)
    words = {bool: "true, false", str: "a text", int: "a whole number", float: "a number"}
    kind = str if get_origin(inner) is Literal else inner
    text = item.rule.allowed or words.get(kind, "")
    if get_origin(inner) is tuple and get_args(inner)[-1] is not Ellipsis:
        text = f"{len(get_args(inner))} values, each {text}"
    if kind is int and not item.rule.choices:
        text = f"{text}, whole"
    return f"{text}, or null" if optional and text else text


def main(folder: Path = Path()) -> None:
    """Write `config.yaml` and `docs/configuration.md` below `folder`."""
    (folder / "config.yaml").write_text(yaml_text(), encoding="utf-8")
    (folder / "docs" / "configuration.md").write_text(markdown_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
