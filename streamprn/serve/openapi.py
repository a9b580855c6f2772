"""The description of the control interface, made from the settings and shown without scripts."""

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from streamprn.config.convert import hints, plain, split_optional
from streamprn.config.rules import Rule, rule_of
from streamprn.config.source import SourceConfig
from streamprn.records import SourceState
from streamprn.serve.problems import MEDIA_TYPE, PROBLEMS, TYPE_PREFIX

__all__ = ["OPERATIONS", "Operation", "document", "page"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One page of the interface.

    Attributes:
        path: with `{name}` for a stream's name.
        method: of HTTP.
        summary: what it does, in one line.
        answer: status, media type and schema of success.
        problems: keys of `PROBLEMS`.
        body: schema of the request's body.
        example: of the body.
        detail: what else there is to know.
        query: parameters with their meaning.
    """

    path: str
    method: str
    summary: str
    answer: tuple[int, str, str]
    problems: tuple[str, ...] = ()
    body: str = ""
    example: Mapping[str, object] = field(default_factory=dict)
    detail: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


_JSON = "application/json"
_ADD = ("bad-request", "stream-exists", "too-many-streams", "too-large", "wrong-type",
        "wrong-value")  # fmt: skip
_CHANGE = ("bad-request", "no-such-stream", "too-large", "wrong-type", "wrong-value")
_NAMED = ("no-such-stream",)

OPERATIONS = (
    Operation("/", "GET", "Leads to /docs", (307, "", "")),
    Operation("/streams", "GET", "All streams", (200, _JSON, "Streams")),
    Operation(
        "/streams", "POST", "Add a stream", (201, _JSON, "Stream"), _ADD, "Source",
        {"uri": "rtsp://camera.local/stream", "name": "door", "max_fps": 15},
        "The body is an item of `sources` in config.yaml, with the same keys, bounds and messages.",
    ),
    Operation("/streams/{name}", "GET", "How a stream stands", (200, _JSON, "Stream"), _NAMED),
    Operation(
        "/streams/{name}", "PATCH", "Change settings of a stream", (200, _JSON, "Stream"), _CHANGE,
        "SourceChange", {"max_fps": 5},
        "Only the keys that are to change. The stream is opened again where one of them differs; "
        "its frames and ids count on.",
    ),
    Operation("/streams/{name}", "DELETE", "Remove a stream", (204, "", ""), _NAMED),
    Operation(
        "/streams/{name}/pause", "POST", "Pause a stream", (200, _JSON, "Stream"), _NAMED,
        detail="A camera is disconnected meanwhile; a file keeps its place.",
    ),
    Operation(
        "/streams/{name}/resume", "POST", "Let a paused stream go on", (200, _JSON, "Stream"),
        _NAMED,
    ),
    Operation(
        "/streams/{name}/snapshot.jpg", "GET", "The next frame, with its faces drawn in",
        (200, "image/jpeg", ""), ("no-such-stream", "busy", "no-picture"),
        query={"overlay": "false for the frame as it is"},
    ),
    Operation(
        "/streams/{name}/overlay.mjpg", "GET", "The frames with their faces, as a film",
        (200, "multipart/x-mixed-replace", ""), ("no-such-stream", "busy"),
        detail="At most `http.preview_fps` pictures a second. A slow client gets fewer.",
    ),
    Operation(
        "/reload", "POST", "Read the configuration file again", (200, _JSON, "Reloaded"),
        ("no-configuration", "wrong-value"),
        detail="Streams that the file adds, removes or changes; where it has an error, nothing. "
        "Streams that were added here stay. SIGHUP does the same.",
    ),
    Operation(
        "/healthz", "GET", "Whether the engine gets on: 200, or 503 where it is stuck",
        (200, _JSON, "Status"), detail="Needs no token.",
    ),
    Operation(
        "/readyz", "GET", "Whether the engine is warm and every required stream live: 200 or 503",
        (200, _JSON, "Ready"), detail="Without the token it tells no stream's name.",
    ),
    Operation("/metrics", "GET", "Figures for Prometheus", (200, "text/plain", "")),
    Operation("/openapi.json", "GET", "This description", (200, _JSON, "")),
    Operation("/docs", "GET", "This description to read", (200, "text/html", "")),
)  # fmt: skip


def document(version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "StreamPRN",
            "version": version,
            "description": "Steers a running engine: streams, health, metrics and pictures.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    status, media_type, schema = operation.answer
    answer: dict[str, Any] = {"description": operation.summary}
    if media_type:
        shape = {"schema": {"$ref": f"#/components/schemas/{schema}"}} if schema else {}
        answer["content"] = {media_type: shape}
    found: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method.lower()} {operation.path}",
        "responses": {str(status): answer, **_problems(operation.problems)},
    }
    if operation.detail:
        found["description"] = operation.detail
    parameters = [_parameter(name, "query", text) for name, text in operation.query.items()]
    if "{name}" in operation.path:
        parameters.insert(0, _parameter("name", "path", "of the stream"))
    if parameters:
        found["parameters"] = parameters
    if operation.body:
        content = {
            "schema": {"$ref": f"#/components/schemas/{operation.body}"},
            "example": dict(operation.example),
        }
        found["requestBody"] = {"required": True, "content": {_JSON: content}}
    return found


def _parameter(name: str, place: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": text,
        "schema": {"type": "string"},
    }


def _problems(keys: tuple[str, ...]) -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for key in ("no-token", "wrong-origin", *keys):
        by_status.setdefault(str(PROBLEMS[key][0]), []).append(PROBLEMS[key][1])
    shape = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {"description": "; ".join(titles), "content": {MEDIA_TYPE: shape}}
        for status, titles in by_status.items()
    }


# --- schemas --------------------------------------------------------------------------------------


def _schemas() -> dict[str, Any]:
    properties = {one.name: _setting(one) for one in dataclasses.fields(SourceConfig)}
    texts = {"type": "array", "items": {"type": "string"}}
    whole, number, text = {"type": "integer"}, {"type": "number"}, {"type": "string"}
    states = {"type": "string", "enum": [str(state) for state in SourceState]}
    source = {"type": "object", "properties": properties, "additionalProperties": False}
    stream = {
        "name": text, "state": states, "cause": text, "attempt": whole,
        **{key: whole for key in ("frames", "faces", "dropped", "corrupt", "reconnects")},
        "fps": number, "last_frame_age_s": {"type": ["number", "null"]},
        "latency_ms": {"type": "object", "additionalProperties": number},
        "source": {"$ref": "#/components/schemas/SourceChange"},
        "worker": {"type": "string", "description": "That has it; with several workers alone"},
    }  # fmt: skip
    reloaded = ("added", "removed", "changed", "unchanged", "needs_restart")
    return {
        "Source": {**source, "required": ["uri"]},
        "SourceChange": source,
        "Stream": {"type": "object", "properties": stream},
        "Streams": _object(streams=_array("Stream")),
        "Reloaded": _object(**{key: texts for key in reloaded}),
        "Status": _object(status=text),
        "Ready": _object(status=text, engine=text, not_ready={"type": "array"}),
        "Problem": _object(
            type={"type": "string", "enum": [TYPE_PREFIX + key for key in PROBLEMS]},
            title=text, status=whole, detail=text, instance=text, next_step=text,
        ),
    }  # fmt: skip


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _array(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


def _setting(one: dataclasses.Field[Any]) -> dict[str, Any]:
    """The JSON schema of a setting, from the same rule that checks it."""
    inner, optional = split_optional(hints(SourceConfig)[one.name])
    rule = rule_of(one)
    schema = {**_shape(inner, rule), "description": rule.doc}
    if optional:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    if one.default is not dataclasses.MISSING:
        schema["default"] = plain(one.default)
    return schema


def _shape(annotation: Any, rule: Rule) -> dict[str, Any]:
    origin = get_origin(annotation)
    if origin is tuple:
        items = get_args(annotation)
        if items[-1] is Ellipsis:
            return {"type": "array", "items": _shape(items[0], rule), "maxItems": rule.max_items}
        length = len(items)
        shape = _shape(items[0], rule)
        return {"type": "array", "items": shape, "minItems": length, "maxItems": length}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
    if rule.choices:
        kind = "string" if isinstance(rule.choices[0], str) else "integer"
        return {"type": kind, "enum": list(rule.choices)}
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    shape = {"type": names[annotation]}
    for key, value in (("minimum", rule.minimum), ("maximum", rule.maximum)):
        if value is not None:
            shape[key] = value
    return shape


# --- the page -------------------------------------------------------------------------------------

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c2128; background: #fff }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .3rem } code, pre { font-family: ui-monospace, monospace }
pre { background: #f2f4f7; padding: .6rem .8rem; overflow-x: auto; border-radius: 4px }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .2rem .6rem;
  border-bottom: 1px solid #dde1e6; vertical-align: top } .m { color: #0a5c36; font-weight: 600 }
@media (prefers-color-scheme: dark) { body { color: #dfe3e8; background: #16191d }
  pre { background: #22262b } td, th { border-color: #383d44 } .m { color: #6cd59b } }
"""


def page(described: Mapping[str, Any]) -> str:
    """An OpenAPI document as one HTML page, with nothing fetched from elsewhere."""
    info = described["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>StreamPRN: control interface</title><style>{_STYLE}</style>",
        f"<h1>StreamPRN {_text(info['version'])}</h1><p>{_text(info['description'])} ",
        "Machines read <a href=openapi.json>openapi.json</a>.</p>",
    ]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts += _section(path, method.upper(), operation)
    source = described["components"]["schemas"]["Source"]["properties"]
    rows = ((name, f"{_allowed(one)}: {one['description']}") for name, one in source.items())
    parts.append(f"<h2>Keys of a source</h2>{_table(rows)}")
    problems = ((f"{TYPE_PREFIX}{key}", f"{status}: {title}")
                for key, (status, title) in PROBLEMS.items())  # fmt: skip
    parts.append(f"<h2>Problems (RFC 9457)</h2>{_table(problems)}")
    return "".join(parts)


def _section(path: str, method: str, operation: Mapping[str, Any]) -> list[str]:
    parts = [f"<h2><span class=m>{method}</span> <code>{_text(path)}</code></h2>"]
    text = f"{operation['summary']}. {operation.get('description', '')}"
    parts.append(f"<p>{_text(text)}</p>")
    if "requestBody" in operation:
        example = operation["requestBody"]["content"][_JSON]["example"]
        parts.append(
            f"<pre>curl -X {method} -H 'Content-Type: application/json' \\\n  "
            f"-d '{_text(json.dumps(example))}' http://127.0.0.1:8088{_text(path)}</pre>"
        )
    return parts


def _allowed(schema: Mapping[str, Any]) -> str:
    kind = schema["type"]
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if "minimum" in schema:
        words += f", {schema['minimum']} to {schema['maximum']}"
    if "enum" in schema:
        words = ", ".join("null" if one is None else str(one) for one in schema["enum"])
    return words


def _table(rows: Any) -> str:
    cells = (f"<tr><td><code>{_text(a)}</code><td>{_text(b)}" for a, b in rows)
    return f"<table>{''.join(cells)}</table>"


def _text(text: object) -> str:
    return html.escape(str(text))
