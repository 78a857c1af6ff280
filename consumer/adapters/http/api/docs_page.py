"""`/openapi.json`, and `/docs`: the same document as a page, made here, so that nothing is loaded from another host."""

import json
from collections.abc import Callable
from html import escape
from typing import Any, Final

from fastapi import FastAPI
from starlette.responses import HTMLResponse, Response

from consumer.adapters.http.api.answers import json_response
from consumer.adapters.http.api.queries import NO_QUERY

STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 3rem; font: 600 1.1rem ui-monospace, monospace; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8886; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .2rem .6rem .2rem 0; }
td, th { vertical-align: top; border-bottom: 1px solid #8884; }
"""
OPENING: Final = (
    "Where tokens are configured, each request carries <code>Authorization: Bearer TOKEN</code>. Errors are problems"
    " (RFC 9457) with <code>code</code> and <code>details</code>, every field at fault."
)
EXAMPLES: Final = {
    "symbol": "EURUSD",
    "timeframe": "H1",
    "key": "sma_cross",
    "by": "direction",
    "x": "fast",
    "y": "slow",
}
"""Of parameters; a number is 1."""


def serve_docs(app: FastAPI, document: Callable[[], dict[str, Any]], root_path: str) -> None:
    """Add the routes. document: makes it once, when it is first asked for."""

    async def openapi() -> Response:
        return json_response(document())

    async def docs() -> Response:
        return HTMLResponse(docs_html(document(), root_path))

    async def style() -> Response:
        return Response(STYLE, media_type="text/css")

    for path, answer in {"/openapi.json": openapi, "/docs": docs, "/docs/style.css": style}.items():
        app.add_api_route(path, answer, methods=["GET"], include_in_schema=False, dependencies=[NO_QUERY])


def docs_html(document: dict[str, Any], root_path: str) -> str:
    """Every operation with its parameters, an example that can be sent, and its answers."""
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(document['info']['title'])}</title>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f'<link rel=stylesheet href="{escape(root_path, quote=True)}/docs/style.css"><main>',
        f"<h1>{escape(document['info']['title'])} {escape(document['info']['version'])}</h1>",
        f"<p>{escape(document['info'].get('description', ''))}</p>",
        f"<p>{OPENING}</p>",
        f'<p>The same for programs: <a href="{escape(root_path, quote=True)}/openapi.json">openapi.json</a>.</p>',
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += _operation(method.upper(), path, operation, document["components"]["schemas"])
    return "\n".join([*parts, "</main></html>"])


def _operation(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    parts = [
        f"<section><h2>{method} {escape(path)}</h2>",
        f"<p>{escape(operation.get('description') or operation.get('summary', ''))}</p>",
    ]
    if parameters := operation.get("parameters"):
        parts.append("<table><thead><tr><th>name<th>in<th>what</thead>")
        parts += [
            f"<tr><td><code>{escape(each['name'])}</code><td>{each['in']}<td>{escape(words_on(each))}"
            for each in parameters
        ]
        parts.append("</table>")
    parts += _body_fields(operation, schemas)
    parts.append(f"<pre>{escape(curl_of(method, path, operation))}</pre>")
    parts.append("<table>")
    parts += [
        f"<tr><td><code>{status}</code><td>{escape(answer.get('description', ''))}{_fields_of(answer, schemas)}"
        for status, answer in operation["responses"].items()
    ]
    return [*parts, "</table></section>"]


def _body_fields(operation: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    """A JSON body's fields; none where it has none. schemas: those that have a name."""
    content = operation.get("requestBody", {}).get("content", {})
    body = _named(content.get("application/json", {}).get("schema", {}), schemas)
    if not body.get("properties"):
        return []
    required = body.get("required", ())
    rows = [
        f"<tr><td><code>{escape(name)}</code><td>{escape(_type_of(told))}"
        f"<td>{'required' if name in required else escape(_default_of(told))}"
        f"<td>{escape(told.get('description', ''))}"
        for name, told in body["properties"].items()
    ]
    return ["<table><thead><tr><th>field of the body<th>type<th>default<th>what</thead>", *rows, "</table>"]


def _fields_of(answer: dict[str, Any], schemas: dict[str, Any]) -> str:
    """The names in a JSON answer, and of what a list holds."""
    schema = _named(answer.get("content", {}).get("application/json", {}).get("schema", {}), schemas)
    properties = schema.get("properties", {})
    told = ", ".join(f"<code>{escape(name)}</code>" for name in properties)
    if "next_cursor" in properties:
        items = _named(properties["items"]["items"], schemas).get("properties", {})
        told += f"; an item: {', '.join(f'<code>{escape(name)}</code>' for name in items)}"
    return f" {told}" if told else ""


def _named(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
    return found


def _type_of(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    kind = schema.get("type", "")
    told = " | ".join(kind) if isinstance(kind, list) else str(kind)
    return f"{told} ({schema['format']})" if "format" in schema else told


def _default_of(schema: dict[str, Any]) -> str:
    return json.dumps(schema["default"]) if "default" in schema else ""


def words_on(parameter: dict[str, Any]) -> str:
    """What a parameter is for, what it may be, and what it is where it is left out."""
    schema = parameter.get("schema", {})
    told = parameter.get("description") or schema.get("description") or ""
    choices = schema.get("enum") or next((each["enum"] for each in schema.get("anyOf", ()) if "enum" in each), None)
    notes = [f"one of {', '.join(map(str, choices))}"] if choices else []
    if schema.get("default") not in (None, ""):
        notes.append(f"default {schema['default']}")
    if parameter.get("required") and parameter["in"] != "path":
        notes.append("required")
    return " ".join([told, f"({'; '.join(notes)})" if notes else ""]).strip()


def curl_of(method: str, path: str, operation: dict[str, Any], base: str = "http://127.0.0.1:8080") -> str:
    """The operation's example as a command line, with what its path and query need."""
    query = []
    for parameter in operation.get("parameters", ()):
        example = EXAMPLES.get(parameter["name"], "1")
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", example)
        elif parameter["in"] == "query" and parameter.get("required"):
            query.append(f"{parameter['name']}={example}")
    words = ["curl"] if method == "GET" else ["curl", "-X", method]
    if "text/event-stream" in operation["responses"].get("200", {}).get("content", {}):
        words.append("-N")
    words.append(f"'{base}{path}{'?' if query else ''}{'&'.join(query)}'")
    bodies = operation.get("requestBody", {}).get("content", {})
    if (body := bodies.get("application/json")) is not None:
        examples: list[dict[str, Any]] = list(body.get("examples", {}).values())
        example = json.dumps(examples[0]["value"] if examples else {})
        words += ["-H", "'Content-Type: application/json'", "-d", f"'{example}'"]
    elif bodies:
        words += ["-H", "'Content-Type: application/octet-stream'", "--data-binary", "@bars.csv"]
    return " ".join(words)
