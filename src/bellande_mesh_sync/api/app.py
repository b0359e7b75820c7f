"""The HTTP application of one node: every operation in one table, behind the check of tokens."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send

from bellande_mesh_sync.api import (
    bulk,
    certificates,
    conflicts,
    data,
    history,
    joining,
    keys,
    members,
    messages,
    nodes,
    openapi,
    paths,
    placement,
    planning,
    published,
    revoking,
    sweeping,
    system,
    verifying,
    watching,
)
from bellande_mesh_sync.api.auth import TokenCheck
from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.errors import ErrorGuard
from bellande_mesh_sync.api.needs import MeshCalls
from bellande_mesh_sync.api.operations import OPEN, Operation, routes_of
from bellande_mesh_sync.errors import NotFoundError


async def get_openapi(call: Call) -> dict[str, Any]:
    """This document."""
    return openapi_document()


OPERATIONS: Final = (
    *system.OPERATIONS,
    *data.OPERATIONS,
    *conflicts.OPERATIONS,
    *bulk.OPERATIONS,
    *history.OPERATIONS,
    *watching.OPERATIONS,
    *verifying.OPERATIONS,
    *sweeping.OPERATIONS,
    *placement.OPERATIONS,
    *planning.OPERATIONS,
    *members.OPERATIONS,
    *nodes.OPERATIONS,
    *revoking.OPERATIONS,
    *keys.OPERATIONS,
    *messages.OPERATIONS,
    *joining.OPERATIONS,
    *certificates.OPERATIONS,
    *paths.OPERATIONS,
    *published.OPERATIONS,
    Operation("GET", "/openapi.json", get_openapi, "OpenAPI", "observer", answer=dict[str, Any]),
)


@lru_cache(maxsize=1)
def openapi_document() -> dict[str, Any]:
    return openapi.document(OPERATIONS, version("bellande-mesh-sync"))


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotFoundError(what="route", name=scope["path"])


def create_app(mesh: MeshCalls) -> Starlette:
    """The application that answers for `mesh`. It starts nothing and holds no resources."""
    open_paths = {operation.path for operation in OPERATIONS if operation.role == OPEN}
    app = Starlette(
        routes=routes_of(mesh, OPERATIONS),
        middleware=[
            Middleware(ErrorGuard),
            Middleware(TokenCheck, mesh=mesh, open_paths=open_paths),
        ],
    )
    app.router.default = _no_route
    # `/status/` is no route of ours; a redirect would only hide the caller's mistake.
    app.router.redirect_slashes = False
    return app
