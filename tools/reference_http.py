"""docs/reference/http.md, from the OpenAPI document that the API serves."""

from __future__ import annotations

from typing import Any

from bellande_mesh_sync.api.app import openapi_document

_INTRO = """# HTTP

Written from the code by `make docs`; do not edit.

A running node serves this on its HTTP port (loopback unless told otherwise) and its HTTPS port, with the
full description at `/openapi.json`. Send `Authorization: Bearer TOKEN` with everything but what is marked as
open; the role says what a token must at least allow. Errors are
`{"error": {"code", "message", "detail"}}` with the codes of [errors](errors.md).
"""


def http_page() -> str:
    paths: dict[str, dict[str, Any]] = openapi_document()["paths"]
    parts = [_INTRO, "| request | role | |\n| --- | --- | --- |"]
    described = [
        (method.upper(), path, what) for path, item in paths.items() for method, what in item.items()
    ]
    parts += [
        f"| `{method} {path}` | {what.get('x-role', 'open')} | {what['summary']} |"
        for method, path, what in described
    ]
    parts += [_details(method, path, what) for method, path, what in described]
    return "\n".join(parts).rstrip() + "\n"


def _details(method: str, path: str, what: dict[str, Any]) -> str:
    lines = [f"\n## `{method} {path}`\n", what["description"] or what["summary"] + "."]
    query = [parameter for parameter in what["parameters"] if parameter["in"] == "query"]
    if query:
        lines += ["", "| query | |", "| --- | --- |"]
        lines += [f"| `{parameter['name']}` | {_schema_text(parameter['schema'])} |" for parameter in query]
    answers = [
        f"{status} {answer['description'].rstrip('.')}"
        for status, answer in what["responses"].items()
        if status != "default"
    ]
    lines += ["", "Answers: " + "; ".join(answers) + "."]
    return "\n".join(lines)


def _schema_text(schema: dict[str, Any]) -> str:
    kinds = [option.get("type", "") for option in schema.get("anyOf", [schema])]
    text = " or ".join(kind for kind in kinds if kind and kind != "null")
    if "enum" in schema:
        text = " or ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    for name, word in (("minimum", "from"), ("maximum", "to")):
        if name in schema:
            text += f" {word} {schema[name]}"
    if schema.get("default") not in (None, ""):
        text += f"; default {schema['default']}"
    return f"{text}. {schema['description']}" if "description" in schema else text
