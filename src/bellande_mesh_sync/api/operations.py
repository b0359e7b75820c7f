"""The table of what can be asked, one Operation a method and path, and its way to a handler.

Routing, the check of roles, 405 answers and the OpenAPI document all read this one table.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bellande_mesh_sync.api.auth import check_role
from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.needs import MeshCalls
from bellande_mesh_sync.errors import MethodNotAllowedError

Handler = Callable[[Call], Awaitable[object]]
"""Answers a call. What it returns is sent as JSON (an Answer with its status, anything else as 200);
None means that it has sent the answer itself."""

OPEN: Final = ""
"""The role of an operation that needs no token."""

OCTETS: Final = "application/octet-stream"
JSON: Final = "application/json"
JSON_LINES: Final = "application/x-ndjson"
FRAMES: Final = "application/vnd.bellande.frames"


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked."""

    method: str
    path: str
    """As a starlette path; `{name:rest}` takes everything that follows, slashes and all."""
    handler: Handler
    title: str
    role: str
    """The least role that may; OPEN for no token at all."""
    query: type | None = None
    body: type | None = None
    """A Struct, for a JSON body."""
    body_media: str = ""
    """The media type of a raw body; beside `body` where either may come."""
    answer: Any = None
    """The type of the answer; None when it has no body or a raw one."""
    answer_media: str = JSON
    statuses: Mapping[int, str] | None = None
    """Answers that are not errors, beside or instead of 200, with what they mean."""
    about: str = ""

    @property
    def url(self) -> str:
        """The path as OpenAPI writes it."""
        return re.sub(r":\w+}", "}", self.path)

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)", self.path)


class _RestConvertor(Convertor[str]):
    # Unlike starlette's `path` it takes line feeds too: they must get as far as the check of keys.
    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("rest", _RestConvertor())


class PathDoor:
    """All operations of one path, as an ASGI application."""

    def __init__(self, mesh: MeshCalls, operations: Sequence[Operation]) -> None:
        self._mesh = mesh
        self.operations = {operation.method: operation for operation in operations}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._choose(scope["method"], scope["path"])
        if operation.role != OPEN:
            check_role(scope["bms.role"], operation.role)
        call = Call(self._mesh, operation, scope, receive, send)
        answer = await operation.handler(call)
        if answer is not None:
            await call.answer(answer)

    def _choose(self, method: str, path: str) -> Operation:
        operation = self.operations.get(method)
        if operation is None and method == "HEAD":
            # As GET; the server leaves the body away. Not for a stream, which would run for nobody.
            operation = self.operations.get("GET")
            if operation is not None and operation.answer_media != JSON:
                operation = None
        if operation is None:
            allowed = ", ".join(sorted(self.operations))
            raise MethodNotAllowedError(method=method, path=path, allowed=allowed)
        return operation


def routes_of(mesh: MeshCalls, operations: Sequence[Operation]) -> list[Route]:
    """One route a path, in the order in which the table first names them."""
    by_path: dict[str, list[Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, []).append(operation)
    return [Route(path, endpoint=PathDoor(mesh, group)) for path, group in by_path.items()]
