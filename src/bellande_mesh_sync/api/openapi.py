"""The OpenAPI 3.1 document, made from the table of operations and the types they name."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from bellande_mesh_sync.api.errors import ErrorBody
from bellande_mesh_sync.api.operations import JSON, OPEN, Operation

_REFERENCE = "#/components/schemas/{name}"


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The whole document, JSON-ready. Cost: a few ms; the caller keeps it."""
    types = [t for operation in operations for t in (operation.body, operation.answer) if t is not None]
    _, schemas = msgspec.json.schema_components([*types, ErrorBody], ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.url, {})[operation.method.lower()] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bellande Mesh Sync",
            "version": version,
            "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _describe(operation: Operation) -> dict[str, Any]:
    about = inspect.cleandoc(operation.about or inspect.getdoc(operation.handler) or "")
    described: dict[str, Any] = {
        "operationId": operation.handler.__name__,
        "summary": operation.title,
        "description": about,
        "parameters": [_path_parameter(name) for name in operation.parameters] + _query_of(operation),
        "responses": {**_answers_of(operation), "default": _answer("An error", _content(ErrorBody))},
    }
    if operation.role == OPEN:
        described["security"] = []
    else:
        described["x-role"] = operation.role
    content = _content(operation.body) if operation.body is not None else {}
    if operation.body_media:
        content[operation.body_media] = {}
    if content:
        described["requestBody"] = {"required": True, "content": content}
    return described


def _answers_of(operation: Operation) -> dict[str, Any]:
    if operation.answer is not None and operation.answer_media == JSON:
        content = _content(operation.answer)
    elif operation.answer_media != JSON:
        content = {operation.answer_media: {}}
    else:
        content = {}
    meanings = operation.statuses or {200: "Done"}
    return {
        str(status): _answer(meaning, content if status not in (202, 304) else {})
        for status, meaning in meanings.items()
    }


def _answer(meaning: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"description": meaning, **({"content": content} if content else {})}


def _content(wanted: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([wanted], ref_template=_REFERENCE)
    return {JSON: {"schema": schema}}


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_of(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in _fields_of(operation.query).items()
    ]


@lru_cache(maxsize=64)
def _fields_of(query: type) -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components([query])
    fields: dict[str, Any] = schemas[query.__name__]["properties"]
    return fields
